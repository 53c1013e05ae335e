"""``ohd-bench attribute``: eye or brain, where a run's errors come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from harness.cli.options import AllowOutside, DataDir, Device, Include, Json, Results, Runs
from harness.data import Data
from harness.errors import UsageError

CELLS_NOTE = (
    "%, over objects that are absent or present. Seen: the encoder's score for the object is above a threshold set on "
    "other images. absent: seen-said is an error the eye made, unseen-claimed one the language model made."
)


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
    from harness import registry
    from harness.data import resolve

    registry.load(include or ())
    print_attribution(list(runs or []), results, resolve(data, allow_outside), device, as_json)


def print_attribution(names: Sequence[str], results: Path, data: Data, device: str, as_json: bool) -> None:
    """The four cells of each run by eye and task; for each run after the first, the change."""
    from rich.table import Table

    from harness.comparison import answer_sets, attribution, probe
    from harness.console import out, print_json
    from harness.types import Place

    if not names:
        raise UsageError("attribute takes at least one run, by id or encoder")
    runs = [answer_sets.find_run(results, name) for name in names]
    found = probe.each(runs, data, Place(device))
    changes = [attribution.changes(found[0], other) for other in found[1:]]
    if as_json:
        print_json(_attribution_as_plain(found, changes))
        return
    table = Table(header_style="bold", caption=CELLS_NOTE, caption_justify="left")
    for head in ("eye / task", "rate"):
        table.add_column(head)
    for i, one in enumerate(found):
        ranks = ", ".join(f"{eye} AUROC {100 * value:.1f}" for eye, value in one.auroc.items())
        table.add_column(f"{one.name}\n{ranks}", justify="right")
        if i:
            table.add_column("Δ to the first", justify="right")
    rates = [one.rates() for one in found]
    for group, metrics in rates[0].items():
        for name in (name for name, first in metrics.items() if first.value == first.value):
            table.add_row(group, name, *_cells(group, name, rates, changes))
        table.add_section()
    out().print(table)


def _cells(group: str, name: str, rates: Sequence[Any], changes: Sequence[Any]) -> list[str]:
    """A row's cells: each run's rate, and each later run's change."""
    from harness.comparison.metric_table import cell, gap

    cells = [cell(rates[0][group][name], 1)]
    for other, change in zip(rates[1:], changes, strict=True):
        pair = change.get(group, {}).get(name)
        cells += [cell(other.get(group, {}).get(name), 1), gap(pair[2] if pair else None, 1)]
    return cells


def _attribution_as_plain(found: Sequence[Any], changes: Sequence[Any]) -> Any:
    from harness.result import plain

    runs = [
        {
            "name": one.name,
            "auroc": dict(one.auroc),
            "rates": {group: {m: asdict(e) for m, e in rates.items()} for group, rates in one.rates().items()},
        }
        for one in found
    ]
    gaps = [{g: {m: asdict(pair[2]) for m, pair in rates.items()} for g, rates in one.items()} for one in changes]
    return plain({"runs": runs, "changes": gaps})
