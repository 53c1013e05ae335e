"""Commands that write folders or move files, killed at any step: the same command ends as an undisturbed one."""

from __future__ import annotations

import csv
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.cli import main

KILLS = int(os.environ.get("OHD_BENCH_KILLS", "8"))
"""How many of a command's steps are tried, from its first to its last."""
WRITING = os.O_WRONLY | os.O_RDWR
STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}
PROCESSES = multiprocessing.get_context("forkserver")  # PyTorch is imported once, not once a kill
PROCESSES.set_forkserver_preload(["encoders.training.loop", "harness.cli.encoder", "harness.vision_language.host"])


def stepping(words: list[str], root: Path, number: int, told: Any) -> None:
    """The command in this process, killed before its step of this number in the folder; how many it came to."""
    steps = itertools.count(1)
    came = 0

    def step(event: str, args: tuple[Any, ...]) -> None:
        nonlocal came
        if event not in STEPS or not isinstance(args[0], str | os.PathLike):
            return
        if os.path.abspath(args[0]).startswith(str(root)) and (event != "open" or (args[2] or 0) & WRITING):
            came = next(steps)
            if came == number:
                os.kill(os.getpid(), signal.SIGKILL)

    os.chdir(root)
    sys.addaudithook(step)
    try:
        main(words)
    finally:
        told.put(came)


def done(words: list[str], root: Path, number: int = 0) -> tuple[int, int]:
    """Its exit code and how many steps it came to, 0 where it was killed."""
    told = PROCESSES.SimpleQueue()
    process = PROCESSES.Process(target=stepping, args=(words, root, number, told))
    process.start()
    process.join()
    return process.exitcode, 0 if process.exitcode == -signal.SIGKILL else told.get()


def left(root: Path) -> dict[str, bytes]:
    """Every file that it leaves; the dates and durations in a run's manifest are its own."""
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "run.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def nothing(root: Path) -> None:
    """It begins in an empty folder."""


def shards(root: Path) -> None:
    """A run that two shards have answered."""
    for n in (1, 2):
        assert done([*RUN, "--shard", f"{n}/2"], root)[0] == 0


def pictures(root: Path) -> None:
    """Four pictures of two classes, and the table of them."""
    with (root / "all.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("filepath", "label"))
        for n in range(4):
            Image.new("RGB", (4, 4), (60 * n, 0, 0)).save(root / f"{n}.png")
            rows.writerow((f"{n}.png", ("cat", "dog")[n % 2]))


def archive(root: Path) -> None:
    """Pictures of MME as they are published."""
    with zipfile.ZipFile(root / "mme.zip", "w") as packed:
        for n in range(30):
            picture = root / "picture.jpg"
            Image.new("RGB", (4, 4), (8 * n, 0, 0)).save(picture)
            packed.write(picture, f"MME_Benchmark_release_version/count/{n:02}.jpg")
            packed.writestr(f"MME_Benchmark_release_version/count/{n:02}.txt", "Is it?\tYes\nIs it not?\tNo\n")
            picture.unlink()


RUN = ["run", "-l", "micro-llava", "-t", "pope", "--limit", "4", "--results", "results"]
QUICK = ["--set", "updates=2", "--set", "batch=4", "--set", "micro_batch=4", "--set", "validation=0.0"]
COMMANDS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "convert": (nothing, ["encoder", "convert", "micro", "--to", "hf", "--out", "out"]),
    "merge a tower": (nothing, ["encoder", "merge", "micro-ohd", "--into", "micro-llava", "--out", "out"]),
    "merge shards": (shards, ["merge", "--results", "results"]),
    "read shards back": (shards, RUN),
    "copy a run": (shards, ["results", "merge", "results", "--results", "all"]),
    "classes": (pictures, ["data", "classes", "csv:all.csv", "--out", "zero_shot/own"]),
    "prepare": (archive, ["data", "prepare", "mme", "--from", "mme.zip", "--data", "data"]),
    "new task": (nothing, ["new", "task", "mine", "--to", "plugins"]),
    "new study": (nothing, ["study", "new", "mine.toml"]),
    "align": (
        nothing,
        ["align", "micro", "--lvlm", "micro-llava", "--stage", "pretrain", "--data", "micro", "--out", "out", *QUICK],
    ),
}
ENDS = {"align"}
"""Of these only the last steps: a training that is killed in its middle has tests of its own."""


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_step_the_same_command_ends_as_an_undisturbed_one(tmp_path: Path, command: str) -> None:
    prepare, words = COMMANDS[command]
    root, before = tmp_path / "here", tmp_path / "before"
    root.mkdir()
    prepare(root)
    shutil.copytree(root, before)
    code, steps = done(words, root)
    whole = left(root)
    assert whole != left(before)
    first = steps - KILLS if command in ENDS else 1
    kills = 3 if command in ENDS else KILLS
    numbers = sorted({first + n * (steps - first) // (kills - 1) for n in range(kills)})
    killed = 0
    for number in numbers:
        shutil.rmtree(root)
        shutil.copytree(before, root)
        ended = done(words, root, number)[0]
        assert ended in (-signal.SIGKILL, code), "where it comes to a step less than before, the last is none"
        killed += ended == -signal.SIGKILL
        assert done(words, root)[0] == code, f"killed at {number} of {steps}"
        assert left(root).keys() == whole.keys(), f"killed at {number} of {steps}"
        assert left(root) == whole, f"killed at {number} of {steps}"
    assert killed > len(numbers) / 2
