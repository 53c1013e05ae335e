"""``ohd-bench doctor``: what of this machine and installation matters to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, Results


def register(app: typer.Typer) -> None:
    """Add ``doctor``."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    data: Annotated[
        str, typer.Option("--data", help="A folder: say which benchmarks it holds.", envvar="OHD_BENCH_DATA")
    ] = "",
    results: Results = Path("results"),
    quick: Annotated[bool, typer.Option("--quick", help="Leave out Ray, kernels, precisions and the run.")] = False,
    as_json: Json = False,
) -> None:
    """Say what there is of versions, devices, data, folders and OHD_BENCH_* variables, whether it computes right,
    and what is to do.

    Some 30 seconds; nothing is fetched, and nothing stays written but the micro world in the cache. Exit codes: 0 a run
    needs nothing done, 1 something is marked 'do'.
    """
    from harness import console
    from harness.cli.environment import settings
    from harness.doctor.examine import examine

    console.quiet()
    found = examine(data, results, quick, console.say, settings(context))
    console.print_json(found.json()) if as_json else console.show(found)
    raise typer.Exit(0 if found.well else 1)
