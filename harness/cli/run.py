"""``ohd-bench run``: ask models every question of the chosen tasks and print what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import (
    AllowOutside,
    DataDir,
    Device,
    Dtype,
    Encoders,
    Include,
    Json,
    Lvlm,
    Results,
    Tasks,
    Verbose,
)


def register(app: typer.Typer) -> None:
    """Add ``run``."""
    app.command()(run)


def run(
    encoder: Encoders = None,
    lvlm: Lvlm = "",
    task: Tasks = None,
    data: DataDir = "micro",
    results: Results = Path("results"),
    align: Annotated[
        str,
        typer.Option(
            help="How the projector meets a new tower: none, stats:IMAGES, ridge:IMAGES, projector:DIR or lora:DIR.",
            envvar="OHD_BENCH_ALIGN",
        ),
    ] = "",
    control: Annotated[
        str,
        typer.Option(
            help="none, shuffle-image, blank-image or text-only: what is the picture worth?", envvar="OHD_BENCH_CONTROL"
        ),
    ] = "none",
    limit: Annotated[
        int,
        typer.Option(
            min=0, help="Ask only about this many images, drawn by --seed; 0 is all.", envvar="OHD_BENCH_LIMIT"
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of --limit and of controls.", envvar="OHD_BENCH_SEED")] = 0,
    batch_size: Annotated[
        int, typer.Option(min=0, help="Images at once; 0 is auto.", envvar="OHD_BENCH_BATCH_SIZE")
    ] = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    workers: Annotated[
        int,
        typer.Option(min=1, help="Processes, each with its own copy of the models.", envvar="OHD_BENCH_WORKERS"),
    ] = 1,
    verify: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Ask this share again one by one, count flips.", envvar="OHD_BENCH_VERIFY"),
    ] = 0.0,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Ask 32 samples, say how long one process takes for all, keep none."),
    ] = False,
    include: Include = None,
    allow_outside: AllowOutside = False,
    full: Annotated[bool, typer.Option("--full", help="Print every metric of every group.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Ask models every question of the chosen tasks, keep every answer, and print the comparison.

    The same command goes on where it stopped. Exit codes: 0 all samples scored, 1 some failed, 2 usage,
    3 data missing, 4 model does not load or fit, 6 degenerate outputs, 130/143 interrupted.
    """
    from harness import registry
    from harness.cli import showing
    from harness.types import Place

    if not verbose:
        showing.quiet()
    registry.load(include or ())
    asked: dict[str, Any] = {"control": control, "limit": limit, "seed": seed, "estimate": estimate}
    asked |= {"as_json": as_json, "workers": workers, "verify": verify, "include": tuple(include or ())}
    asked["outside"] = allow_outside
    outcomes, tasks = showing.ask(
        list(encoder or []),
        showing.aligned(lvlm, align),
        list(task or []),
        data,
        results,
        Place(device, dtype, batch_size),
        asked,
    )
    if estimate:
        return
    showing.print_runs([one.run for one in outcomes], tasks, full=full, as_json=as_json)
    showing.print_standings(outcomes, results, quiet=as_json)
    raise typer.Exit(0 if all(one.complete for one in outcomes) else 1)
