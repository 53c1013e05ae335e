"""``ohd-bench export``: a kept run in other tools' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AllowOutside, DataDir, Include, Results


def register(app: typer.Typer) -> None:
    """Add ``export``."""
    app.command()(export)


def export(
    runs: Annotated[list[str], typer.Argument(help="Runs, by id or encoder.")],
    to: Annotated[str, typer.Option("--to", help="inspect or lm-eval.")] = "inspect",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to.")] = Path("logs"),
    data: DataDir = "micro",
    results: Results = Path("results"),
    images: Annotated[bool, typer.Option("--images", help="inspect: put the pictures inside the log.")] = False,
    include: Include = None,
    allow_outside: AllowOutside = False,
) -> None:
    """Write kept runs as logs that inspect_ai's viewer or lm-eval's tools open."""
    from harness import registry
    from harness.comparison.answer_sets import find_run
    from harness.console import tell
    from harness.data import resolve
    from harness.errors import UsageError
    from harness.export import inspect, lm_eval

    registry.load(include or ())
    if to not in ("inspect", "lm-eval"):
        raise UsageError(f"--to {to}: there is inspect and lm-eval")
    root = resolve(data).root
    for run in [find_run(results, name) for name in runs]:
        paths = (
            inspect.write(run, root, out, images, allow_outside) if to == "inspect" else lm_eval.write(run, root, out)
        )
        for path in paths:
            tell(path)
