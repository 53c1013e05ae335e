"""Runs side by side: the first run's values, and each later run's with its paired difference to the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from harness.asking import available
from harness.comparison import metric_table
from harness.result import Result
from harness.scoring import published
from harness.store import Run
from harness.types import Task

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class SideBySide(Result):
    """Kept runs and the tasks to show of them; ``full`` shows every metric of every group, not each task's summary."""

    runs: Sequence[Run]
    tasks: Sequence[Task]
    full: bool = False

    @cached_property
    def manifests(self) -> list[dict[str, Any]]:
        """Each run's manifest."""
        return [run.manifest() for run in self.runs]

    @cached_property
    def _every(self) -> dict[str, list[metric_table.MetricRow]]:
        return {task.name: metric_table.rows(task, self.runs) for task in self.tasks}

    def _short(self, task: Task) -> list[metric_table.MetricRow]:
        """The rows of a short table; no more are computed than these."""
        return metric_table.summary(task, metric_table.rows(task, self.runs, metric_table.shown(task)))

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run, task, group and metric: value, low, high, and the difference to the first run."""
        return [
            {
                "run": run.id, "model": _title(manifest), "task": row.task, "group": row.group or task.whole,
                "metric": row.metric, "value": one.value, "low": one.low, "high": one.high,
                "difference": gap.value if gap else None,
                "difference_low": gap.low if gap else None,
                "difference_high": gap.high if gap else None,
                "p": gap.p if gap else None,
            }
            for task in self.tasks
            for row in self._every[task.name]
            for run, manifest, one, gap in zip(self.runs, self.manifests, row.values, row.differences, strict=True)
            if one
        ]  # fmt: skip

    def content(self) -> Any:
        """The manifests, and every metric of every group."""
        rows = [metric_table.as_json(task, row) for task in self.tasks for row in self._every[task.name]]
        return {"runs": self.manifests, "rows": rows}

    def parts(self) -> Iterator[RenderableType]:
        """One table, and what its reader has to know."""
        floors = {task.name: _floors(self.manifests, task.name) for task in self.tasks}
        names = list(dict.fromkeys(name for by_name in floors.values() for name in by_name))
        table = _table([_title(manifest) for manifest in self.manifests], names)
        for task in self.tasks:
            for row in self._every[task.name] if self.full else self._short(task):
                pictureless = [_floor(floors[task.name].get(name, {}), row) for name in names]
                cells = (row.task, row.group or task.whole, _arrow(row), *_cells(row), *pictureless)
                table.add_row(*map(Text, cells))
            table.add_section()
        yield table
        for line in _notes(self.manifests, bool(names)):
            yield Text(line)
        if all(manifest.get("world") == "real" for manifest in self.manifests):
            yield from (Text(line, style="dim") for task in self.tasks for line in _published(task))


def _published(task: Task) -> Iterator[str]:
    """What is published on the task by the models usually quoted, in the metrics of its short table; a line each."""
    shown = list(task.summary) or [("", task.headline)]
    for entry in (one for one in published.about(task.spec) if one.usual):
        told = [
            f"{group} {name} {entry.values[group][name]}"
            for group, name in ((group or task.whole, name) for group, name in shown)
            if name in entry.values.get(group, {})
        ]
        if told:
            yield f"published, not measured here: {entry.model} ({entry.source}): {task.name}: {', '.join(told)}"


def _table(titles: Sequence[str], floors: Sequence[str]) -> Table:
    table = Table(header_style="bold")
    for name in ("task", "group", "metric"):
        table.add_column(name)
    for i, title in enumerate(titles):
        table.add_column(Text(title), justify="right")
        if i:
            table.add_column("Δ to the first", justify="right")
    for name in floors:
        table.add_column(Text(name), justify="right", style="dim")
    return table


def _cells(row: metric_table.MetricRow) -> list[str]:
    cells = []
    for i, one in enumerate(row.values):
        cells.append(metric_table.cell(one, row.digits))
        if i:
            cells.append(metric_table.gap(row.differences[i], row.digits))
    return cells


def _arrow(row: metric_table.MetricRow) -> str:
    return row.metric + {"higher": " ↑", "lower": " ↓", "neither": ""}[row.better]


def _title(manifest: Mapping[str, Any]) -> str:
    models = [manifest[part]["spec"] for part in ("encoder", "lvlm") if manifest.get(part)]
    control = manifest.get("control", "none")
    return " + ".join(models) + ("" if control == "none" else f"\n({control})")


def _notes(manifests: Sequence[Mapping[str, Any]], floors: bool) -> Iterator[str]:
    yield "95 % intervals resample images; * marks a paired difference whose interval leaves out 0."
    if floors:
        yield "Dim columns are floors: what the same questions give to answers that never look at a picture."
    if any(manifest.get("world") == "micro" for manifest in manifests):
        yield "Micro world: a bundled procedural bench, not a benchmark of real models."
    yield from dict.fromkeys(
        f"{name}: {remark}"
        for manifest in manifests
        for name, entry in manifest.get("tasks", {}).items()
        for remark in entry.get("remarks", ())
    )
    yield from dict.fromkeys(f"In part: {mark}." for manifest in manifests for mark in available.marks(manifest))
    limits = {(manifest["limit"], manifest["seed"]) for manifest in manifests if manifest.get("limit")}
    for limit, seed in sorted(limits):
        yield f"Only {limit} images a task (--limit), drawn by seed {seed}."


def _floors(manifests: Sequence[Mapping[str, Any]], task: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for manifest in manifests:
        found |= manifest.get("tasks", {}).get(task, {}).get("floors", {})
    return found


def _floor(groups: Mapping[str, Mapping[str, float]], row: metric_table.MetricRow) -> str:
    value = groups.get(row.group, {}).get(row.metric)
    return "" if value is None else metric_table.number(value, row.digits)
