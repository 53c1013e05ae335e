"""``ohd-bench report``: one HTML page of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AllowOutside, DataDir, Include, Results, Runs, Task


def register(app: typer.Typer) -> None:
    """Add ``report``."""
    app.command()(report)


def report(
    runs: Runs = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the page.")] = Path("report.html"),
    task: Task = "",
    data: DataDir = "micro",
    results: Results = Path("results"),
    sweep: Annotated[
        list[str] | None, typer.Option(help="PERCENT=RUN: a run of an encoder trained on so much data; repeat.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Also write the figures as PDF and SVG, the tables as CSV and LaTeX, here.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="--export: this METRIC, TASK:METRIC or TASK:GROUP:METRIC; repeat for more, in their order."),
    ] = None,
    width: Annotated[
        str, typer.Option(help="--export: figures as wide as a column of neurips, acl or cvpr, or so many points.")
    ] = "",
    include: Include = None,
    allow_outside: AllowOutside = False,
) -> None:
    """Write one HTML page that opens from disk: what changed, is it sight or bias, and the pictures behind it."""
    from harness import registry
    from harness.console import say, tell
    from harness.verbs.compare import CompareOptions
    from harness.verbs.report import ReportOptions
    from harness.verbs.report import report as write

    registry.load(include or ())
    options = ReportOptions(
        out=out, export=export, sweep=tuple(sweep or ()), metrics=_several(metrics), width=width,
        allow_outside=allow_outside,
    )  # fmt: skip
    made = write(CompareOptions([list(runs or [])], task=task, data=data, results=results), options)
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, opens from disk")
    for path in made.files[1:]:
        say(str(path))
    tell(out)


def _several(words: list[str] | None) -> tuple[str, ...]:
    """Each of several words, be they given one by one or with commas between."""
    return tuple(name for word in words or () for name in word.split(",") if name)
