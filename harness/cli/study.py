"""``ohd-bench study``: many trainings over seeds in one command, and one page of what they show together."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import AllowOutside, DataDir, Device, Include, Json, Ray, Verbose

SAID = "what was trained and answered is kept, and the same command goes on from there"


def register(app: typer.Typer) -> None:
    """Add ``study``."""
    app.command()(study)


def study(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[new|plan] NAME", help="paper, negatives, or a file FILE.toml; new writes one to change."
        ),
    ],
    data: DataDir = "micro",
    seeds: Annotated[int, typer.Option(min=0, max=10_000, help="Trainings an arm; 0 is what the study says.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Cut trainings short and ask few pictures: to see that it all runs.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", help="Where trainings, alignments, answers and pages are kept, shared by studies.")
    ] = Path("runs/studies"),
    device: Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Trainings and alignments at once, and processes that ask.")
    ] = None,
    ray: Ray = "",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="With plan: measure a little of each sort of job, keep none of it.")
    ] = False,
    include: Include = None,
    allow_outside: AllowOutside = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train every arm with every seed, grow it into the LVLM, ask every benchmark, and write one page.

    What is done once is never done again: a stopped study goes on, more --seeds or arms add only what is new, and
    studies share trainings.

    Exit codes: 0 done, 1 some failed, 2 usage, 3 data missing, 4 model does not load or fit, 130/143 interrupted.
    """
    from harness.stopping import at_once

    with at_once(SAID):
        from harness import registry
        from harness.cli import planned, studying
        from harness.console import quiet
        from harness.errors import UsageError

        if not verbose:
            quiet()
        registry.load(include or ())
        verb, name = studying.words(words)
        if estimate and verb != "plan":
            raise UsageError(f"--estimate goes with the plan: ohd-bench study plan {shlex.quote(name)} --estimate")
        if verb == "new":
            studying.write_new(name, data)
            return
        asked: dict[str, Any] = {"seeds": seeds, "quick": quick, "device": device, "include": tuple(include or ())}
        asked |= {"workers": workers, "ray": ray, "allow_outside": allow_outside}
        work = studying.opened(name, data, out, asked)
        if verb == "plan":
            planned.plan(work, estimate, as_json)
        else:
            raise typer.Exit(0 if studying.perform(work, as_json) else 1)
