"""What ``run`` and ``show`` share: performing runs with progress shown, and printing them side by side."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from rich.markup import escape
from rich.table import Table

from harness import registry
from harness.asking import evaluate
from harness.asking.estimate import TimeEstimate
from harness.comparison import metric_table
from harness.console import out, print_json, say, say_assumed, ticking
from harness.data import resolve
from harness.errors import UsageError
from harness.store import Run
from harness.types import Place, Task

ALIGNMENTS = ("none", "stats", "ridge", "projector", "lora")


def ask(
    encoders: Sequence[str],
    lvlm: str,
    names: Sequence[str],
    data: str,
    results: Path,
    place: Place,
    asked: Mapping[str, Any],
) -> tuple[list[evaluate.Outcome], list[Task]]:
    """One run for each encoder (or one of the LVLM as it came), each kept in its folder."""
    if not encoders and not lvlm:
        raise UsageError("nothing to ask: name an --encoder, an --lvlm or both; 'ohd-bench list' says what there is")
    for text in encoders:
        registry.find(registry.encoders, registry.parse_spec(text).name, "encoder")
    if lvlm:
        registry.find(registry.lvlms, registry.parse_spec(lvlm).name, "LVLM")
    where = resolve(data, asked.get("outside", False))
    modes = _modes(bool(encoders), bool(lvlm), asked.get("control", "none"))
    tasks = evaluate.chosen(names, where, modes, say)
    only_estimate = asked.get("estimate", False)
    plan = evaluate.plan(tasks, where, results, place, **asked)
    host = registry.make_lvlm(lvlm, place) if lvlm else None
    outcomes: list[evaluate.Outcome] = []
    estimates: dict[str, Mapping[str, TimeEstimate]] = {}
    for text in dict.fromkeys(encoders or [""]):
        encoder = registry.make_encoder(text, place) if text else None
        if encoder is not None:
            say_assumed(encoder)
        if only_estimate:
            estimates[text] = evaluate.estimates(plan, encoder, host)
        else:
            outcomes.append(evaluate.perform(plan, encoder, host, ticking))
    if only_estimate:
        print_estimates(estimates, lvlm, plan, asked.get("as_json", False))
    return outcomes, tasks


def _modes(encoder: bool, lvlm: bool, control: str) -> set[str]:
    """What these models can be asked; without a picture, nothing is ranked."""
    if control != "text-only" or not encoder:
        return ({"rank"} if encoder else set()) | ({"generate"} if lvlm else set())
    if not lvlm:
        raise UsageError("--control text-only shows no picture: it needs an --lvlm")
    say("not asked: what ranks captions by an image; --control text-only shows none")
    return {"generate"}


def print_standings(outcomes: Sequence[evaluate.Outcome], results: Path, quiet: bool) -> None:
    """What failed, what came out of asking again, where the answers lie, and what to do next."""
    for one in outcomes:
        for name, standing in one.tasks.items():
            if standing.failed:
                say(f"{one.run.id}: {name}: {standing.failed} of {standing.expected} failed: {standing.first_failure}")
            if unasked := standing.expected - standing.scored - standing.failed:
                say(f"{one.run.id}: {name}: {unasked} of {standing.expected} came back with no reply")
            verdict = one.run.manifest()["tasks"][name].get("verify")
            if verdict and not quiet:
                out().print(f"{one.run.id}: {name}: {verdict['said']}", soft_wrap=True, markup=False)
        say(f"kept in {one.run.folder}")
    if len(outcomes) > 1:
        say(f"now: ohd-bench compare {' '.join(one.run.id for one in outcomes[:2])} --results {results}")


def print_estimates(
    found: Mapping[str, Mapping[str, TimeEstimate]], lvlm: str, plan: evaluate.RunPlan, as_json: bool
) -> None:
    """How long each task will take with each encoder: one line, or one entry of a JSON list."""
    if plan.workers > 1:
        say(f"--estimate measures one process; what --workers {plan.workers} gains is not part of it")
    every = [(encoder, task, one) for encoder, tasks in found.items() for task, one in tasks.items()]
    if as_json:
        print_json([{"encoder": encoder, "lvlm": lvlm, "task": task, **one.record()} for encoder, task, one in every])
        return
    for encoder, task, one in every:
        out().print(f"{encoder or lvlm}: {task}: {one.said()}", soft_wrap=True, markup=False)


def aligned(lvlm: str, align: str) -> str:
    """The LVLM's spec with ``--align`` as its keys: ``stats:IMAGES``, ``projector:DIR`` and their like."""
    if not align:
        return lvlm
    how, _, where = align.partition(":")
    if not lvlm or how not in ALIGNMENTS or bool(where) != (how != "none"):
        raise UsageError(
            f"--align {align}: with an --lvlm, one of none, {', '.join(f'{h}:DIR' for h in ALIGNMENTS[1:])}"
        )
    keys = {"align": how, "images": where} if how in ("stats", "ridge") else {"align": align}
    return lvlm + ("&" if "?" in lvlm else "?") + urlencode(keys, safe="/:~")


def quiet() -> None:
    """Keep libraries' chatter off the screen."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def print_runs(runs: Sequence[Run], tasks: Sequence[Task], full: bool = False, as_json: bool = False) -> None:
    """The runs side by side: the first run's values, and each later run's with its paired difference to the first."""
    manifests = [run.manifest() for run in runs]
    every = {task.name: metric_table.rows(task, runs) for task in tasks}
    if as_json:
        rows = [metric_table.as_json(task, row) for task in tasks for row in every[task.name]]
        print_json({"runs": manifests, "rows": rows})
        return
    floors = {task.name: _floors(manifests, task.name) for task in tasks}
    names = list(dict.fromkeys(name for by_name in floors.values() for name in by_name))
    table = _table([_title(manifest) for manifest in manifests], names)
    for task in tasks:
        for row in every[task.name] if full else metric_table.summary(task, every[task.name]):
            pictureless = [_floor(floors[task.name].get(name, {}), row) for name in names]
            table.add_row(row.task, row.group or task.whole, _arrow(row), *_cells(row), *pictureless)
        table.add_section()
    out().print(table)
    for line in _notes(manifests, bool(names)):
        out().print(line, markup=False, soft_wrap=True)


def _table(titles: Sequence[str], floors: Sequence[str]) -> Table:
    table = Table(header_style="bold")
    for name in ("task", "group", "metric"):
        table.add_column(name)
    for i, title in enumerate(titles):
        table.add_column(escape(title), justify="right")
        if i:
            table.add_column("Δ to the first", justify="right")
    for name in floors:
        table.add_column(name, justify="right", style="dim")
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
