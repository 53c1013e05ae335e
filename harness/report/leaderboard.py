"""``leaderboard.md``: a fold over the kept results, with published numbers in a section of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.asking import available, controls, evaluate
from harness.comparison import groups, metric_table, over_seeds
from harness.comparison.groups import Group
from harness.comparison.methods import Figures
from harness.errors import UsageError
from harness.metrics import Metric
from harness.report import published_tables
from harness.report.markdown import table as markdown
from harness.shown import code_span
from harness.shown import markdown as as_markdown
from harness.stats import Estimate
from harness.store import Run, fault, odd, runs
from harness.types import Task

Kept = tuple[Run, Mapping[str, Any]]
Column = tuple[Task, str, str]

HEAD = """# Leaderboard

Written by `ohd-bench leaderboard` from the answers kept in `results/`; do not edit. CI fails when it is stale.
Values are followed by their 95 % interval over resampled images. ↑ higher is better, ↓ lower is better.
Runs that differ by training seed alone are one row: the mean over so many seeds, ± half a 95 % interval over trainings
and images (docs/validity.md). A row of one seed is about those weights, not about the method that made them.
"""

SECTIONS = {
    "micro": (
        "Micro world (bundled procedural bench)",
        "These rows compare ohd-bench's own micro models on pictures it draws itself. "
        "They show how the tool works, not how any real model does.",
    ),
    "real": ("Real data, measured here", "Official data files, answered and scored by ohd-bench."),
}


def unreadable(results: Path) -> dict[str, str]:
    """What is wrong with each run that the page leaves out, by name: odd manifests, changed records, unknown tasks.

    UsageError where no run can be read.
    """
    every = runs(results)
    found = odd(results) | {run.id: why for run in every if (why := fault(partial(_read, run)))}
    if found and all(run.id in found for run in every):
        raise UsageError(next(iter(found.values())))
    return found


def _read(run: Run) -> None:
    names = {task.name for task in evaluate.kept_tasks([run])}
    for name in run.manifest().get("tasks", {}):
        if name not in names:
            raise UsageError(f"{run.folder}/run.json calls a task '{name}' whose spec gives {', '.join(sorted(names))}")
        run.records(name)


def render(results: Path, without: Collection[str] = ()) -> str:
    """The whole page as Markdown, the same for the same results; runs of these names are left out."""
    kept = [(run, run.manifest()) for run in runs(results) if run.id not in without]
    parts = [HEAD]
    for world, (title, note) in SECTIONS.items():
        ours = [(run, manifest) for run, manifest in kept if manifest.get("world") == world]
        body = _table(ours) + _pictures(ours, results) if ours else "Nothing kept yet.\n"
        parts.append(f"## {title}\n\n{note}\n\n{body}")
    parts.append(published_tables.render())
    return "\n".join(parts)


def _table(kept: Sequence[Kept]) -> str:
    """A row for each run, a column for each summary metric of each task that any of them answered."""
    tasks = evaluate.kept_tasks(run for run, _ in kept)
    columns = _columns(tasks)
    head = ["encoder", "LVLM", "data", "seeds", *(_column(*column) for column in columns)]
    found = groups.together(run for run, _ in sorted(kept, key=lambda pair: _order(pair[1])))
    return markdown(head, [_row(one, tasks, columns) for one in found]) + _floors(kept, columns)


def _row(one: Group, tasks: Sequence[Task], columns: Sequence[Column]) -> list[str]:
    """One run with intervals over images, or the mean of several trainings with intervals over both."""
    manifest = one.sides[0].manifest
    if len(one.sides) == 1 and one.sides[0].run:
        cells = _cells(one.sides[0].run, tasks, columns)
        return [_model(manifest, "encoder"), _model(manifest, "lvlm"), _data(manifest), "1", *cells]
    models = [f"`{name}`" if (name := groups.model(one.sides, part)) else "–" for part in ("encoder", "lvlm")]
    cells = [_mean(over_seeds.mean(one, task, group, name), task, group, name) for task, group, name in columns]
    return [*models, _data(manifest), str(len(set(one.units()[0]))), *cells]


def _mean(found: Figures | None, task: Task, group: str, name: str) -> str:
    """``mean ± half``; – where not every training was asked."""
    if found is None or found.value != found.value:
        return "–"
    digits = task.metrics_of(group)[name].digits
    half = found.high - found.value
    return metric_table.number(found.value, digits) + (
        "" if half != half else f" ± {metric_table.number(half, digits)}"
    )


def _columns(tasks: Sequence[Task]) -> list[Column]:
    return [(task, group, name) for task in tasks for group, name in (list(task.summary) or [("", task.headline)])]


def _order(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Controls last; the rest by data, LVLM and encoder."""
    control = manifest.get("control", "none")
    specs = [(manifest.get(part) or {}).get("spec", "") for part in ("lvlm", "encoder")]
    return ("" if control == "none" else control, manifest.get("data", ""), *specs)


def _model(manifest: Mapping[str, Any], part: str) -> str:
    return code_span(str(manifest[part]["spec"])) if manifest.get(part) else "–"


def _data(manifest: Mapping[str, Any]) -> str:
    marks = [as_markdown(str(manifest.get("data", "?")))]
    if manifest.get("control", "none") != "none":
        marks.append(as_markdown(f"control: {manifest['control']}"))
    if manifest.get("limit"):
        marks.append(f"{manifest['limit']} images only")
    marks += map(as_markdown, available.marks(manifest))
    if manifest.get("status") != "complete":
        marks.append(f"**{as_markdown(str(manifest.get('status', 'unknown')))}**")
    return ", ".join(marks)


def _column(task: Task, group: str, name: str) -> str:
    metric = task.metrics_of(group)[name]
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[metric.better]
    return as_markdown(f"{task.name} {group.split('/')[-1]} {name}{arrow}")


def _cells(run: Run, tasks: Sequence[Task], columns: Iterable[Column]) -> list[str]:
    values = {task.name: metric_table.scores(task, run.records(task.name)) for task in tasks}
    return [
        _cell(values[task.name].get(group, {}).get(name), task.metrics_of(group)[name]) for task, group, name in columns
    ]


def _cell(value: Estimate | None, metric: Metric) -> str:
    return metric_table.cell(value, metric.digits)


def _pictures(kept: Sequence[Kept], results: Path) -> str:
    """For each run with controls, the part of each value that the picture makes."""
    tasks = evaluate.kept_tasks(run for run, _ in kept)
    columns = _columns(tasks)
    rows = []
    for run, manifest in sorted(kept, key=lambda pair: _order(pair[1])):
        if manifest.get("control", "none") == "none":
            ours = {name: one for name, one in controls.of(run, results).items() if one in dict(kept)}
            for name, control in ours.items():
                parts = {task.name: controls.image_dependent(run, control, task) for task in tasks}
                cells = [
                    _part(parts[task.name].get((group, metric)), task, group, metric) for task, group, metric in columns
                ]
                rows.append([_model(manifest, "encoder"), _model(manifest, "lvlm"), name, *cells])
    if not rows:
        return ""
    head = ["encoder", "LVLM", "control", *(_column(*column) for column in columns)]
    return "\nWhat the picture is worth (score minus control, paired):\n\n" + markdown(head, rows)


def _part(found: controls.ImageDependent | None, task: Task, group: str, name: str) -> str:
    return metric_table.gap(found.part, task.metrics_of(group)[name].digits) if found else "–"


def _floors(kept: Sequence[Kept], columns: Sequence[Column]) -> str:
    """One row for each answer that needs no picture, as stored with the runs."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    every = [one for _, one in kept if one.get("control", "none") == "none"]
    whole = [one for one in every if not one.get("limit") and not one.get("part")]
    for manifest in whole:
        for name, entry in manifest.get("tasks", {}).items():
            for floor, values in entry.get("floors", {}).items():
                found.setdefault((floor, manifest.get("data", "?")), {}).setdefault(name, values)
    rows = [
        [as_markdown(floor), as_markdown(str(data)), *(_floor(by_task, *column) for column in columns)]
        for (floor, data), by_task in sorted(found.items())
    ]
    if not rows:
        return ""
    head = ["floor", "data", *(_column(*column) for column in columns)]
    return "\nWhat needs no picture at all scores:\n\n" + markdown(head, rows)


def _floor(by_task: Mapping[str, Mapping[str, Any]], task: Task, group: str, name: str) -> str:
    value = by_task.get(task.name, {}).get(group, {}).get(name)
    return "–" if value is None else metric_table.number(value, task.metrics_of(group)[name].digits)
