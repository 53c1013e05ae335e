"""Twelve times killed, one process or several, and every field of every record is that of the undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

JOB = ["run", "--encoder", "micro", "--lvlm", "micro-llava", "--data", "micro", "-t", "amber", "-t", "ohd-caps"]
JOB += ["--limit", "64", "--batch-size", "2", "--json"]  # more than twelve rounds can answer: none ends before its kill
COMMAND = [sys.executable, "-c", "from harness.cli import main; main()"]
ROUNDS = [
    *((1, "driver"), (2, "worker"), (1, "group"), (3, "worker"), (1, "driver"), (2, "group")),
    *((1, "group"), (3, "driver"), (2, "worker"), (1, "driver"), (3, "group"), (2, "driver")),
]
PATIENCE = 300
pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="groups of processes are POSIX's")


def started(results: Path, workers: int) -> subprocess.Popen[str]:
    words = [*COMMAND, *JOB, "--results", str(results), "--workers", str(workers)]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ
    )


def kept(results: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in results.glob("*/*/records.jsonl"))


def workers_of(driver: psutil.Process) -> list[psutil.Process]:
    try:
        return [child for child in driver.children() if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:  # one ended, or is a zombie, while it was looked at
        return []


def killed(process: subprocess.Popen[str], victim: str, draw: random.Random) -> list[psutil.Process]:
    """Kills the victim, and gives the workers there were."""
    workers = workers_of(psutil.Process(process.pid))
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        target = draw.choice(workers).pid if victim == "worker" else process.pid
        os.kill(target, signal.SIGKILL)
    return workers


def fields(results: Path) -> dict[str, object]:
    """Every record by task and id, and the run's entry of each task but for the seconds it took."""
    run = next(results.glob("*/run.json"))
    tasks = json.loads(run.read_text())["tasks"]
    found: dict[str, object] = {name: {**entry, "seconds": None} for name, entry in tasks.items()}
    for path in results.glob("*/*/records.jsonl"):
        found |= {f"{path.parent.name}/{row['id']}": row for row in map(json.loads, path.read_text().splitlines())}
    return found


def test_twelve_kill_rounds_end_with_the_records_of_the_undisturbed_run_in_every_field(tmp_path):
    broken, whole, draw = tmp_path / "broken", tmp_path / "whole", random.Random(0)
    for workers, victim in ROUNDS:
        process = started(broken, workers)
        before, wanted, give_up = kept(broken), draw.randint(1, 4), time.monotonic() + PATIENCE
        while kept(broken) < before + wanted:
            assert process.poll() is None, f"over before it could be killed: {process.communicate()}"
            assert time.monotonic() < give_up
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        orphans = killed(process, victim, draw)
        said = process.communicate(timeout=PATIENCE)
        assert process.returncode == (1 if victim == "worker" else -signal.SIGKILL)
        if victim == "worker":
            assert "was killed by signal 9; the same command goes on where it stopped" in said[1]
        assert not psutil.wait_procs(orphans, timeout=10)[1], "workers outlived their driver"
    resumed = started(broken, 2).communicate()
    undisturbed = started(whole, 1).communicate()
    assert fields(broken) == fields(whole)
    assert json.loads(resumed[0])["rows"] == json.loads(undisturbed[0])["rows"]
