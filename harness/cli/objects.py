"""``ohd-bench objects``: misses and false claims of each object class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import DataDir, Include, Json, Results


def register(app: typer.Typer) -> None:
    """Add ``objects``."""
    app.command()(objects)


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

    registry.load(include or ())
    print_objects(run, results, data, to, as_json)


def print_objects(name: str, results: Path, data: str, to: Path | None, as_json: bool) -> None:
    """Each object's rates, the strongest drags; hard negatives written where asked."""
    from rich.table import Table

    from harness.comparison import answer_sets
    from harness.comparison import objects as classes
    from harness.comparison.metric_table import p_value
    from harness.console import out, print_json, say
    from harness.data import resolve
    from harness.result import plain

    found = classes.of_run(answer_sets.find_run(results, name), resolve(data))
    if to:
        say(f"{classes.write_hard_negatives(found, to)} objects written to {to}")
    if as_json:
        print_json(plain(classes.as_json(found)))
        return
    table = Table(
        header_style="bold", caption="Rates shrunk towards the mean of all objects, with 95 % credible intervals."
    )
    table.add_column("object")
    for head in ("in % of images", "missed", "%", "claimed falsely", "%"):
        table.add_column(head, justify="right")
    for one in sorted(found.classes, key=lambda c: -(c.claimed.value if c.claimed else -1)):
        table.add_row(one.name, f"{100 * one.frequency:.0f}", *_rate(one.missed), *_rate(one.claimed))
    out().print(table)
    drags = Table(title="Which object drags which", header_style="bold", title_justify="left")
    for head in ("where there is", "it claims", "times", "rate", "elsewhere", "p"):
        drags.add_column(head, justify="left" if head in ("where there is", "it claims") else "right")
    for drag in found.drags[:15]:
        elsewhere = "–" if drag.elsewhere != drag.elsewhere else f"{100 * drag.elsewhere:.0f}"
        drags.add_row(
            drag.by,
            drag.object,
            f"{drag.errors}/{drag.asked}",
            f"{100 * drag.rate:.0f}",
            elsewhere,
            p_value(drag.p),
        )
    out().print(drags)


def _rate(one: Any) -> tuple[str, str]:
    if one is None:
        return "–", "–"
    return f"{one.errors}/{one.asked}", f"{100 * one.value:.0f} [{100 * one.low:.0f}, {100 * one.high:.0f}]"
