"""``ohd-bench effects``: main effects of tower, projector and language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from harness.cli.options import Include, Json, Results, Runs, Task
from harness.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add ``effects``."""
    app.command()(effects)


def effects(
    runs: Runs = None,
    task: Task = "",
    results: Results = Path("results"),
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Main effects of tower, projector and language model, from runs that cross them."""
    from harness import registry

    registry.load(include or ())
    print_effects(list(runs or []), results, task, as_json)


def print_effects(names: Sequence[str], results: Path, task: str, as_json: bool) -> None:
    """Main effects and interactions in each summary metric."""
    from rich.table import Table

    from harness.comparison import answer_sets
    from harness.comparison import effects as crossed
    from harness.comparison.metric_table import gap, p_value
    from harness.console import out, print_json
    from harness.result import plain

    runs = [answer_sets.find_run(results, name) for name in names]
    if len(runs) < 2:
        raise UsageError("effects takes the runs of a whole cross: two, four or eight, the all-base one first")
    every, tasks = answer_sets.open_answer_sets([run.id for run in runs], results, task, None)
    for other in every[1:]:
        answer_sets.require_comparable(every[0], other, tasks)
    found = [one for t in tasks if t.mode == "generate" for one in crossed.effects(t, runs)]
    if as_json:
        print_json(plain([asdict(one) for one in found]))
        return
    table = Table(
        header_style="bold",
        caption="Main effects average over the other parts; A × B is what both do beyond their sum.",
    )
    for head in ("task", "group", "metric", "parts"):
        table.add_column(head)
    for head in ("effect", "p"):
        table.add_column(head, justify="right")
    for one in found:
        chosen = [
            t
            for t in tasks
            if t.name == one.task and (one.group, one.metric) in (list(t.summary) or [("", t.headline)])
        ]
        if chosen:
            digits = chosen[0].metrics_of(one.group)[one.metric].digits
            table.add_row(
                one.task,
                one.group or "all",
                one.metric,
                " × ".join(one.parts),
                gap(one.change, digits),
                p_value(one.change.p),
            )
    out().print(table)
