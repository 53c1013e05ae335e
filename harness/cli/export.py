"""``ohd-bench export``: a kept run in other tools' formats."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AllowOutside, DataDir, Include, Results


def register(app: typer.Typer) -> None:
    """Add ``export``."""
    app.command()(export)


class Format(StrEnum):
    """What ``--to`` names."""

    INSPECT = "inspect"
    INSPECT_JSON = "inspect-json"
    LM_EVAL = "lm-eval"
    CSV = "csv"
    PARQUET = "parquet"
    JUDGE = "judge"


def export(
    runs: Annotated[list[str], typer.Argument(help="Runs, by id or encoder.")],
    to: Annotated[Format, typer.Option("--to", help="The format; inspect is inspect_ai's .eval.")] = Format.INSPECT,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to.")] = Path("logs"),
    data: DataDir = "micro",
    results: Results = Path("results"),
    images: Annotated[bool, typer.Option("--images", help="inspect: put all pictures inside the log.")] = False,
    image_of: Annotated[
        list[str] | None, typer.Option(help="inspect: put this sample's picture inside; repeat for more.")
    ] = None,
    include: Include = None,
    allow_outside: AllowOutside = False,
) -> None:
    """Write kept runs in the formats that other tools read: inspect_ai's, lm-eval's, or flat tables.

    csv and parquet are a row a sample, and a row a metric with its interval (docs/outputs.md); judge is the file in
    which a benchmark's own judge reads open answers (mmhal).
    """
    from harness import registry
    from harness.comparison.answer_sets import find_run
    from harness.console import say, tell
    from harness.data import resolve
    from harness.export import flat, inspect, judge, lm_eval

    registry.load(include or ())
    root = resolve(data).root
    pictures = inspect.Pictures(None if images else frozenset(image_of or ()), None if allow_outside else root)
    for run in [find_run(results, name) for name in runs]:
        match to:
            case Format.LM_EVAL:
                paths = lm_eval.write(run, root, out)
            case Format.CSV | Format.PARQUET:
                paths = flat.write(run, root, out, to.value)
            case Format.JUDGE:
                paths = judge.write(run, root, out)
            case _:
                paths = inspect.write(run, root, out, to.value, pictures)
        for path in paths:
            tell(path)
    if lacking := pictures.left_out:
        say(f"{len(lacking)} samples are shown without their picture, the first because {lacking[0]}")
