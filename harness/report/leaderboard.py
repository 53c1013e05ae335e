"""``leaderboard.md``: a fold over the kept results, with published numbers in a section of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.asking import controls, evaluate
from harness.comparison import metric_table
from harness.errors import UsageError
from harness.kept_runs import fault, odd, runs
from harness.report import published_tables
from harness.report.markdown import table as markdown
from harness.report.standings import Standing, Standings, standings
from harness.report.tradeoffs import FORGETTING, Tradeoff, tradeoffs
from harness.shown import code_span
from harness.shown import markdown as as_markdown
from harness.store import Run
from harness.types import Task

Kept = tuple[Run, Mapping[str, Any]]
Column = tuple[Task, str, str]

FORGOTTEN = f"{FORGETTING} Δ to its base"

HEAD = """# Leaderboard

Written by `ohd-bench leaderboard` from the answers kept in {folder}; do not edit. `--check` fails when it is stale.
Values are followed by their 95 % interval over resampled images. ↑ higher is better, ↓ lower is better.
A table a task, best first by its headline (bold); ★ only where the first is better than the second beyond chance.
`ohd-bench leaderboard --html --csv` writes the same as a page that sorts and filters, and unrounded.
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
        run.records(name, words=False)


def by_world(
    results: Path, without: Collection[str] = (), names: Mapping[str, str] | None = None
) -> dict[str, list[Standings]]:
    """The tables by the title of their world; worlds of which nothing is kept have none."""
    kept = _kept(results, without)
    ours = {title: [one for one in kept if one[1].get("world") == world] for world, (title, _) in SECTIONS.items()}
    return {title: standings(found, names) for title, found in ours.items() if found}


def tradeoffs_by_world(results: Path, without: Collection[str] = ()) -> dict[str, list[Tradeoff]]:
    """What trainings gained and forgot, by the title of their world; worlds without any have none."""
    kept = _kept(results, without)
    found = {title: tradeoffs([one for one in kept if one[1].get("world") == w]) for w, (title, _) in SECTIONS.items()}
    return {title: ones for title, ones in found.items() if ones}


def _kept(results: Path, without: Collection[str]) -> list[Kept]:
    return [(run, run.manifest()) for run in runs(results) if run.id not in without]


def render(results: Path, folder: str, without: Collection[str] = (), names: Mapping[str, str] | None = None) -> str:
    """The whole page as Markdown, the same for the same results; runs of the names in ``without`` are left out.

    Runs are linked below ``folder``: how the page's own place calls the results.
    """
    kept, tables = _kept(results, without), by_world(results, without, names)
    parts = [HEAD.format(folder=code_span(f"{folder}/"))]
    for world, (title, note) in SECTIONS.items():
        ours = [(run, manifest) for run, manifest in kept if manifest.get("world") == world]
        body = "Nothing kept yet.\n"
        if ours:
            shown = _columns(evaluate.kept_tasks(run for run, _ in ours))
            body = "\n".join(_table(one, folder) for one in tables[title]) + _unanswered(ours)
            body += _tradeoffs(tradeoffs(ours))
            body += _floors(ours, shown) + _pictures(ours, results)
        parts.append(f"## {title}\n\n{note}\n\n{body}")
    parts.append(published_tables.render())
    return "\n".join(parts)


def _tradeoffs(found: Sequence[Tradeoff]) -> str:
    """What each way of training gained over its base, and what it forgot: a row each."""
    if not found:
        return ""
    tasks = list(dict.fromkeys(name for one in found for name in one.gains))
    head = ["encoder", "from", "share of the tuned weights", "seeds", FORGOTTEN, *(as_markdown(t) for t in tasks)]
    rows = [
        [code_span(one.model), code_span(one.base), f"{one.interpolate:g}", str(one.seeds),
         *(metric_table.gap(gap, 1) for gap in (one.forgotten, *(one.gains.get(task) for task in tasks)))]
        for one in sorted(found, key=lambda one: (one.model, one.interpolate))
    ]  # fmt: skip
    return "\nWhat training gained, and what it cost: changes from the base for the better, in points:\n\n" + markdown(
        head, rows
    )


def _unanswered(kept: Sequence[Kept]) -> str:
    """The models of runs that have no task yet, which no table holds."""
    models = [
        " + ".join(code_span(str(manifest[part]["spec"])) for part in ("encoder", "lvlm") if manifest.get(part))
        for _, manifest in kept
        if not manifest.get("tasks")
    ]
    return f"\nKept, and not asked a task yet: {', '.join(models)}.\n" if models else ""


def _table(one: Standings, folder: str) -> str:
    """A task's tables in Markdown: the headline bold, a star at what is better than the next beyond chance."""
    heads = [_column(one.task, *column).removeprefix(as_markdown(one.task.name)).strip() for column in one.columns]
    forgotten = [FORGOTTEN] if one.tells_forgetting else []
    head = ["encoder", "LVLM", "data", "seeds", f"**{heads[0]}**", *heads[1:], *forgotten, "date", "runs"]
    parts = [f"### {as_markdown(one.task.name)}\n"]
    for title, rows in one.parts().items():
        if rows:
            parts += [f"{title}:\n"] if title else []
            parts.append(markdown(head, [_row(one, row, folder) for row in rows]))
    return "\n".join(parts)


def _row(one: Standings, row: Standing, folder: str) -> list[str]:
    cells = [_value(one.task, row, column) for column in one.columns]
    return [
        *(code_span(model) if model else "–" for model in row.models),
        as_markdown(", ".join([row.data, *row.marks])),
        str(row.seeds),
        f"**{cells[0]}**" + (" ★" if row.best else ""),
        *cells[1:],
        *([metric_table.gap(row.forgotten, 1)] if one.tells_forgetting else []),
        row.date,
        " ".join(f"[{as_markdown(run.rpartition('-')[2])}]({quote(f'{folder}/{run}')})" for run in row.runs),
    ]


def _value(task: Task, row: Standing, column: tuple[str, str]) -> str:
    """A run's value with its interval over images; of several trainings ``mean ± half``."""
    found, digits = row.values[column], task.metrics_of(column[0])[column[1]].digits
    if len(row.runs) == 1 or found.value != found.value:
        return metric_table.cell(found, digits)
    half = found.high - found.value
    return metric_table.number(found.value, digits) + (
        f" ± {metric_table.number(half, digits)}" if half == half else ""
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


def _column(task: Task, group: str, name: str) -> str:
    metric = task.metrics_of(group)[name]
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[metric.better]
    return as_markdown(f"{task.name} {group.split('/')[-1]} {name}{arrow}")


def _picture_parts(run: Run, control: Run, task: Task) -> dict[tuple[str, str], controls.ImageDependent]:
    answers, without = (one.records(task.name, words=False) for one in (run, control))
    return controls.image_dependent(answers, without, task)


def _pictures(kept: Sequence[Kept], results: Path) -> str:
    """For each run with controls, the part of each value that the picture makes."""
    tasks = evaluate.kept_tasks(run for run, _ in kept)
    columns = _columns(tasks)
    rows = []
    for run, manifest in sorted(kept, key=lambda pair: _order(pair[1])):
        if manifest.get("control", "none") == "none":
            ours = {name: one for name, one in controls.of(run, results).items() if one in dict(kept)}
            for name, control in ours.items():
                parts = {task.name: _picture_parts(run, control, task) for task in tasks}
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
