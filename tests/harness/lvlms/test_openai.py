"""A server that speaks OpenAI's protocol is asked like any LVLM: a real HTTP server on this machine, and its moods."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image, ImageChops

from harness import registry
from harness.errors import ModelError, UsageError
from harness.types import Answer, Asked, Failure, Place, Sample
from harness.vision_language import remote as waiting
from harness.vision_language.served import PROBE

registry.load()
PLACE = Place()


class Server:
    """Answers 'Yes' or 'No' by whether the picture is light, after the replies in ``moods``."""

    def __init__(self) -> None:
        self.moods: list[int] = []
        self.probes: list[dict] = []
        self.drops = ""
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.takes_logprobs = True
        self.tokenizes = False
        self.template_starts = False
        self.folder = ""
        self.shown: list[int] = []
        self.key = ""
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_) -> None:
                pass

            def do_GET(self) -> None:
                outer.reply(self, 401 if outer.refuses(self) else 200, {"data": [outer.listed()]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path.endswith("/tokenize"):
                    outer.tokenize(self, body)
                else:
                    outer.answer(self, body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def gone(self) -> None:
        """From now on no connection is answered, and none taken."""
        self.drops = "?"
        self.http.shutdown()
        self.http.server_close()

    def refuses(self, handler) -> bool:
        return bool(self.key) and handler.headers.get("authorization") != f"Bearer {self.key}"

    def reply(self, handler, status, thing) -> None:
        data = json.dumps(thing).encode()
        handler.send_response(status)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def listed(self) -> dict:
        """What vLLM says of a model."""
        return {"id": "tiny", "root": self.folder, "owned_by": "vllm" if self.tokenizes else "someone"}

    def tokenize(self, handler, body) -> None:
        """As vLLM does it: a start token before a prompt, and before a chat where it is asked for or written."""
        if not self.tokenizes:
            return self.reply(handler, 404, {"detail": "Not Found"})
        chat = "messages" in body
        starts = body.get("add_special_tokens", not chat), chat and self.template_starts
        return self.reply(handler, 200, {"tokens": [1] * sum(starts) + [7, 8, 9]})

    def answer(self, handler, body) -> None:
        content = body["messages"][0]["content"]
        if content[-1]["text"] == PROBE:
            self.probes.append(body)
            return self.say(handler, body, "Yes")
        with self.lock:
            self.requests.append(body)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            mood = self.moods.pop(0) if self.moods else 200
        if mood != 200:
            return self.reply(handler, mood, {"error": "moody"})
        if self.drops and self.drops in content[-1]["text"]:
            handler.close_connection = True  # without a word
            return None
        word = "No"
        if content[0]["type"] == "image_url":
            data = base64.b64decode(content[0]["image_url"]["url"].removeprefix("data:image/png;base64,"))
            word = "Yes" if Image.open(io.BytesIO(data)).convert("L").getpixel((0, 0)) > 127 else "No"
        return self.say(handler, body, word)

    def say(self, handler, body, word) -> None:
        if body["model"] != "tiny":
            return self.reply(handler, 404, {"error": "no such model"})
        if "logprobs" in body and not self.takes_logprobs:
            return self.reply(handler, 400, {"error": "logprobs are not supported"})
        choice = {"message": {"content": f" {word}. It is."}, "finish_reason": "stop"}
        if "logprobs" in body:
            mass = [(word, 0.6), (word.lower(), 0.1), ("Yes" if word == "No" else "No", 0.2), ("The", 0.1)]
            top = [{"token": token, "logprob": math.log(p)} for token, p in mass]
            choice["logprobs"] = {"content": [{"token": word, "top_logprobs": top}]}
        shown = {"prompt_token_ids": self.shown} if body.get("return_token_ids") and self.shown else {}
        self.reply(handler, 200, {"choices": [choice], **shown})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def lvlm(server, more=""):
    return registry.make_lvlm(f"openai:{server.url}?model=tiny&backoff=0{more}", PLACE)(None)


def asked(count=3, questions=2):
    shades = [Image.new("RGB", (4, 3), (shade, shade, shade)) for shade in (250, 5, 200, 60)[:count]]
    return [
        Asked(
            image, tuple(Sample(f"{n}-{k}", None, "", prompt=f"Is it light? {k}", until=".") for k in range(questions))
        )
        for n, image in enumerate(shades)
    ]


def test_every_question_is_answered_in_order_with_p_yes(server):
    replies = list(lvlm(server, "&concurrency=4").answers(asked()))
    assert [sample.id for sample, _ in replies] == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    assert [reply.text for _, reply in replies] == ["Yes.", "Yes.", "No.", "No.", "Yes.", "Yes."]
    assert [round(reply.p_yes, 6) for _, reply in replies] == [
        round(p, 6) for p in (7 / 9, 7 / 9, 2 / 9, 2 / 9, 7 / 9, 7 / 9)
    ]


def test_the_request_carries_the_picture_to_the_pixel_and_asks_greedily(server, tiny):
    image = tiny.pictures(1)[0]
    list(lvlm(server).answers([Asked(image, (Sample("1", None, "", prompt="Is it?", tokens=7),))]))
    (body,) = server.requests
    first, second = body["messages"][0]["content"]
    sent = Image.open(io.BytesIO(base64.b64decode(first["image_url"]["url"].partition(",")[2])))
    assert ImageChops.difference(sent, image).getbbox() is None
    assert second == {"type": "text", "text": "Is it?"}
    assert (body["temperature"], body["max_tokens"]) == (0, 7)


def test_questions_on_one_image_follow_one_another(server):
    list(lvlm(server, "&concurrency=1").answers(asked(3, 3)))
    pictures = [body["messages"][0]["content"][0]["image_url"]["url"] for body in server.requests]
    assert [n for n, url in enumerate(pictures) if n == 0 or url != pictures[n - 1]] == [0, 3, 6]


def test_a_busy_server_is_asked_again(server):
    server.moods = [429, 503, 500]
    replies = list(lvlm(server, "&concurrency=1").answers(asked(1, 1)))
    assert [reply.text for _, reply in replies] == ["Yes."]
    assert len(server.requests) == 4


def test_retries_are_capped_and_then_it_is_a_failure_and_no_answer(server):
    server.moods = [503] * 3
    replies = [reply for _, reply in lvlm(server, "&concurrency=1&retries=2").answers(asked(1, 2))]
    assert isinstance(replies[0], Failure)
    assert "no answer after 3 attempts; the last: HTTP 503" in replies[0].reason
    assert isinstance(replies[1], Answer)


def test_waits_grow_and_are_capped(server, monkeypatch):
    from harness.vision_language import remote

    class Event(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return self.is_set()

    waits: list[float] = []
    server.moods = [503] * 8
    options = "model=tiny&backoff=2&retries=7&concurrency=1&logprobs=no"
    patient = registry.make_lvlm(f"openai:{server.url}?{options}", PLACE)(None)
    line = remote.Connection(patient.client())
    line.stop = Event()
    with line.client:
        patient.ask(line, asked(1, 1)[0].samples[0], "", False)
    assert waits == [0, 2, 4, 8, 16, 32, 60, 60]


def test_a_server_without_logprobs_still_answers(server):
    server.takes_logprobs = False
    remote = lvlm(server, "&concurrency=1")
    replies = [reply for _, reply in remote.answers(asked(2, 1))]
    assert [(reply.text, reply.p_yes) for reply in replies] == [("Yes.", None), ("No.", None)]
    assert ["logprobs" in body for body in server.probes] == [True, False]
    assert not any("logprobs" in body for body in server.requests)
    assert remote.describe()["logprobs"] is False


def test_it_is_asked_once_whether_log_probabilities_are_given_and_that_is_part_of_the_description(server):
    remote = lvlm(server)
    assert not server.probes
    assert [remote.describe()["logprobs"], remote.describe()["logprobs"]] == [True, True]
    list(remote.answers(asked(1, 1)))
    assert len(server.probes) == 1
    assert lvlm(server, "&logprobs=no").describe()["logprobs"] is False
    assert len(server.probes) == 1


def test_a_server_that_goes_before_it_is_asked_for_log_probabilities_is_a_model_error(server):
    remote = lvlm(server, "&retries=1")
    server.gone()
    with pytest.raises(ModelError, match="is gone; the same command"):
        remote.describe()


def test_log_probabilities_refused_for_one_question_are_asked_for_the_next(server):
    server.moods = [400]
    replies = [reply for _, reply in lvlm(server, "&concurrency=1").answers(asked(1, 2))]
    assert replies == [Answer("Yes.", None), Answer("Yes.", pytest.approx(7 / 9))]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_server_that_is_gone_ends_the_run_without_failures(server, concurrency):
    remote = lvlm(server, f"&concurrency={concurrency}&retries=2")
    replies = remote.answers(asked(4, 50))
    assert isinstance(next(replies)[1], Answer)
    server.gone()
    with pytest.raises(ModelError, match="is gone; the same command goes on where it stopped") as ended:
        assert all(isinstance(reply, Answer) for _, reply in replies)
    assert ended.value.code == 4


def test_a_question_that_breaks_the_connection_is_a_failure_of_that_question_alone(server):
    server.drops = "light? 1"
    replies = [reply for _, reply in lvlm(server, "&concurrency=1&retries=2").answers(asked(2, 3))]
    assert [isinstance(reply, Failure) for reply in replies] == [False, True, False] * 2
    server.drops = "light?"
    with pytest.raises(ModelError, match="is gone"):
        list(lvlm(server, "&concurrency=1&retries=2").answers(asked(2, 3)))


def test_who_stops_listening_waits_for_no_retry(server, monkeypatch):
    monkeypatch.setattr(waiting, "LONGEST_WAIT", 600.0)
    server.drops = "light? 1"
    remote = registry.make_lvlm(f"openai:{server.url}?model=tiny&backoff=600&concurrency=2", PLACE)(None)
    replies = remote.answers(asked(1, 3))
    began = time.monotonic()
    assert isinstance(next(replies)[1], Answer)
    replies.close()
    assert time.monotonic() - began < 300


def test_a_refused_question_is_a_failure_of_that_question_alone(server):
    server.moods = [400, 400]
    replies = [reply for _, reply in lvlm(server, "&concurrency=1").answers(asked(1, 2))]
    assert isinstance(replies[0], Failure)
    assert replies[0].reason.startswith("HTTP 400")
    assert replies[1] == Answer("Yes.", pytest.approx(7 / 9))


def test_the_key_comes_from_the_environment_and_is_nowhere_recorded(server, monkeypatch):
    server.key = "sk-secret"
    with pytest.raises(ModelError, match="refuses the key") as refused:
        lvlm(server)
    monkeypatch.setenv("MY_KEY", "sk-secret")
    remote = lvlm(server, "&key_env=MY_KEY")
    list(remote.answers(asked(1, 1)))
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    shown = json.dumps([remote.spec, remote.digests(), remote.describe(), server.requests, str(refused.value)])
    assert "secret" not in shown


@pytest.mark.parametrize(
    ("spec", "kind", "says"),
    [
        ("openai:http://x/v1?model=m&api_key=sk-secret", UsageError, "does not belong in a spec"),
        ("openai:http://me:sk-secret@x/v1?model=m", UsageError, "does not belong in the address"),
        ("openai:http://x/v1", UsageError, "model=NAME"),
        ("openai:x?model=m", UsageError, "write openai:http://host"),
        ("openai:http://x/v1?model=m&key_env=NOT_SET_ANYWHERE", UsageError, "no such variable"),
        ("openai:http://x/v1?model=m&retries=many", UsageError, "is no number"),
        ("openai:http://x/v1?model=m&concurrency=0", UsageError, "too small"),
        ("openai:http://127.0.0.1:1/v1?model=m", ModelError, "no server answers"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong_and_shows_no_key(spec, kind, says):
    with pytest.raises(kind, match=says) as caught:
        registry.make_lvlm(spec, PLACE)
    assert "secret" not in str(caught.value)


def test_an_unknown_model_ends_the_run(server):
    remote = registry.make_lvlm(f"openai:{server.url}?model=huge&backoff=0", PLACE)(None)
    with pytest.raises(ModelError, match="model 'huge'"):
        list(remote.answers(asked(1, 1)))


def test_a_tower_cannot_be_put_into_a_server(server):
    with pytest.raises(ModelError, match="encoder merge"):
        registry.make_lvlm(f"openai:{server.url}?model=tiny", PLACE)(registry.make_encoder("hashing", PLACE))


def test_a_server_that_hangs_is_given_up(server):
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ModelError, match="no server answers"):
            registry.make_lvlm(f"openai:http://127.0.0.1:{silent.getsockname()[1]}/v1?model=m&timeout=0.2", PLACE)


@pytest.mark.parametrize(
    ("tokenizes", "written", "told"),
    [(True, False, "asked for"), (True, True, "the server's own affair"), (False, False, "the server's own affair")],
)
def test_the_start_token_is_asked_for_where_the_servers_template_leaves_it_out(server, tokenizes, written, told):
    server.tokenizes, server.template_starts = tokenizes, written
    model = lvlm(server)
    list(model.answers(asked(1, 2)))
    assert model.describe()["start_token"] == told
    assert [body.get("add_special_tokens", False) for body in server.requests] == [told == "asked for"] * 2


@pytest.fixture
def served(tiny, server, tmp_path):
    """A folder that the server says it serves."""
    folder = tiny.save_llava(tiny.llava_model(), tmp_path / "served")
    server.folder = str(folder)
    return folder


def first_prompt(cli, server, results):
    """What the command said, and how it recorded the first prompt."""
    spec = f"openai:{server.url}?model=tiny&concurrency=1"
    said = cli("run", "-l", spec, "-t", "pope", "--data", "micro", "--limit", 1, "--results", results)
    assert said.code == 0, said.err
    (path,) = results.glob("*/run.json")
    return said, json.loads(path.read_text())["tasks"]["pope"]["first_prompt"]


def test_a_server_that_reads_other_ids_than_its_folder_is_asked_with_here_is_said_and_recorded(
    cli, server, served, tmp_path
):
    server.tokenizes, server.shown = True, [5, 6, 7]
    said, told = first_prompt(cli, server, tmp_path / "r")
    assert told["as_here"] is False
    assert told["ids"] == 3
    assert "the server reads 3 token ids" in said.err
    assert "[5, 6, 7] there" in said.err


@pytest.mark.parametrize("by", ["chat", "tokenize"])
def test_a_server_that_reads_the_same_ids_is_recorded_as_such(cli, server, served, tmp_path, by):
    local = registry.make_lvlm(f"llava:{served}?template=chat", Place(device="cpu"))(None)
    _, told = first_prompt(cli, server, tmp_path / "none")  # shows nothing yet
    assert told is None
    text = server.requests[0]["messages"][0]["content"][-1]["text"]
    ids = list(local.prompt_ids(Asked(object(), (Sample("1", None, "", prompt=text),))))
    picture = local.host.model.config.image_token_id
    if by == "chat":
        server.tokenizes, server.shown = True, ids
    else:  # before the picture's places are filled in
        folded = [id for n, id in enumerate(ids) if id != picture or ids[n - 1] != picture]
        server.tokenizes, server.tokenize = True, lambda handler, body: server.reply(handler, 200, {"tokens": folded})
    said, told = first_prompt(cli, server, tmp_path / by)
    assert told["as_here"] is True
    assert "token ids" not in said.err


def test_ids_of_a_folder_that_does_not_lie_here_are_recorded_and_not_compared(cli, server, tmp_path):
    server.folder, server.tokenizes, server.shown = "/models/on/another/machine", True, [1, 2]
    _, told = first_prompt(cli, server, tmp_path)
    assert (told["ids"], told["as_here"]) == (2, None)
    with pytest.raises(ModelError, match=r"\?folder=/nowhere: no model lies there"):
        lvlm(server, "&folder=/nowhere").differs(asked(1, 1)[0], [1])


def test_a_server_is_asked_by_the_command_itself_and_no_worker_is_started(cli, server, tmp_path):
    spec = f"openai:{server.url}?model=tiny"
    words = ("run", "-l", spec, "-t", "pope", "--data", "micro", "--limit", 1, "--results", tmp_path)
    said = cli(*words, "--workers", 2)
    assert said.code == 0, said.err
    assert "?concurrency=N is how many questions at once" in said.err
    assert "workers was there" not in said.err
