"""``ohd-bench run``: ask models every question of the chosen tasks and print what it shows."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from harness.asking.run_options import RunOptions
from harness.cli.options import (
    COMPUTED,
    SHOWN,
    AllowOutside,
    DataDir,
    Device,
    Dtype,
    Encoders,
    Include,
    Json,
    Lvlm,
    Ray,
    Results,
    Tasks,
    Verbose,
)

if TYPE_CHECKING:
    from harness.verbs.run import Asked

DEFAULT = RunOptions()


def register(app: typer.Typer) -> None:
    """Add ``run``."""
    app.command()(run)


def run(
    encoder: Encoders = None,
    lvlm: Lvlm = DEFAULT.lvlm,
    task: Tasks = None,
    data: DataDir = DEFAULT.data,
    results: Results = DEFAULT.results,
    align: Annotated[
        str,
        typer.Option(
            help="How the projector meets a new tower: none, stats:IMAGES, ridge:IMAGES, projector:DIR or lora:DIR.",
            envvar="OHD_BENCH_ALIGN",
        ),
    ] = DEFAULT.align,
    control: Annotated[
        str,
        typer.Option(
            help="none, shuffle-image, blank-image or text-only: what is the picture worth?",
            envvar="OHD_BENCH_CONTROL",
        ),
    ] = DEFAULT.control,
    limit: Annotated[
        int,
        typer.Option(
            min=0, help="Ask only about this many images, drawn by --seed; 0 is all.", envvar="OHD_BENCH_LIMIT"
        ),
    ] = DEFAULT.limit,
    seed: Annotated[int, typer.Option(help="Seed of --limit and of controls.", envvar="OHD_BENCH_SEED")] = DEFAULT.seed,
    batch_size: Annotated[
        int,
        typer.Option(min=0, help="Images at once; 0 is auto.", envvar="OHD_BENCH_BATCH_SIZE", rich_help_panel=COMPUTED),
    ] = DEFAULT.batch_size,
    dtype: Dtype = DEFAULT.dtype,
    device: Device = DEFAULT.device,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Processes, each with its own copy of the models.",
            envvar="OHD_BENCH_WORKERS",
            rich_help_panel=COMPUTED,
        ),
    ] = DEFAULT.workers,
    ray: Ray = DEFAULT.ray,
    shard: Annotated[
        str,
        typer.Option(
            help="Ask the share I/N, 1/N to N/N; 'merge' reads all back.",
            envvar="OHD_BENCH_SHARD",
            rich_help_panel=COMPUTED,
        ),
    ] = DEFAULT.shard,
    verify: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Ask this share again one by one, count flips.",
            envvar="OHD_BENCH_VERIFY",
            rich_help_panel=COMPUTED,
        ),
    ] = DEFAULT.verify,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Ask 32 samples, say what all cost one process, keep none."),
    ] = False,
    include: Include = None,
    allow_outside: AllowOutside = DEFAULT.allow_outside,
    available: Annotated[
        bool,
        typer.Option("--available", help="Ask about the images that are there; the run is marked as that part."),
    ] = DEFAULT.available,
    log_with: Annotated[
        list[str] | None,
        typer.Option(
            help="Tell wandb, tensorboard or mlflow what was measured; repeat for more.",
            envvar="OHD_BENCH_LOG_WITH",
            rich_help_panel=SHOWN,
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Print every metric of every group.", rich_help_panel=SHOWN)
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Ask models every question of the chosen tasks, keep every answer, and print the comparison.

    The same command goes on where it stopped. Exit codes: 0 all samples scored, 1 some failed, 2 usage,
    3 data missing, 4 model does not load or fit, 6 degenerate outputs, 130/143 interrupted.
    """
    from harness import console
    from harness.export import trackers
    from harness.verbs import run as verb
    from harness.verbs import shards

    if not verbose:
        console.quiet()
    options = RunOptions.of(
        encoders=encoder, lvlm=lvlm, tasks=task, data=data, results=results, align=align, control=control, limit=limit,
        seed=seed, batch_size=batch_size, dtype=dtype, device=device, workers=workers, ray=ray, shard=shard,
        verify=verify, include=include, allow_outside=allow_outside, available=available,
    )  # fmt: skip
    trackers.require(log_with or ())
    if estimate:
        expected = verb.estimate(options, console)
        console.print_json(expected.json()) if as_json else console.show(expected)
        return
    if options.shard:
        part = shards.run_shard(options, console)
        console.print_json(part.json()) if as_json else console.show(part)
        raise typer.Exit(0 if part.complete else 1)
    asked = replace(verb.run(options, console), full=full)
    console.print_json(asked.json()) if as_json else console.show(asked)
    _say_standings(asked, options, as_json)
    trackers.tell(asked.runs, log_with or ())
    raise typer.Exit(0 if asked.complete else 1)


def _say_standings(asked: Asked, options: RunOptions, as_json: bool) -> None:
    """What failed, what came out of asking again, where the answers lie, and what to do next."""
    from harness.console import out, say

    for remark in asked.remarks():
        say(remark)
    for verdict in () if as_json else asked.verdicts():
        out().print(verdict, soft_wrap=True)
    for run in asked.runs:
        say(f"kept in {run.folder}")
    if len(asked.runs) > 1:
        names = [run.id for run in asked.runs[:2]]
        say(f"now: {shlex.join(['ohd-bench', 'compare', *names, '--results', str(options.results)])}")
