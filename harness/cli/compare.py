"""``ohd-bench compare``: which differences are real, and whether they are sight or bias."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DataDir, Include, Json, Results, Runs, Task


def register(app: typer.Typer) -> None:
    """Add ``compare``."""
    app.command()(compare)


def compare(
    runs: Runs = None,
    task: Task = "",
    data: DataDir = "micro",
    results: Results = Path("results"),
    full: Annotated[bool, typer.Option("--full", help="Every metric of every group.")] = False,
    fail_if_worse: Annotated[
        list[str] | None,
        typer.Option(help="[TASK:][GROUP:]METRIC; exit 5 where it is worse beyond chance. Repeat for more."),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Instead: the arithmetic of the paper's printed tables.")
    ] = False,
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Say which differences are real, whether they are sight or bias, and what is left without the picture."""
    from harness import registry
    from harness.cli import comparing

    registry.load(include or ())
    if published:
        comparing.print_published(as_json)
        return
    found = comparing.opened(list(runs or []), results, task, data)
    gates = comparing.gates(found, list(fail_if_worse or []))
    comparing.print_comparisons(found, results, full=full, as_json=as_json)
    comparing.enforce(gates)
