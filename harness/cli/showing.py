"""What ``run`` and ``show`` share: performing runs with progress shown, and printing them side by side."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from harness import registry, rig, sheet
from harness.cli.console import out, print_json, say, ticking
from harness.data import resolve
from harness.errors import UsageError
from harness.store import Run
from harness.types import Place, Task

MICRO_NOTE = "Micro world: a bundled procedural bench, not a benchmark of real models."


def ask(
    encoders: Sequence[str],
    lvlm: str,
    names: Sequence[str],
    data: str,
    results: Path,
    place: Place,
    asked: Mapping[str, Any],
) -> tuple[list[rig.Outcome], list[Task]]:
    """One run for each encoder (or one of the LVLM as it came), each kept in its folder."""
    if not encoders and not lvlm:
        raise UsageError("nothing to ask: name an --encoder, an --lvlm or both; 'ohd-bench list' says what there is")
    for text, table, kind in [
        *((e, registry.encoders, "encoder") for e in encoders),
        *([(lvlm, registry.lvlms, "LVLM")] if lvlm else []),
    ]:
        registry.find(table, registry.parse_spec(text).name, kind)
    where = resolve(data)
    modes = ({"rank"} if encoders else set()) | ({"generate"} if lvlm else set())
    tasks = rig.chosen(names, where, modes, say)
    plan = rig.plan(tasks, where, results, place, **asked)
    host = registry.make_lvlm(lvlm, place) if lvlm else None
    outcomes = []
    for text in list(dict.fromkeys(encoders)) or [None]:
        encoder = registry.make_encoder(text, place) if text else None
        outcomes.append(rig.perform(plan, encoder, host, ticking))
    return outcomes, tasks


def quiet() -> None:
    """Keep libraries' chatter off the screen."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def print_runs(runs: Sequence[Run], tasks: Sequence[Task], full: bool = False, as_json: bool = False) -> None:
    """The runs side by side: the first run's values, and each later run's with its paired difference to the first."""
    every = {task.name: sheet.rows(task, runs) for task in tasks}
    if as_json:
        rows = [sheet.as_json(task, row) for task in tasks for row in every[task.name]]
        print_json({"runs": [run.manifest() for run in runs], "rows": rows})
        return
    table = Table(header_style="bold")
    for name in ("task", "group", "metric"):
        table.add_column(name)
    for i, run in enumerate(runs):
        table.add_column(_title(run), justify="right")
        if i:
            table.add_column("Δ to the first", justify="right")
    for task in tasks:
        chosen = every[task.name] if full else sheet.summary(task, every[task.name])
        for row in chosen:
            table.add_row(row.task, row.group or task.whole, _arrow(row), *_cells(row))
        table.add_section()
    out().print(table)
    out().print(_caption(runs), markup=False)


def _cells(row: sheet.Row) -> list[str]:
    cells = []
    for i, one in enumerate(row.values):
        cells.append(sheet.cell(one, row.digits))
        if i:
            cells.append(sheet.gap(row.differences[i], row.digits))
    return cells


def _arrow(row: sheet.Row) -> str:
    return row.metric + {"higher": " ↑", "lower": " ↓", "neither": ""}[row.better]


def _title(run: Run) -> str:
    manifest = run.manifest()
    models = [manifest[part]["spec"] for part in ("encoder", "lvlm") if manifest.get(part)]
    control = manifest.get("control", "none")
    return " + ".join(models) + ("" if control == "none" else f"\n({control})")


def _caption(runs: Sequence[Run]) -> str:
    lines = ["95 % intervals resample images; * marks a paired difference whose interval leaves out 0."]
    manifests = [run.manifest() for run in runs]
    if any(manifest.get("world") == "micro" for manifest in manifests):
        lines.append(MICRO_NOTE)
    for manifest in manifests:
        if manifest.get("limit"):
            lines.append(f"Only {manifest['limit']} images a task (--limit), drawn by seed {manifest['seed']}.")
            break
    for task, entry in manifests[0].get("tasks", {}).items():
        if floors := _floors(task, entry):
            lines.append(f"Floors of {task}: {floors}.")
    return "\n".join(lines)


def _floors(name: str, entry: Mapping[str, Any]) -> str:
    cls = registry.tasks.get(name)
    if cls is None or not entry.get("floors"):
        return ""
    parts = []
    for floor, groups in entry["floors"].items():
        wanted = [(g, m) for g, m in (list(cls.summary) or [("", cls.headline)]) if m in groups.get(g, {})]
        digits = {m: metric.digits for m, metric in cls.metrics.items()}
        shown = [
            f"{g.split('/')[-1] or cls.whole} {m} {sheet.number(groups[g][m], digits.get(m, 1))}" for g, m in wanted
        ]
        parts.append(f"{floor}: " + ", ".join(shown))
    return "; ".join(parts)
