"""What a run was expected to cost, beside what it took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import sealed
from harness.asking.estimate import TimeEstimate
from harness.data import cache_dir
from harness.store import Run


def note(run: Run, expected: Mapping[str, TimeEstimate]) -> None:
    """Keeps an estimate of this run, by task, in this machine's cache, until the run is asked here."""
    sealed.keep(_place(run), {name: one.record() for name, one in expected.items()})


def costs(run: Run, spent: Mapping[str, Any]) -> dict[str, Any]:
    """The run's entry ``cost``: what was ``spent`` (device, peak of memory), and for each task seconds and estimate.

    ``seconds`` are those of all commands that asked the task, ``estimated`` what ``--estimate`` said here before.
    """
    expected = sealed.recall(_place(run)) or {}
    tasks = run.manifest().get("tasks", {})
    return {
        **spent,
        "tasks": {
            name: {"seconds": one.get("seconds"), "estimated": expected.get(name)} for name, one in tasks.items()
        },
    }


def _place(run: Run) -> Path:
    return cache_dir() / "estimates" / f"{run.sources()[0].name}.json"
