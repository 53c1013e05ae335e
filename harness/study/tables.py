"""A study's tables: a row for each arm and rung, the paper's rows beside real data, contrasts line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.comparison.compare import MetricChange
from harness.comparison.methods import Figures
from harness.comparison.metric_table import gap, number
from harness.metrics import Metric
from harness.scoring import published
from harness.study.findings import Findings, Told, named, place_of
from harness.study.schema import Table
from harness.types import Task

PAPER = "2410.03176"
WHOLE = ("all", "pooled", "average")
"""What published tables call all groups together."""
ARROW = {"higher": " ↑", "lower": " ↓", "neither": ""}
CONTRAST_HEAD = (
    "metric", "base", "candidate", "difference", "p", "p (Holm)", "detectable", "trainings", "answers", "images",
    "± images alone", "± 1 training more", "± 1,000 images more",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One row as printed; whether it is quoted."""

    cells: tuple[str, ...]
    quoted: bool = False


@dataclass(frozen=True)
class Printed:
    """A table as printed."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[Line, ...]
    asked: Table


def printed(findings: Findings, real: bool) -> list[Printed]:
    """Every table of the study that its data has something for."""
    return [
        _table(findings, n, one, real) for n, one in enumerate(findings.study.tables, 1) if one.task in findings.tasks
    ]


def _table(findings: Findings, n: int, table: Table, real: bool) -> Printed:
    task = findings.tasks[table.task]
    metrics = [metric_of(task, column) for column in table.columns]
    head = [f"{column.replace(':', ' ')}{ARROW[m.better]}" for column, m in zip(table.columns, metrics, strict=True)]
    rows = [
        Line((row.title, str(row.trainings), *(mean(v, m.digits) for v, m in zip(row.means, metrics, strict=True))))
        for row in findings.rows(table.task, table.columns)
    ]
    quoted = [Line(cells, True) for cells in _quoted(table)] if real and table.published else []
    return Printed(f"table-{n}-{table.task}", table.title, ("", "trainings", *head), (*quoted, *rows), table)


def _quoted(table: Table) -> Iterator[tuple[str, ...]]:
    """The paper's rows of this table."""
    for entry in published.of(table.task):
        if PAPER in entry.source and table.published in entry.source:
            yield (f"{entry.model} ({entry.source})", "1", *(_value(entry.values, column) for column in table.columns))


def _value(values: published.Values, column: str) -> str:
    """The published value of a column; the whole is called in three ways."""
    group, _, metric = column.rpartition(":")
    found = (values.get(name, {}).get(metric) for name in ([group] if group else WHOLE))
    return next((str(value) for value in found if value is not None), "–")


def metric_of(task: Task, column: str) -> Metric:
    """The metric that a column GROUP:METRIC shows."""
    group, name = place_of(task, column)
    return task.metrics_of(group)[name]


def mean(found: Figures | None, digits: int) -> str:
    """``64.8 ± 4.0``."""
    if found is None or found.value != found.value:
        return "–"
    half = found.high - found.value
    return number(found.value, digits) + ("" if half != half else f" ± {number(half, digits)}")


def contrast(findings: Findings, told: Told) -> dict[str, Any]:
    """A contrast as printed: its title, what it speaks of, its lines."""
    rung = findings.study.alignments[told.rung].title or told.rung if told.rung else "the encoders alone"
    title = f"{told.contrast.says[0].upper()}{told.contrast.says[1:]} over {told.contrast.over}: {rung}"
    rows = [tuple(cells(line)) for line in told.lines]
    return {"title": title, "about": told.found.about, "head": CONTRAST_HEAD, "rows": rows}


def cells(line: MetricChange) -> Sequence[str]:
    """A line of a contrast as printed."""
    d, found = line.digits, line.figures
    arms = [mean(one, d) if one else "–" for one in ((found.base, found.candidate) if found else (None, None))]
    if not found:
        arms = [number(line.base.value, d), number(line.candidate.value, d)]
    shown = [named(line) + ARROW[line.better], *arms, gap(line.gap, d), p_value(line.gap.p), p_value(line.adjusted)]
    return [*shown, number(line.detectable, d), *(made_of(found, d) if found else ["–"] * 6)]


def made_of(found: Figures, digits: int) -> list[str]:
    """What an interval is made of, as printed."""
    if found.undefined is not None:
        return ["–"] * 6
    whole = found.se**2
    parts = (found.var_training, found.var_seeds - found.var_training, found.var_images)
    halves = (found.half_images_alone, found.half_one_more_seed, found.half_1000_more_images)
    return [*(f"{100 * part / whole:.0f} %" if whole else "–" for part in parts), *(number(h, digits) for h in halves)]


def p_value(p: float) -> str:
    """As printed: three digits, never 0."""
    return "–" if p != p else "<0.001" if p < 0.001 else f"{p:z.3f}"
