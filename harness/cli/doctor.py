"""``ohd-bench doctor``: what of this machine and installation matters to a run."""

from __future__ import annotations

import typer

from harness.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add ``doctor``."""
    app.command()(doctor)


def doctor(as_json: Json = False) -> None:
    """Say which versions, devices, extras, plugins and folders there are, and what to do about them (exit 1 if any)."""
    from harness import console
    from harness.verbs.doctor import examine

    found = examine()
    console.print_json(found.json()) if as_json else console.show(found)
    raise typer.Exit(0 if found.well else 1)
