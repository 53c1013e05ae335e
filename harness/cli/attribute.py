"""``ohd-bench attribute``: eye or brain, where a run's errors come from."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.cli.options import AllowOutside, DataDir, Device, Include, Json, Results, Runs


def register(app: typer.Typer) -> None:
    """Add ``attribute``."""
    app.command()(attribute)


def attribute(
    runs: Runs = None,
    data: DataDir = "micro",
    results: Results = Path("results"),
    device: Device = "auto",
    include: Include = None,
    allow_outside: AllowOutside = False,
    as_json: Json = False,
) -> None:
    """Eye or brain: what each run's encoder can tell of the objects asked about, crossed with what the LVLM said."""
    from harness import console, registry
    from harness.data import resolve
    from harness.report.attributed import attributed

    registry.load(include or ())
    found = attributed(runs or (), results, resolve(data, allow_outside), device)
    console.print_json(found.json()) if as_json else console.show(found)
