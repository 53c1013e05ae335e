"""``ohd-bench compare``: which differences are real, and whether they are sight or bias."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from harness.cli.options import DataDir, Include, Json, Results, Task

AGAINST = "::"
"""What stands for a bare ``--`` among the words of a command: click would swallow it, and all options after it."""


class BothSides(TyperCommand):
    """A command that is told where among its words a bare ``--`` stood."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words that are left, each ``--`` as ``AGAINST``."""
        return super().parse_args(ctx, [AGAINST if word == "--" else word for word in args])


Sides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUNS]... [-- RUNS...]",
        help="The base first: runs by id or encoder, or files of answers with --task; "
        "runs of several seeds on each side as BASE… -- TUNED…, or groups by name; "
        "RUN[TASK?option=value] compares ways of asking one task.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add ``compare``."""
    app.command(cls=BothSides)(compare)


def compare(
    runs: Sides = None,
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
    by_seed: Annotated[
        bool, typer.Option("--by-seed", help="Runs that differ by seed alone as one: methods, not single trainings.")
    ] = False,
    seeds: Annotated[
        str, typer.Option(help="auto, paired, independent, or borrowed (a single training's spread is assumed).")
    ] = "auto",
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Say which differences are real, whether they are sight or bias, and what is left without the picture."""
    from harness import console, registry
    from harness.report import published_readings
    from harness.verbs import compare as verb

    registry.load(include or ())
    if published:
        readings = published_readings.readings()
        console.print_json(readings.json()) if as_json else console.show(readings)
        return
    found = verb.compare(verb.CompareOptions(arms(runs or []), by_seed, seeds, task, data, results), full)
    gates = verb.gates(found.found, list(fail_if_worse or []))
    console.print_json(found.json()) if as_json else console.show(found)
    verb.enforce(gates)


def arms(words: Sequence[str]) -> list[list[str]]:
    """The words between the bare ``--``."""
    found: list[list[str]] = [[]]
    for word in words:
        if word == AGAINST:
            found.append([])
        else:
            found[-1].append(word)
    return found
