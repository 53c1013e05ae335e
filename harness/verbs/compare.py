"""Compare kept runs, files of answers, or ways of training: which differences are real, and what they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from harness import kinds
from harness.comparison import answer_sets, asked_ways, groups, over_seeds
from harness.comparison.answer_sets import AnswerSet
from harness.comparison.compare import Comparison, MetricChange
from harness.comparison.groups import Group
from harness.comparison.metric_table import gap
from harness.console import say
from harness.data import resolve
from harness.errors import GateError, UsageError
from harness.report.comparisons import Comparisons

Side = TypeVar("Side", AnswerSet, Group)


@dataclass(frozen=True)
class CompareOptions:
    """What was asked to be compared: the words of each side, and how seeds are to be read."""

    arms: Sequence[Sequence[str]]
    by_seed: bool = False
    seeds: str = "auto"
    task: str = ""
    data: str = "micro"
    results: Path = Path("results")

    def __post_init__(self) -> None:
        kinds.require(self)


def compare(asked: CompareOptions, full: bool = False) -> Comparisons:
    """The first side compared with each other one: runs, files of answers, or runs of several seeds together."""
    return Comparisons(opened(asked), asked.results, full)


def opened(asked: CompareOptions) -> list[Comparison]:
    """Each comparison with the first side; UsageError where the sides do not compare.

    A side that has no task in common with the first is left out, and that is said; UsageError where none is left.
    Where nothing is named the first is one with which others compare, and those that do not are left out.
    """
    if asked.seeds not in over_seeds.WAYS:
        raise UsageError(f"--seeds {asked.seeds}: there is {', '.join(over_seeds.WAYS)}")
    names = [name for words in asked.arms for name in words]
    if asked_ways.are_named(names):
        return ways(names, asked.results)
    found = grouped(asked)
    if found is not None:
        tasks = answer_sets.tasks_of([side for one in found for side in one.sides], asked.task)
        both = partial(over_seeds.compared, tasks=tasks, asked=asked.seeds)
        return _with_first(found, both) if names else _with_any(found, both)
    _require_two(names)
    where = resolve(asked.data) if any(Path(name).is_file() for name in names) else None
    every, kept = answer_sets.open_answer_sets(names, asked.results, asked.task, where)
    return _with_first(every, partial(over_seeds.of_two, tasks=kept))


def _with_any(sides: Sequence[Group], compared: Callable[[Group, Group], Comparison]) -> list[Comparison]:
    """As ``_with_first``, the first being that with which any other compares; those that do not are left out."""
    wrong: list[UsageError] = []
    for base in sides:
        try:
            return _with_first([base, *(one for one in sides if one is not base)], compared, UsageError)
        except UsageError as error:
            wrong.append(error)
    raise wrong[0]


def _with_first(
    sides: Sequence[Side],
    compared: Callable[[Side, Side], Comparison],
    left_out: type[UsageError] = over_seeds.NoTaskInCommon,
) -> list[Comparison]:
    """The first of these compared with each other one; those for which that raises ``left_out`` are named instead."""
    found: list[Comparison] = []
    wrong: list[tuple[str, UsageError]] = []
    for other in sides[1:]:
        try:
            found.append(compared(sides[0], other))
        except left_out as error:
            wrong.append((other.name, error))
    if not found:
        raise wrong[0][1]
    apart = [name for name, error in wrong if isinstance(error, over_seeds.NoTaskInCommon)]
    if apart:
        say(f"left out, as they have no task in common with {sides[0].name}: {', '.join(apart)}")
    for name, why in [one for one in wrong if one[0] not in apart]:
        say(f"left out: {name}: {why}")
    return found


def ways(names: Sequence[str], results: Path) -> list[Comparison]:
    """Each comparison with the first, where sides are named as ``RUN[TASK]``: one task, asked in several ways."""
    _require_two(names)
    every, kept = asked_ways.open_sides(names, results)
    found = [over_seeds.of_two(every[0], other, kept) for other in every[1:]]
    return [replace(one, about=(asked_ways.about((one.base, one.candidate)), *one.about)) for one in found]


def _require_two(names: Sequence[str]) -> None:
    if len(names) < 2:
        raise UsageError("name a base and at least one more: runs by id or encoder, or files of answers")


def grouped(asked: CompareOptions) -> list[Group] | None:
    """The sides as groups of seeds, where they were asked for as such; None where runs stand against each other."""
    names = [name for words in asked.arms for name in words]
    if asked.by_seed:
        found = groups.around(names, asked.results)
        if len(found) < 2:
            told = ", ".join(one.name for one in found) or "no finished run"
            raise UsageError(f"--by-seed: there is only {told} to compare; name runs of another way of training")
        return found
    if len(asked.arms) > 1:
        return groups.opened(asked.arms, asked.results)
    if any(groups.find(asked.results, name) for name in names):
        return groups.opened([[name] for name in names], asked.results)
    return None


def gates(found: Sequence[Comparison], wanted: Sequence[str]) -> list[MetricChange]:
    """The lines that --fail-if-worse names; UsageError where it names none."""
    return named(found, wanted, "--fail-if-worse")


def named(found: Sequence[Comparison], wanted: Sequence[str], option: str) -> list[MetricChange]:
    """The lines that METRIC, TASK:METRIC or TASK:GROUP:METRIC name; UsageError where one names none."""
    lines = [line for one in found for line in one.lines(full=True)] if wanted else []
    wholes = {task.task.name: task.task.whole for one in found for task in one.tasks}
    chosen = []
    for name in wanted:
        hits = [line for line in lines if _is_called(line, name, wholes[line.task])]
        if not hits:
            known = ", ".join(dict.fromkeys(line.metric for line in lines))
            raise UsageError(f"{option} {name}: no such metric was compared; there is {known}")
        chosen += hits
    return chosen


def _is_called(line: MetricChange, name: str, whole: str) -> bool:
    *where, metric = name.split(":")
    known = (line.task, line.group or whole, (line.group or "all").split("/")[-1])
    return metric == line.metric and all(part in known for part in where)


def enforce(lines: Sequence[MetricChange]) -> None:
    """GateError where a line is worse than the base, and its interval leaves out 0."""
    worse = [line for line in lines if line.worse]
    if worse:
        told = ", ".join(
            f"{'/'.join(filter(None, (w.task, w.group)))} {w.metric} {gap(w.gap, w.digits)}" for w in worse
        )
        raise GateError(f"worse than the base: {told}")
