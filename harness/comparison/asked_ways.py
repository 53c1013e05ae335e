"""One task asked in two ways, side by side: ``RUN[TASK?option=value]`` says which of a run's answers are meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness import registry
from harness.asking import evaluate
from harness.comparison.answer_sets import AnswerSet, Kept, find_run, of_run
from harness.errors import UsageError
from harness.types import Task

_WRITTEN = re.compile(r"(?P<run>.+)\[(?P<task>[^\[\]]+)\]")


def are_named(names: Sequence[str]) -> bool:
    """Whether any of these sides names the task that it is about."""
    return any(_WRITTEN.fullmatch(name) for name in names)


def open_sides(names: Sequence[str], results: Path) -> tuple[list[AnswerSet], list[Task]]:
    """Each side's answers to its own way of the one task, and that task as the first has it.

    A side that names none has the task as it is without options. UsageError where the sides name different tasks, a
    run was not asked what is named, or two were asked over other data.
    """
    told = [_told(name) for name in names]
    task = _one_task([way for _, way in told if way])
    sides = [_side(run, way or task, task, results) for run, way in told]
    data = {str(side.manifest.get("data")) for side in sides}
    if len(data) > 1:
        raise UsageError(f"these were asked over different data: {', '.join(sorted(data))}")
    first = evaluate.open_task(told[0][1] or task, Path())
    first.name = task
    return sides, [first]


def about(sides: Sequence[AnswerSet]) -> str:
    """What the comparison of these is about, as a sentence."""
    return f"One task asked in two ways, paired by question: {' and '.join(side.name for side in sides)}."


def _told(name: str) -> tuple[str, str]:
    found = _WRITTEN.fullmatch(name)
    return (found["run"], found["task"]) if found else (name, "")


def _one_task(ways: Sequence[str]) -> str:
    tasks = sorted({registry.parse_spec(way).name for way in ways})
    if len(tasks) > 1:
        raise UsageError(f"RUN[TASK] compares ways of asking one task, and {' and '.join(tasks)} are several")
    return tasks[0]


def _side(run: str, way: str, task: str, results: Path) -> AnswerSet:
    """The run's answers to this way of asking, under the task's name; how it counts is what is compared."""
    found = find_run(results, run)
    kept = of_run(found)
    name = evaluate.open_task(way, Path()).name
    if name not in kept.records:
        raise UsageError(f"{kept.name} was not asked {way}; it was asked {', '.join(kept.records)}")
    entry = dict(kept.manifest["tasks"][name])
    for differs in ("rules", "samples_digest"):
        entry.pop(differs, None)
    return AnswerSet(f"{kept.name} [{way}]", Kept(found, {task: name}), {**kept.manifest, "tasks": {task: entry}})
