"""``ohd-bench compare``, ``attribute``, ``effects``, ``objects``: what a difference means, where errors come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.run import AllowOutside, Include, Results

Runs = Annotated[
    list[str] | None, typer.Argument(help="The base first: runs by id or encoder, or files of answers with --task.")
]
Task = Annotated[
    str, typer.Option("--task", "-t", help="Only this task, NAME[?option=value]; needed for files of answers.")
]
DataDir = Annotated[
    str,
    typer.Option("--data", help="'micro', or a folder with the benchmarks' official files.", envvar="OHD_BENCH_DATA"),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(compare)
    app.command()(attribute)
    app.command()(effects)
    app.command()(objects)


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


def attribute(
    runs: Runs = None,
    data: DataDir = "micro",
    results: Results = Path("results"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda …", envvar="OHD_BENCH_DEVICE")] = "auto",
    include: Include = None,
    allow_outside: AllowOutside = False,
    as_json: Json = False,
) -> None:
    """Eye or brain: what each run's encoder can tell of the objects asked about, crossed with what the LVLM said."""
    from harness import registry
    from harness.cli import explaining
    from harness.data import resolve

    registry.load(include or ())
    where = resolve(data, allow_outside)
    explaining.print_attribution(list(runs or []), results, where, device, as_json)


def effects(
    runs: Runs = None,
    task: Task = "",
    results: Results = Path("results"),
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Main effects of tower, projector and language model, from runs that cross them."""
    from harness import registry
    from harness.cli import explaining

    registry.load(include or ())
    explaining.print_effects(list(runs or []), results, task, as_json)


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
    from harness import registry
    from harness.cli import explaining

    registry.load(include or ())
    explaining.print_objects(run, results, data, to, as_json)
