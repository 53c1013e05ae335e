"""Killed again and again, one process or several, and every field of every record is that of the undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

JOB = ["run", "--encoder", "micro", "--lvlm", "micro-llava", "--data", "micro", "--batch-size", "1", "--json"]
TASKS = ["-t", "amber", "-t", "ohd-caps", "-t", "pope"]  # more than all rounds can answer: none ends before its kill
COMMAND = [sys.executable, "-c", "from harness.cli import main; main()"]
ROUNDS = [
    *((1, "driver"), (2, "worker"), (1, "group"), (2, "driver"), (1, "driver"), (3, "worker")),
    *((1, "group"), (1, "driver"), (3, "group"), (1, "driver"), (1, "group"), (1, "driver")),
]
PATIENCE = 300
pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="groups of processes are POSIX's")


def rounds() -> Sequence[tuple[int, str]]:
    """The twelve of CI, or as many as ``make nightly`` asks for, drawn by lot."""
    draw = random.Random(f"rounds/{os.environ.get('OHD_BENCH_SEED', 0)}")
    count = int(os.environ.get("OHD_BENCH_KILL_ROUNDS", 0))
    drawn = [(draw.randint(1, 4), draw.choice(("driver", "worker", "group"))) for _ in range(count)]
    return [(workers, victim if workers > 1 else "driver") for workers, victim in drawn] or ROUNDS


def started(results: Path, workers: int, limit: int) -> subprocess.Popen[str]:
    words = [*COMMAND, *JOB, *TASKS, "--limit", str(limit), "--results", str(results), "--workers", str(workers)]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ
    )


def kept(results: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in results.glob("*/*/records.jsonl"))


def waited(process: subprocess.Popen[str], results: Path, more: int) -> None:
    """Returns when the run has kept so many more records than now."""
    wanted, give_up = kept(results) + more, time.monotonic() + PATIENCE
    while kept(results) < wanted:
        assert process.poll() is None, f"over before it could be killed: {process.communicate()}"
        assert time.monotonic() < give_up
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The run's own processes: Ray's and the workers."""
    return psutil.Process(process.pid).children(recursive=True)


def actors(every: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for one in every:
        with contextlib.suppress(psutil.NoSuchProcess):  # ended while it was looked at
            if one.is_running() and one.name().startswith("ray::_Actor"):
                found.append(one)
    return found


def a_worker_killed(process: subprocess.Popen[str], results: Path, draw: random.Random) -> None:
    """Kills one, and returns when the run has gone on without it."""
    draw.choice(actors(family(process))).kill()
    waited(process, results, 1)


def killed(process: subprocess.Popen[str], victim: str) -> list[psutil.Process]:
    """Kills the run, and gives the processes that are to end with it."""
    orphans = family(process)
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    return orphans


def fields(results: Path) -> dict[str, object]:
    """Every record by task and id, and the run's entry of each task but for the seconds it took."""
    run = next(results.glob("*/run.json"))
    tasks = json.loads(run.read_text())["tasks"]
    found: dict[str, object] = {name: {**entry, "seconds": None} for name, entry in tasks.items()}
    for path in results.glob("*/*/records.jsonl"):
        found |= {f"{path.parent.name}/{row['id']}": row for row in map(json.loads, path.read_text().splitlines())}
    return found


def test_kill_rounds_end_with_the_records_of_the_undisturbed_run_in_every_field(tmp_path):
    broken, whole, draw = tmp_path / "broken", tmp_path / "whole", random.Random(0)
    limit = 64 if rounds() is ROUNDS else 0
    orphans = []
    for workers, victim in rounds():
        process = started(broken, workers, limit)
        waited(process, broken, draw.randint(1, 4))
        if victim == "worker":
            a_worker_killed(process, broken, draw)
        orphans += killed(process, victim)
        assert not psutil.wait_procs(actors(orphans), timeout=PATIENCE)[1], "workers outlived their driver"
    last = started(broken, 2, limit)
    waited(last, broken, 1)
    a_worker_killed(last, broken, draw)
    resumed = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, resumed[1]
    undisturbed = started(whole, 1, limit).communicate()
    assert fields(broken) == fields(whole)
    assert json.loads(resumed[0])["rows"] == json.loads(undisturbed[0])["rows"]
    assert not psutil.wait_procs(orphans, timeout=PATIENCE)[1], "something of Ray outlived its run"
