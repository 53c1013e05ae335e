"""``ohd-bench effects``: main effects of tower, projector and language model."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.cli.options import Include, Json, Results, Runs, Task


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
    """Main effects of tower, projector and language model, from runs that cross them.

    In every task that asks the LVLM; tasks of encoders alone have no such effects.
    """
    from harness import console, registry
    from harness.report.crossed import crossed

    registry.load(include or ())
    found = crossed(runs or (), results, task)
    console.print_json(found.json()) if as_json else console.show(found)
