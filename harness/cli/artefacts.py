"""``ohd-bench data artefacts``: what a data set's texts give away without its images."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import DataDir, Json


def register_data(data: typer.Typer) -> None:
    """Add ``artefacts`` to the data commands."""
    data.command()(artefacts)


def artefacts(
    task: Annotated[
        str, typer.Argument(help="A task whose samples are rows of texts, NAME[?option=value].")
    ] = "ohd-caps",
    data: DataDir = "micro",
    as_json: Json = False,
) -> None:
    """Say how often the true text is found without any image, by text, medoid or length; and count duplicates."""
    from rich.table import Table

    from harness import artefacts, registry
    from harness.asking import evaluate
    from harness.console import out, print_json
    from harness.data import resolve
    from harness.errors import UsageError

    registry.load()
    samples = [sample for sample in evaluate.open_task(task, resolve(data).root).samples() if len(sample.texts) > 1]
    if not samples:
        raise UsageError(f"{task} has no rows of texts to examine; ohd-caps has")
    found = artefacts.examine(samples)
    if as_json:
        print_json(artefacts.as_json(found))
        return
    table = Table(header_style="bold", caption="Rows (%) whose true text is strictly first; no scorer sees an image.")
    for name in ("group", "rows", "chance", *artefacts.SCORERS, "rows with equal texts", "true text twice"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for group, one in found.items():
        shares = [f"{share:.1f}" for share in one.by_scorer.values()]
        table.add_row(group, str(one.rows), f"{one.chance:.1f}", *shares, str(one.duplicates), str(one.true_twice))
    out().print(table)
