"""``ohd-bench objects``: misses and false claims of each object class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DataDir, Include, Json, Results


def register(app: typer.Typer) -> None:
    """Add ``objects``."""
    app.command()(objects)


def objects(
    run: Annotated[str, typer.Argument(help="A run, by id or encoder.")],
    data: DataDir = "micro",
    results: Results = Path("results"),
    to: Annotated[
        Path | None, typer.Option("--to", help="Write hard negatives for the trainer: one JSON object a line.")
    ] = None,
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Misses and false claims of each object class, and which present object drags which absent one along."""
    from harness import console, registry
    from harness.asking import available
    from harness.comparison import answer_sets
    from harness.comparison import objects as classes
    from harness.data import resolve
    from harness.report.classes import Classes

    registry.load(include or ())
    kept = answer_sets.find_run(results, run)
    found = classes.of_run(kept, resolve(data))
    for mark in available.marks(kept.manifest()):
        console.say(f"in part: {mark}")
    if to:
        console.say(f"{classes.write_hard_negatives(found, to)} objects written to {to}")
    told = Classes(found)
    console.print_json(told.json()) if as_json else console.show(told)
