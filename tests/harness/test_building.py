"""``data build-ohd``: absent objects sampled as published, captions that hold, texts that give nothing away."""

from __future__ import annotations

import http.server
import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.building import output, sampler
from harness.building.drafts import Picture, fault
from harness.building.lexicon import Lexicon
from harness.rows import rows

WORDS = Lexicon({"person": ["man"], "horse": [], "car": [], "bus": [], "kite": []})


@settings(max_examples=30)
@given(st.data())
def test_three_absent_objects_of_each_kind_by_the_published_scheme(data: st.DataObject) -> None:
    names = [f"thing{n}" for n in range(12)]
    present = data.draw(st.lists(st.lists(st.sampled_from(names), min_size=3, max_size=6, unique=True), min_size=1))
    found = sampler.sample(present, names, seed=3)
    with pytest.MonkeyPatch.context() as few:
        few.setattr(sampler, "AT_ONCE", 2)
        assert found == sampler.sample(present, names, seed=3)
    seen = Counter(name for things in present for name in things)
    for things, absent in zip(present, found, strict=True):
        assert absent.leads == tuple(things[:3])
        for kind in sampler.INSERTED:
            assert len(set(absent.by_kind[kind])) == 3 and not set(absent.by_kind[kind]) & set(things)
        others = sorted((name for name in names if name not in things), key=lambda n: (-seen[n], names.index(n)))
        assert list(absent.by_kind["popular"]) == others[:3]
        taken: list[str] = []
        for lead, thing in zip(things, absent.by_kind["adversarial"], strict=False):
            rest = [name for name in others if name not in taken]
            together = {name: sum(lead in one and name in one for one in present) for name in rest}
            assert together[thing] == max(together.values())
            taken.append(thing)


def test_the_sampler_asks_for_what_the_official_annotations_hold(shared: Path) -> None:
    official = [row.fields for row in rows(shared / "data" / "ohd_caps" / "test" / "coco_annotations.json")]
    statistics = sampler.statistics(official)
    assert statistics == {
        **{kind: {"1": 1500, "2": 1500, "3": 500} for kind in sampler.INSERTED},
        "delete": {"1": 1500, "2": 1500},
    }
    for row in official:
        for kind in sampler.INSERTED:
            absent = [name for name in row[kind] if name not in row["ground_truth"]]
            assert [", ".join(key) for key in sampler.subsets(absent, whole=True)] == list(row[f"{kind}_samples"])
        left_out = [", ".join(key) for key in sampler.subsets(row["ground_truth"][:3], whole=False)]
        assert left_out == list(row["delete_samples"])


def test_a_caption_that_may_be_true_is_no_negative() -> None:
    picture = Picture("a.jpg", ("A man and a horse.",), ("person", "horse", "car"))
    assert "may be true" in fault("A man near a car.", "delete", ["horse"], picture, WORDS)
    assert "still names horse" in fault("A man, a horse and a bus.", "delete", ["horse"], picture, WORDS)
    assert "does not name bus" in fault("A man on a kite.", "random", ["bus"], picture, WORDS)
    assert fault("A man and a bus.", "random", ["bus"], picture, WORDS) == ""


def test_near_duplicates_are_of_one_group_and_others_are_not() -> None:
    looks = {"a": 0, "b": 0b111, "c": (1 << 64) - 1, "d": (1 << 64) - 2}
    found = output.groups(looks)
    assert found["a"] == found["b"] != found["c"] == found["d"]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Sixty drawn pictures, each with a caption that leaves something unsaid, and their truth."""
    from harness.micro.captions import web_caption
    from harness.micro.draw import draw
    from harness.micro.scene import Mix, scene

    folder = tmp_path / "pictures"
    folder.mkdir()
    said, truth = [], []
    for n in range(60):
        drawn = scene(f"build/{n}", Mix(least=3))
        draw(drawn).save(folder / f"{n:03d}.png")
        said.append({"image": f"{n:03d}.png", "captions": [web_caption(drawn, take) for take in range(3)]})
        truth.append({"image": f"{n:03d}.png", "objects": list(drawn.names())})
    for name, told in (("captions", said), ("truth", truth)):
        (tmp_path / f"{name}.json").write_text("".join(f"{json.dumps(row)}\n" for row in told))
    return tmp_path


def _words(world: Path, out: Path, *more: object) -> list[object]:
    return [
        *("data", "build-ohd", "--images", world / "pictures", "--captions", world / "captions.json", "--out", out),
        *("--objects", f"truth:{world / 'truth.json'}", "--name", "drawn", *more),
    ]


def test_a_built_benchmark_is_asked_by_ohd_caps_and_every_negative_is_false(
    cli: Callable[..., Any], world: Path, tmp_path: Path
) -> None:
    out = tmp_path / "built"
    said = cli(*_words(world, out))
    assert said.code == 0, said.err
    annotations = [row.fields for row in rows(out / "ohd_caps" / "test" / "drawn_annotations.json")]
    lexicon = Lexicon({name: () for row in rows(world / "truth.json") for name in row.texts("objects")})
    for row in annotations:
        there = set(row["ground_truth"])
        assert lexicon.named(row["positive_sample"]) <= there
        texts = [text for kind in (*sampler.INSERTED, "delete") for text in row[f"{kind}_samples"].values()]
        assert len(texts) == 27 and row["positive_sample"] not in texts
        assert all(lexicon.named(text) - there for text in texts)
        for kind in sampler.INSERTED:
            for key, text in row[f"{kind}_samples"].items():
                assert set(key.split(", ")) <= lexicon.named(text)
        for key, text in row["delete_samples"].items():
            assert not set(key.split(", ")) & lexicon.named(text)
    ran = cli("run", "-e", "hashing", "-t", "ohd-caps?source=drawn", "--data", out, "--results", tmp_path / "r")
    assert ran.code == 0, ran.err
    told = cli("data", "artefacts", "ohd-caps?source=drawn", "--data", out, "--json").json()["drawn"]
    assert told["chance"] == pytest.approx(100 / 28)
    near = all(share <= 100 * 6 / 60 + 1e-9 for share in told["first_in_percent"].values())
    assert near or "cannot be brought there" in (out / "ohd_caps" / "CARD.md").read_text()
    again = tmp_path / "again"
    assert cli(*_words(world, again)).code == 0
    for path in (out / "ohd_caps" / "test").iterdir():
        assert path.read_bytes() == (again / "ohd_caps" / "test" / path.name).read_bytes()
    refused = cli(*_words(world, out, "--seed", 1))
    assert refused.code == 2 and "seed" in refused.err


def test_blocks_that_are_done_are_not_done_again_and_processes_change_nothing(
    cli: Callable[..., Any], world: Path, tmp_path: Path
) -> None:
    one, two, small = tmp_path / "one", tmp_path / "two", ("--block", 30)
    assert cli(*_words(world, one, *small)).code == 0
    assert cli(*_words(world, two, *small, "--workers", 2)).code == 0
    name = Path("ohd_caps") / "test" / "drawn_annotations.json"
    assert (one / name).read_bytes() == (two / name).read_bytes()
    kept = (one / "blocks" / "000000.json").stat().st_mtime_ns
    (one / "blocks" / "000001.json").unlink()
    (one / "ohd_caps" / "test" / "drawn_annotations.json").unlink()
    assert cli(*_words(world, one, *small)).code == 0
    assert (one / "blocks" / "000000.json").stat().st_mtime_ns == kept
    assert (one / name).read_bytes() == (two / name).read_bytes()


def test_odd_words_are_refused_in_a_line(cli: Callable[..., Any], world: Path, tmp_path: Path) -> None:
    for more, told in (
        (("--splits", "exam=1"), "train=0.8"),
        (("--objects", "seem:x"), "no object finder is called 'seem'"),
        (("--llm", "ftp://x", "--model", "m"), "http"),
        (("--name", "../x"), "--name"),
    ):
        said = cli(*_words(world, tmp_path / "odd", *more))
        assert said.code == 2 and told in said.err, said.err


class Scripted(http.server.ThreadingHTTPServer):
    """An OpenAI-compatible server that obeys in the end: it never answers the first request, and stumbles at others."""

    asked: Counter[str]
    down: bool
    held: threading.Event

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Chat(http.server.BaseHTTPRequestHandler):
    server: Scripted

    def do_POST(self) -> None:
        """A rate limit, a fault, nonsense, a caption that does not obey; then what was asked for."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        self.server.asked[prompt] += 1
        turn, way = self.server.asked[prompt], len(prompt) % 5
        if not self.server.down and not self.server.held.is_set():
            self.server.held.set()
            self.rfile.read(1)  # no answer, until whoever asked has had enough
        elif self.server.down or (turn == 1 and way == 0):
            self._send(429, b"{}", ("Retry-After", "0"))
        elif turn == 1 and way == 1:
            self._send(503, b"oops", ("Retry-After", "0"))
        elif turn == 1 and way == 2:
            self._reply("Sure! Here you are: a caption")
        elif turn == 1 and way == 3:
            self._send(200, b'{"choices": []}')
        else:
            self._reply(json.dumps({"captions": ["A thing.", _obeyed(prompt)]}))

    def _reply(self, words: str) -> None:
        self._send(200, json.dumps({"choices": [{"message": {"content": words}}]}).encode())

    def _send(self, code: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(code)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _obeyed(prompt: str) -> str:
    caption = json.loads(prompt.split("photograph: ", 1)[1].splitlines()[0])
    if found := re.search(r"each of these objects: ([^.]*)\.", prompt):
        return f"{caption} with {' and '.join(found[1].split(', '))}"
    instead = re.search(r"in their place instead: ([^.]*)\.", prompt)
    assert instead
    return f"a picture of a {instead[1].split(', ')[0]}"


@pytest.fixture
def llm() -> Iterator[Scripted]:
    server = Scripted(("127.0.0.1", 0), _Chat)
    server.asked, server.down, server.held = Counter(), False, threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_llm_that_stumbles_loses_nothing_and_nothing_wrong_is_taken(
    cli: Callable[..., Any], world: Path, tmp_path: Path, llm: Scripted
) -> None:
    out = tmp_path / "built"
    few = (world / "captions.json").read_text().splitlines(keepends=True)[:4]
    (world / "captions.json").write_text("".join(few))
    words = _words(world, out, "--llm", llm.url, "--model", "scripted", "--price", "1,2", "--timeout", "1")
    llm.down = True
    said = cli(*words)
    assert said.code == 1 and "the same command goes on" in said.err
    assert "requests for 4 pictures" in said.err and "by --price" in said.err
    llm.down = False
    assert cli(*words).code == 0
    annotations = [row.fields for row in rows(out / "ohd_caps" / "test" / "drawn_annotations.json")]
    assert len(annotations) == 4
    texts = [text for row in annotations for text in row["random_samples"].values()]
    assert "A thing." not in texts and not any("Sure" in text for text in texts)
    kept = [json.loads(line) for line in (out / "replies.jsonl").read_text().splitlines()]
    assert any(row["reply"].startswith("Sure!") for row in kept)
    (out / "blocks" / "000000.json").unlink()
    with (out / "replies.jsonl").open("a") as file:
        file.write('{"key": "torn')
    asked = sum(llm.asked.values())
    assert cli(*words).code == 0
    assert sum(llm.asked.values()) == asked
    assert [row.fields for row in rows(out / "ohd_caps" / "test" / "drawn_annotations.json")] == annotations


def test_a_build_killed_again_and_again_goes_on_and_ends_with_the_files_of_an_undisturbed_one(
    cli: Callable[..., Any], world: Path, tmp_path: Path
) -> None:
    whole, broken, small = tmp_path / "whole", tmp_path / "broken", ("--block", 2)
    for path in sorted((world / "pictures").iterdir())[16:]:
        path.unlink()
    assert cli(*_words(world, whole, *small)).code == 0
    killed = f"""
import itertools, os
from harness import cli, durable
numbers = itertools.count(1)
durable.flush_folder = lambda folder: None
durable.flush = lambda file: os.kill(os.getpid(), 9) if next(numbers) == 4 else None
cli.main({[str(word) for word in _words(world, broken, *small)]})
"""
    for blocks in (2, 5):  # the first of them writes whose the folder is, too
        process = subprocess.run([sys.executable, "-c", killed], capture_output=True)
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert len(list(broken.glob("blocks/*.json"))) == blocks
    (broken / "ohd_caps" / "images").mkdir(parents=True)
    (broken / "ohd_caps" / "images" / ".000.png").write_bytes(b"half a picture")
    done = {path.name: path.stat().st_mtime_ns for path in broken.glob("blocks/*.json")}
    assert cli(*_words(world, broken, *small)).code == 0
    assert all((broken / "blocks" / name).stat().st_mtime_ns == kept for name, kept in done.items())
    for path in (path for path in whole.rglob("*") if path.is_file() and path.name != "CARD.md"):
        assert path.read_bytes() == (broken / path.relative_to(whole)).read_bytes(), path
    names = [{path.relative_to(root) for path in root.rglob("*")} for root in (broken, whole)]
    assert names[0] == names[1]
