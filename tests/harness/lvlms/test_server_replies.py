"""Whatever a server sends back is an answer or one failed sample: never a traceback, never a key, never a false yes."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import traces
from harness.records import Record
from harness.types import Answer, Failure
from harness.vision_language.chat_reply import LARGEST, Heard, heard, masked, read

KEY = "sk-very-secret-0123"


def chat(content, finish="stop", **more) -> bytes:
    message = {"content": content, **{k: v for k, v in more.items() if k != "logprobs"}}
    return json.dumps(
        {"choices": [{"message": message, "finish_reason": finish, "logprobs": more.get("logprobs")}]}
    ).encode()


def first_token(token, logprob) -> dict:
    return {"content": [{"top_logprobs": [{"token": token, "logprob": logprob}]}]}


class Server:
    """Says yes, but to the question numbered ``odd`` what it is told to: a status, headers and bytes, or by request."""

    def __init__(self) -> None:
        self.special = lambda body: (200, {}, chat("Yes"))
        self.asked: list[dict] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(200, {}, b'{"data": []}')

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                question = self.path.endswith("/chat/completions") and "return_token_ids" not in body
                if not question or len(body["messages"][0]["content"]) == 1:
                    # What is asked before the first question.
                    return self.reply(200, {}, chat("Yes"))
                outer.asked.append(body)
                special = len(outer.asked) == 1 or body.get("again")
                return self.reply(*(outer.special(body) if special else (200, {}, chat("No"))))

            def reply(self, status, headers, data) -> None:
                self.send_response(status)
                for name, value in ({"content-length": str(len(data))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.spec = f"openai:http://127.0.0.1:{self.http.server_port}/v1?model=m&backoff=0&retries=0&concurrency=1"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def asked(server, cli, tmp_path):
    """Runs one image of POPE against the server; gives what the command said, and its records."""

    def run(more: str = ""):
        said = cli("run", "--lvlm", server.spec + more, "-t", "pope", "--limit", 1, "--results", tmp_path, "--json")
        (path,) = tmp_path.glob("*/pope/records.jsonl")
        return said, [json.loads(line) for line in path.read_text().splitlines()]

    return run


ODD = {
    "no UTF-8": (200, {}, b'{"choices": [{"message": {"content": "Yes \xff\xfe"}}]}'),
    "half a surrogate": (200, {}, b'{"choices": [{"message": {"content": "Yes \\ud83d"}}]}'),
    "bad gzip": (200, {"content-encoding": "gzip"}, b"\x1f\x8b" + b"no gzip"),
    "cut gzip": (200, {"content-encoding": "gzip"}, gzip.compress(chat("Yes"))[:30]),
    "deep": (200, {}, b"[" * 100_000),
    "a long number": (200, {}, b'{"choices": [{"message": {"content": ' + b"9" * 5000 + b"}}]}"),
    "no JSON": (200, {}, b"<html>Yes</html>"),
    "empty": (200, {}, b""),
    "no choice": (200, {}, b'{"choices": []}'),
    "a list": (200, {}, b"[]"),
    "a number for words": (200, {}, chat(7)),
    "a redirect": (302, {"location": "http://127.0.0.1:1/"}, b""),
    "logprob null": (200, {}, chat("Yes", logprobs=first_token("Yes", None))),
    "logprob not a number": (200, {}, chat("Yes", logprobs=first_token("Yes", float("nan")))),
    "logprobs a list": (200, {}, chat("Yes", logprobs=[1])),
    "logprobs words": (200, {}, chat("Yes", logprobs={"content": "Yes"})),
    "logprobs too large": (200, {}, chat("Yes", logprobs=first_token("Yes", 1e9))),
    "a token that is no text": (200, {}, chat("Yes", logprobs=first_token(7, -1.0))),
    "a logprob above 0": (200, {}, chat("Yes", logprobs=first_token("Yes", 5.0))),
    "a part that is no text": (200, {}, chat([{"type": "text", "text": None}])),
    "an error with status 200": (200, {}, b'{"error": {"message": "out of memory"}}'),
    "a filter": (200, {}, chat("", "content_filter")),
    "half a filtered answer": (200, {}, chat("Yes, th", "content_filter")),
    "an engine that gave up": (200, {}, chat("Yes", "abort")),
    "a tool call": (200, {}, chat(None, "tool_calls", tool_calls=[{"type": "function"}])),
    "half a body": (200, {"content-length": "5000"}, chat("Yes")),
    "a packed bomb": (200, {"content-encoding": "gzip"}, gzip.compress(b" " * (LARGEST + (1 << 20)) + chat("Yes"))),
    "out of tokens": (200, {}, chat("", "length")),
    "out of tokens in a trace": (200, {}, chat("<think>Yes. Yes, yes", "length")),
    "out of tokens in a field": (200, {}, chat(None, "length", reasoning_content="Yes, I see. Yes")),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_reply_is_one_failed_sample(server, asked, odd):
    server.special = lambda body: ODD[odd]
    said, records = asked()
    assert said.code == 1
    assert len({record["key"] for record in records if "failed" in record}) == 1
    assert len({record["key"] for record in records}) > 5
    assert "failed: " in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (chat(""), ""),
        (chat(None), ""),
        (chat("", logprobs={"content": []}), ""),
        (chat("<think>No. Not. no</think>\n\nYes. It is"), "<think>No. Not. no</think>\n\nYes."),
        (chat("I see one. Not two.</think>Yes"), "I see one. Not two.</think>Yes"),
        (chat("Yes.", reasoning="No. Or?"), "<think>No. Or?</think>Yes."),
        (chat([{"type": "text", "text": "Yes"}]), "Yes"),
    ],
)
def test_an_empty_answer_is_an_answer_and_a_trace_is_kept_whole(server, asked, sent, text):
    server.special = lambda body: (200, {}, sent)
    said, records = asked()
    assert said.code == 0
    assert records[0]["answer"]["text"] == text


def test_a_key_that_the_server_echoes_is_nowhere(server, asked, tmp_path):
    for special in ((200, {}, chat(f"Yes {KEY}")), (400, {}, f"no model for Bearer {KEY}".encode())):
        server.asked.clear()
        server.special = lambda body, special=special: special
        said, _ = asked()
        kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
        assert KEY not in kept + said.out + said.err
    assert "***" in kept


@pytest.mark.parametrize(
    "refusal",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: {n}. This model's maximum context length is 64 tokens "
        "and your request has 61 input tokens ({n} > 64 - 61).",
        "This model's maximum context length is 64 tokens. However, you requested 999 tokens (61 in the messages, "
        "{n} in the completion). Please reduce the length of the messages or completion.",
        "max_tokens={n} cannot be greater than max_model_len=3. Please request fewer output tokens. "
        "(parameter=max_tokens, value={n})",
        "context_length_exceeded",
    ],
)
def test_an_answer_that_does_not_fit_into_the_context_is_asked_for_what_fits_and_that_is_said(server, asked, refusal):
    wanted = []

    def special(body):
        wanted.append(body["max_tokens"])
        if body["max_tokens"] > 3:
            server.asked.clear()
            return 400, {}, json.dumps({"error": {"message": refusal.format(n=body["max_tokens"])}}).encode()
        return 200, {}, chat("Yes")

    server.special = special
    said, _ = asked("&tokens=40")
    assert said.code == 0
    assert wanted[0] == 40
    assert wanted[-1] == (3 if "{n}" in refusal else 2)
    assert "answers of" in said.err and "as many as fit" in said.err


@pytest.mark.parametrize(
    "url",
    ["http://[x/v1", "http://h:99999/v1", "http://a b/v1", "http://a..b/v1", "http:///v1", "http://h:x/v1", "//h"],
)
def test_an_address_that_is_none_is_a_usage_error(cli, url):
    said = cli("run", "--lvlm", f"openai:{url}?model=m", "-t", "pope")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "write openai:http://host" in said.err


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["content", "Yes", "<think>"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "logprobs",
                    "top_logprobs",
                    "token",
                    "logprob",
                    "finish_reason",
                    "reasoning",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def kept(reply: Heard) -> str:
    found = read(reply, ".", 16, KEY)
    assert isinstance(found, Answer | Failure)
    return Record("1", "1.jpg", "", "", "", found, {}).line().encode().decode()


@given(ANY, ANY)
def test_any_json_is_an_answer_or_a_failure_that_a_record_can_hold(message, logprobs):
    shape = {"choices": [{"message": message, "logprobs": logprobs, "finish_reason": "stop"}]}
    kept(Heard(200, json.dumps(shape)))
    kept(Heard(200, json.dumps(message)))


@given(st.text(), st.text(min_size=6).filter(str.isascii))
def test_a_key_is_masked_wherever_it_stands(text, key):
    shown = masked(f"{text}{key}{text}{json.dumps(key)}", key)
    assert key not in shown.replace("***", "\0")


@given(st.binary(max_size=5), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8))
def test_a_key_is_masked_as_urls_and_headers_write_it(before, key):
    assert masked(f"?key={quote(key, safe='')}&", key) == "?key=***&"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = masked(encode(before + key.encode() + b":x").decode(), key).replace("***", "")
        assert len(shown) < len(encode(before)) + 8


def test_a_reply_that_comes_in_drops_is_given_up():
    drops = httpx.Response(200, content=iter([b"{", b" ", b" "]))
    assert heard(drops, KEY, -1.0).unreadable == "not whole after -1 s"


@given(st.text(alphabet="yesno .\n"), st.text(alphabet="yesno .\n"))
def test_what_ends_an_answer_never_ends_a_trace(trace, answer):
    text = f"<think>{trace}</think>{answer}"
    cut = traces.cut(text, ".")
    assert cut.startswith(f"<think>{trace}</think>")
    assert traces.answer_of(cut) == (answer[: answer.index(".") + 1] if "." in answer else answer)
    assert traces.ended(text, ".") == ("." in answer)
    assert not traces.ended(f"<think>{trace}", ".")
    assert traces.answer_of(f" <think>{trace}") is None
