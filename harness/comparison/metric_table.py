"""A run's numbers side by side with the first run's: every metric with its interval, every difference paired."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.metrics import Metric
from harness.records import Record
from harness.stats import Difference, Estimate, compared, estimates, of_both
from harness.store import Run
from harness.tallies import Tally, paired_tallies, tally
from harness.types import Task


@dataclass(frozen=True)
class MetricRow:
    """One metric of one group of one task: a value for each run, and each later run's difference to the first."""

    task: str
    group: str
    metric: str
    better: str
    digits: int
    values: tuple[Estimate | None, ...]
    differences: tuple[Difference | None, ...]


Columns = Collection[tuple[str, str]]
"""Metrics to look at, as (group, name)."""


def rows(task: Task, runs: Sequence[Run], only: Columns | None = None) -> list[MetricRow]:
    """Every metric of a task (or ``only`` these), for each of these runs; None where a run was not asked the task."""
    records = [run.records(task.name, words=False) for run in runs]
    values = [scores(task, kept, only) for kept in records]
    gaps = [
        _differences(task, paired_tallies(records[0], kept), only)
        if n and _same_questions(task, runs[0], runs[n])
        else {}
        for n, kept in enumerate(records)
    ]
    found = []
    for group in dict.fromkeys(group for value in values for group in value):
        for name, metric in _chosen(task, group, only).items():
            each = tuple(value.get(group, {}).get(name) for value in values)
            if any(one and not math.isnan(one.value) for one in each):
                apart = tuple(one.get((group, name)) for one in gaps)
                found.append(MetricRow(task.name, group, name, metric.better, metric.digits, each, apart))
    return found


def _chosen(task: Task, group: str, only: Columns | None) -> Mapping[str, Metric]:
    """The metrics of this group that are to be looked at."""
    return {name: one for name, one in task.metrics_of(group).items() if only is None or (group, name) in only}


def _same_questions(task: Task, base: Run, other: Run) -> bool:
    """Whether both were asked the same; a control asks the same of another picture, and compares as well."""
    manifests = [run.manifest() for run in (base, other)]
    if manifests[0].get("control") != manifests[1].get("control"):
        return all(manifests[0].get(key) == manifests[1].get(key) for key in ("data", "limit", "part"))
    asked = [one.get("tasks", {}).get(task.name, {}).get("samples_digest") for one in manifests]
    return asked[0] == asked[1]  # type: ignore[no-any-return]


def scores(task: Task, records: Sequence[Record], only: Columns | None = None) -> dict[str, dict[str, Estimate]]:
    """Group → metric → value with its interval (of all metrics, or ``only`` these); the whole is the group ""."""
    chosen = {group: (_chosen(task, group, only), one) for group, one in tally(records).items() if one.n.sum()}
    return {group: estimates(*both) for group, both in chosen.items() if both[0] or only is None}


def _differences(
    task: Task, pairs: Mapping[str, tuple[Tally, Tally]], only: Columns | None
) -> dict[tuple[str, str], Difference]:
    """Each metric's difference of a pair, by group and name."""
    chosen = {group: metrics for group in pairs if (metrics := _chosen(task, group, only))}
    drawn = of_both({group: pairs[group] for group in chosen})
    return {
        (group, name): gap
        for group, metrics in chosen.items()
        for name, (_, _, gap) in compared(metrics, *pairs[group], drawn=drawn[group]).items()
    }


def shown(task: Task) -> list[tuple[str, str]]:
    """The metrics of a short table, as (group, name): the task's own choice, or its headline."""
    return list(task.summary) or [("", task.headline)]


def summary(task: Task, every: Sequence[MetricRow]) -> list[MetricRow]:
    """The rows of a short table, in its order."""
    by_name = {(row.group, row.metric): row for row in every}
    return [by_name[pair] for pair in shown(task) if pair in by_name]


def number(value: float, digits: int) -> str:
    """A value as printed; a dash where there is none."""
    return "–" if value != value else f"{value:z.{digits}f}"


def cell(one: Estimate | None, digits: int) -> str:
    """``43.2 [40.1, 46.0]``."""
    if one is None or one.value != one.value:
        return "–"
    spread = "" if one.low != one.low else f" [{number(one.low, digits)}, {number(one.high, digits)}]"
    return number(one.value, digits) + spread


def gap(one: Difference | None, digits: int) -> str:
    """``+3.1 [+0.2, +6.0]``, with a star where the interval leaves out 0."""
    if one is None or one.value != one.value:
        return "–"
    signed = [f"{value:+z.{digits}f}" for value in (one.value, one.low, one.high) if value == value]
    star = "*" if one.low > 0 or one.high < 0 else ""
    return signed[0] + (f" [{signed[1]}, {signed[2]}]{star}" if len(signed) == 3 else "")


def p_value(p: float) -> str:
    """As printed: three digits, never 0."""
    return "–" if p != p else "<0.001" if p < 0.001 else f"{p:z.3f}"


def as_json(task: Task, row: MetricRow) -> dict[str, Any]:
    """The row as plain data; what is not a number is null."""
    return {
        "task": row.task,
        "group": row.group or task.whole,
        "metric": row.metric,
        "better": row.better,
        "values": [_plain(one) for one in row.values],
        "differences": [_plain(one) for one in row.differences],
    }


def _plain(one: Estimate | Difference | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {key: (None if value != value else value) for key, value in asdict(one).items()}
