"""``ohd-bench merge``: what shards answered, read back into their run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, Results


def register(app: typer.Typer) -> None:
    """Add ``merge``."""
    app.command()(merge)


def merge(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs by id; none is every run that has shards.")] = None,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Read what 'run --shard I/N' answered back into the runs; no model, no data, no order, however many shards.

    The same run without --shard does so as well, and asks what is left. Exit codes: 0 every sample of these runs (of
    all, where none is named) has an answer, 1 some have none, or two (named; the last shard's is kept), 2 a shard is
    still being written, another run's, or was asked other questions.
    """
    from harness import console
    from harness.verbs import shards

    merged = shards.merge(results, runs or ())
    console.print_json(merged.json()) if as_json else console.show(merged)
    raise typer.Exit(0 if merged.complete and merged.agree else 1)
