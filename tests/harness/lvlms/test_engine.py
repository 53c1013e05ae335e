"""``?engine=vllm``: the tower is merged in, a server is started beside the command, asked, and ended with it.

The server is a double of vLLM (``vllm_double.py``) in a Python of its own; ``test_vllm.py`` asks a real one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from PIL import Image

from harness import cached, registry
from harness.data import micro
from harness.doctor import packages
from harness.errors import ModelError, UsageError
from harness.types import Place
from harness.vision_language import preprocess
from harness.vision_language.layouts import checkpoint, merged
from harness.vision_language.vllm import install
from harness.vision_language.vllm.launch import launch

registry.load()
CPU = Place("cpu")
SERVED = "micro-llava?engine=vllm"
POSIX = pytest.mark.skipif(os.name != "posix", reason="vLLM is not to be had for this system")
pytestmark = POSIX


@dataclass
class Double:
    """An environment with the double in vLLM's place, and the bell that each of its servers rings when it starts."""

    python: Path
    bell: socket.socket
    data: Path
    lines: list[socket.socket] = field(default_factory=list)

    def rung(self) -> list[dict]:
        """What each server was told that was started since the last call."""
        told = []
        self.bell.settimeout(0)
        while (line := self._taken()) is not None:
            told.append(json.loads(line.makefile().readline()))
        return told

    def _taken(self) -> socket.socket | None:
        try:
            line, _ = self.bell.accept()
        except BlockingIOError:
            return None
        line.settimeout(300)
        self.lines.append(line)
        return line

    def all_ended(self) -> bool:
        """Whether every server that rang has ended and all that it started: then their ends of the lines are closed."""
        return all(line.recv(1) == b"" for line in self.lines)

    def version(self, told: str) -> None:
        """From now on it says that it has this version of vLLM."""
        (note,) = self.python.parents[1].glob("lib/python3/site-packages/*.dist-info")
        (note / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {told}\n")


@pytest.fixture
def double(tmp_path, monkeypatch):
    data = micro()  # from the cache of all tests
    home, bell = tmp_path / "vllm", socket.create_server(("127.0.0.1", 0))
    site = home / "lib" / "python3" / "site-packages"
    (site / "vllm-9.9+cpu.dist-info").mkdir(parents=True)
    package = site / "vllm" / "entrypoints" / "cli"
    package.mkdir(parents=True)
    (package / "main.py").write_text(Path(__file__).with_name("vllm_double.py").read_text())
    python = home / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv(install.VARIABLE, str(python))
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BELL", str(bell.getsockname()[1]))
    monkeypatch.delenv("MOOD", raising=False)
    made = Double(python, bell, data)
    made.version("9.9+cpu")
    yield made
    for line in [bell, *made.lines]:
        line.close()


@pytest.fixture
def ask(cli, double, tmp_path):
    """Runs the command on three pictures of micro POPE; how it ended, and the manifests of all runs that are kept."""
    return lambda *more, **which: asked(cli, double.data, tmp_path / "results", *more, **which)


def asked(cli, data, results, *more, lvlm=SERVED, task="pope"):
    words = ["-e", "micro-ohd", "-l", lvlm, "-t", task, "--data", data, "--limit", 3, "--results", results]
    said = cli("run", *words, *more)
    return said, [json.loads(path.read_text()) for path in sorted(results.glob("*/run.json"))]


def test_the_tower_is_merged_and_a_server_answers_that_ends_with_the_command(ask, double, tmp_path):
    said, (run,) = ask()
    assert said.code == 0, said.err
    (told,) = double.rung()
    assert double.all_ended()
    words, key = told["words"], told["environment"]["VLLM_API_KEY"]
    folder = Path(words[1])
    assert words[0] == "serve"
    assert folder.parent == tmp_path / "cache" / "merged"
    options = dict(pairwise(words))
    assert (options["--host"], options["--dtype"]) == ("127.0.0.1", "float32")
    assert "--enable-prefix-caching" in words
    assert len(key) > 30
    assert key not in " ".join([*words, said.err, json.dumps(run), folder.with_suffix(".log").read_text()])
    lvlm = run["lvlm"]
    assert lvlm["spec"] == SERVED
    assert lvlm["describe"]["inference"] == "vllm 9.9+cpu"
    assert "vLLM's own" in lvlm["describe"]["kernels"]
    from harness.vision_language.layouts.merge import stored_tower_digest

    assert stored_tower_digest(folder) == lvlm["digests"]["tower"]
    assert run["tasks"]["pope"]["failed"] == 0
    (path,) = (tmp_path / "results").glob("*/pope/records.jsonl")
    answers = [json.loads(line)["answer"] for line in path.read_text().splitlines()]
    assert {answer["text"] for answer in answers} <= {"Yes", "No"}
    assert all(0 < answer["p_yes"] < 1 for answer in answers)


def test_the_same_command_asks_nothing_again_and_another_task_merges_nothing_again(ask, double, tmp_path):
    ask()
    (folder,) = (path for path in (tmp_path / "cache" / "merged").iterdir() if path.is_dir())
    (records,) = (tmp_path / "results").glob("*/pope/records.jsonl")
    answered = records.stat()
    written = (folder / "config.json").stat().st_mtime_ns
    said, _ = ask("-t", "amber")
    assert said.code == 0, said.err
    assert (records.stat().st_size, records.stat().st_mtime_ns) == (answered.st_size, answered.st_mtime_ns)
    assert (folder / "config.json").stat().st_mtime_ns == written
    held = {one.kind: one for one in cached.held()}["merged"]
    assert held.size > 4e6
    cached.clear(["merged"])
    assert not folder.exists()


def test_its_answers_are_no_answers_of_this_process_and_verify_counts_how_many_differ(ask, double, tmp_path):
    said, (served,) = ask("--verify", 1)
    assert said.code == 0, said.err
    verdict = served["tasks"]["pope"]["verify"]
    assert verdict["way"] == "alone by generate"
    assert verdict["asked"] == served["tasks"]["pope"]["expected"]
    said, runs = ask(lvlm="micro-llava")
    assert len(runs) == 2
    own = next(run for run in runs if run["lvlm"]["spec"] == "micro-llava")
    assert own["lvlm"]["digests"] == served["lvlm"]["digests"]
    answers = []
    for run in (own, served):
        (path,) = (tmp_path / "results").glob(f"{run['id']}/pope/records.jsonl")
        answers.append({row["id"]: row for row in map(json.loads, path.read_text().splitlines())})
    keys = [{row["key"] for row in one.values()} for one in answers]
    assert not keys[0] & keys[1]
    unlike = [id for id in answers[0] if answers[0][id]["answer"]["text"] != answers[1][id]["answer"]["text"]]
    assert verdict["flips"] == len(unlike) > 0


def test_an_estimate_measures_both_ways_and_says_which_is_quicker(ask, double, tmp_path):
    said, _ = ask("--estimate")
    assert said.code == 0, said.err
    assert "quicker: --lvlm 'micro-llava' in about" in said.out
    assert SERVED in said.out
    said, _ = ask("--estimate", "--json")
    assert [row["lvlm"] for row in said.json()] == [SERVED, "micro-llava"]
    assert all(row["ready_s"] > 0 for row in said.json())
    assert double.rung()
    assert double.all_ended()
    said, _ = ask("--estimate", lvlm="micro-llava")
    assert "with engine=vllm in --lvlm's spec both ways are measured" in said.err


def test_a_server_that_does_not_start_is_exit_4_with_the_end_of_its_log(ask, double, tmp_path, monkeypatch):
    monkeypatch.setenv("MOOD", "fails")
    said, _ = ask()
    assert said.code == 4
    assert "vllm: a long story" in said.err
    assert "Fatal" not in said.err
    assert "vLLM ended before it answered: ValueError: Free memory is less than desired; its log is" in said.err


def test_a_server_that_dies_ends_the_run_and_the_same_command_goes_on(ask, double, tmp_path, monkeypatch):
    monkeypatch.setenv("MOOD", "dies")
    said, (run,) = ask(lvlm=f"{SERVED}&concurrency=2")
    assert said.code == 4, said.err
    assert "RuntimeError: Engine core died" in said.err
    assert run["status"] == "interrupted"
    double.rung()
    assert double.all_ended()
    monkeypatch.delenv("MOOD")
    said, (run,) = ask(lvlm=f"{SERVED}&concurrency=2")
    assert said.code == 0, said.err
    assert run["tasks"]["pope"]["failed"] == 0


SERVING = """
import sys
from pathlib import Path
from harness.vision_language.vllm import install, server
server.GRACE = 0.2
it = server.Server(install.found(), Path(sys.argv[1]), [], {})
it.wait()
print(it.url, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mood", ["", "deaf", "late"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_process_ends_nothing_of_the_server_is_left(double, tmp_path, monkeypatch, number, mood):
    monkeypatch.setenv("MOOD", mood)
    ours = subprocess.Popen(
        [sys.executable, "-c", SERVING, tmp_path / "folder"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    with ours:
        if mood == "late":  # it is still waited for
            double.bell.settimeout(300)
            double.lines.append(double.bell.accept()[0])
            double.lines[0].makefile().readline()
        else:
            assert ours.stdout.readline().startswith(b"http://127.0.0.1:")
            assert len(double.rung()) == 1
        ours.send_signal(number)
        assert ours.wait(300) != 0
    assert double.all_ended()


def test_sigterm_amid_the_questions_ends_command_and_server(double, tmp_path, monkeypatch):
    monkeypatch.setenv("MOOD", "hangs")
    words = ["run", "-l", SERVED, "-t", "pope", "--data", double.data, "--limit", "1"]
    words += ["--results", tmp_path / "results"]
    with subprocess.Popen(
        [sys.executable, "-m", "ohd_bench", *words], stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as ours:
        double.bell.settimeout(300)
        line, _ = double.bell.accept()
        double.lines.append(line)
        heard = line.makefile()
        assert json.loads(heard.readline())
        assert heard.readline() == "asked\n"
        ours.send_signal(signal.SIGTERM)
        _, err = ours.communicate(timeout=300)
    assert ours.returncode == 143, err
    assert "the same command goes on from there" in err
    while heard.readline():  # until all ends of it are closed
        pass


@pytest.mark.parametrize(
    ("spec", "place", "kind", "says"),
    [
        ("micro-llava?engine=sglang", CPU, UsageError, "there is vllm"),
        (f"{SERVED}&quantize=4bit", CPU, UsageError, "has no option 'quantize'"),
        (f"{SERVED}&inference=plain", CPU, UsageError, "has no option 'inference'"),
        (f"{SERVED}&concurrency=0", CPU, UsageError, "no positive whole number"),
        (f"{SERVED}&tensor_parallel=x", CPU, UsageError, "no positive whole number"),
        (f"{SERVED}&gpu_memory_utilization=1.5", CPU, UsageError, "a share of the memory"),
        (f"{SERVED}&gpu_memory_utilization=0.0", CPU, UsageError, "a share of the memory"),
        (SERVED, Place("cuda:0"), ModelError, "computes on the CPU"),
        ("micro-llava?concurrency=4", CPU, UsageError, "has no option 'concurrency'"),
    ],
)
def test_what_cannot_be_served_is_refused_in_words(double, spec, place, kind, says):
    with pytest.raises(kind, match=says):
        registry.make_lvlm(spec, place)


def test_python_and_cache_may_be_named_from_where_the_user_stands(ask, double, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(install.VARIABLE, str(double.python.relative_to(tmp_path)))
    monkeypatch.setenv("OHD_BENCH_CACHE", "cache")
    said, _ = ask()
    assert said.code == 0, said.err


def test_without_vllm_it_is_said_how_to_get_it(ask, double, tmp_path, monkeypatch):
    monkeypatch.setenv(install.VARIABLE, sys.executable)
    said, _ = ask()
    assert said.code == 2
    assert "has no vLLM: pip install vllm into an environment of its own" in said.err
    monkeypatch.setenv(install.VARIABLE, str(tmp_path / "nothing"))
    said, _ = ask()
    assert said.code == 2
    assert "no such program" in said.err


def test_the_gpu_that_is_named_is_the_one_that_vllm_sees(double, monkeypatch):
    double.version("9.9")
    found = install.found()

    def launched(more, device):
        told = launch(registry.parse_spec(f"llava?engine=vllm{more}"), Place(device), found, {})
        return told.words, told.settings

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    share = ("--gpu-memory-utilization", "0.8")
    assert launched("&gpu_memory_utilization=0.8", "cuda:1") == (share, {"CUDA_VISIBLE_DEVICES": "1"})
    assert launched("&tensor_parallel=2", "cuda") == (("--tensor-parallel-size", "2"), {})
    with pytest.raises(UsageError, match="is one GPU"):
        launched("&tensor_parallel=2", "cuda:1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert launched("", "cuda:1") == ((), {"CUDA_VISIBLE_DEVICES": "6"})
    with pytest.raises(ModelError, match="no cuda:2 among CUDA_VISIBLE_DEVICES=4,6"):
        launched("", "cuda:2")
    with pytest.raises(ModelError, match="computes on GPUs"):
        launched("", "cpu")


def test_what_asks_nothing_wants_the_spec_without_the_engine(cli, double, tmp_path):
    said = cli("encoder", "merge", "micro-ohd", "--into", f"{SERVED}&pad=crop", "--out", tmp_path / "merged")
    assert said.code == 2
    assert "leave the engine out of its spec: --into 'micro-llava?pad=crop'" in said.err
    said = cli("encoder", "check", "micro-ohd", "--lvlm", SERVED)
    assert said.code == 2
    assert "--lvlm 'micro-llava'" in said.err


def test_workers_start_no_server_each(ask, double):
    said, _ = ask("--workers", 2)
    assert said.code == 0, said.err
    assert "is asked by this process; ?concurrency=N" in said.err
    assert len(double.rung()) == 1


def test_doctor_says_which_vllm_was_named(double, monkeypatch):
    (looked,) = packages.vllm()
    assert looked.found.startswith("9.9+cpu")
    monkeypatch.setenv(install.VARIABLE, sys.executable)
    (looked,) = packages.vllm()
    assert "has no vLLM" in looked.found
    assert not looked.needed
    monkeypatch.delenv(install.VARIABLE)
    assert not list(packages.vllm())


@pytest.fixture(scope="module")
def speaker():
    return registry.make_lvlm("micro-llava", CPU)(None)


@settings(max_examples=25)
@given(size=st.tuples(st.integers(1, 150), st.integers(1, 150)), how=st.sampled_from(["pad", "crop"]))
def test_the_picture_that_is_sent_gives_the_pixels_of_the_whole_one(speaker, size, how):
    noise = Image.effect_noise(size, 90).convert("RGB")
    processor = speaker.host.processor.image_processor
    read = preprocess.pipeline(processor, how)
    sent = preprocess.as_read(processor, how)(noise)
    assert (read(sent) == read(noise)).all()
    assert (preprocess.pipeline(processor, "crop")(sent) == read(noise)).all()  # what a server makes of it


@pytest.mark.parametrize(("read", "gone"), [("", "older"), ("older", "old")])
def test_the_longest_unused_merges_go_when_the_cache_is_full_and_none_that_is_in_use(
    speaker, tmp_path, monkeypatch, read, gone
):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path))
    root, now = tmp_path / "merged", time.time()
    for name, age in (("old", 9000), ("older", 99000), ("young", 60)):
        (root / name).mkdir(parents=True)
        (root / name / "model.safetensors").write_bytes(bytes(4_000_000))
        (root / f"{name}.log").touch()
        os.utime(root / name, (now - age, now - age))
    monkeypatch.setenv(merged.GIGABYTES, "0.0142")
    words = [sys.executable, "-c", "input()", *([str(root / read)] if read else [])]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as server:
        made = merged.folder(speaker)
        server.communicate(b"\n")
    kept = {"old", "older", "young"} - {gone}
    assert {path.name for path in root.iterdir()} == kept | {f"{name}.log" for name in kept} | {made.name}
    cached.clear(["merged"])
    monkeypatch.setenv(merged.GIGABYTES, "some")
    with pytest.raises(UsageError, match="no number of gigabytes"):
        merged.folder(speaker)


def test_a_disk_that_has_no_room_is_said_before_anything_is_written(speaker, tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(merged.shutil, "disk_usage", lambda path: type("", (), {"free": 1000})())
    with pytest.raises(ModelError, match=r"GB are free; set OHD_BENCH_CACHE.*--clear merged"):
        merged.folder(speaker)
    assert not list((tmp_path / "merged").iterdir())


def test_what_is_merged_is_what_own_loading_finds(speaker, tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path))
    folder = merged.folder(speaker)
    assert merged.folder(speaker) == folder
    again = registry.make_lvlm(f"llava:{folder}", CPU)(None)
    assert again.digests() == speaker.digests()
    assert checkpoint.stored_dtype(folder).is_floating_point
