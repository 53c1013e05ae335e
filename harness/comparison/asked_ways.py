"""One task asked in two ways, side by side: ``RUN[TASK?option=value]`` says which of a run's answers are meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness import digest, registry
from harness.asking import evaluate
from harness.comparison.answer_sets import AnswerSet, Kept, called, find_run, of_run
from harness.errors import UsageError
from harness.store import Run
from harness.types import OF_ENCODERS, Task

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
    asked = evaluate.open_task(way, Path())
    found = _run(run, asked, results)
    kept, name = of_run(found), asked.name
    if name not in kept.records:
        raise UsageError(f"{kept.name} was not asked {way}; it was asked {', '.join(kept.records)}")
    entry = dict(kept.manifest["tasks"][name])
    for differs in ("rules", "samples_digest"):
        entry.pop(differs, None)
    return AnswerSet(f"{kept.name} [{way}]", Kept(found, {task: name}), {**kept.manifest, "tasks": {task: entry}})


def _run(name: str, way: Task, results: Path) -> Run:
    """The run that is meant: where a name may mean several, that which was asked so.

    An encoder's answers hang on no LVLM: of runs that hold the same ones any stands for all. UsageError where several
    are left.
    """
    several = called(results, name)
    if len(several) < 2:
        return find_run(results, name)
    asked = [run for run in several if way.name in run.manifest().get("tasks", {})]
    if not asked:
        raise UsageError(f"no run of '{name}' was asked {way.spec}; there is {_ids(several)}")
    if len(asked) > 1 and not (way.mode in OF_ENCODERS and _hold_the_same(asked, way.name)):
        raise UsageError(f"'{name}' has several runs that were asked {way.spec}, name one: {_ids(asked)}")
    most = max(asked, key=lambda run: run.manifest()["tasks"][way.name].get("scored", 0))
    return find_run(results, most.id)


def _hold_the_same(several: Sequence[Run], task: str) -> bool:
    """Whether these runs put the same questions of a task to the same encoder, and count them alike."""
    manifests = [run.manifest() for run in several]
    encoders = [{k: v for k, v in (one.get("encoder") or {}).items() if k != "spec"} for one in manifests]
    entries = [{key: one["tasks"][task].get(key) for key in ("samples_digest", "rules")} for one in manifests]
    alike = zip(encoders, entries, [one.get("control", "none") for one in manifests], strict=True)
    return len({digest.of_json(one) for one in alike}) == 1


def _ids(several: Sequence[Run]) -> str:
    return ", ".join(run.id for run in several)
