"""What ``attribute``, ``effects`` and ``objects`` print: where errors come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from harness.cli.comparing import p_value, plain
from harness.cli.console import out, print_json, say
from harness.comparison import sides
from harness.data import Data
from harness.errors import UsageError
from harness.sheet import cell, gap

CELLS_NOTE = (
    "%, over objects that are absent or present. Seen: the encoder's score for the object is above a threshold set on "
    "other images. absent: seen-said is an error the eye made, unseen-claimed one the language model made."
)


def print_attribution(names: Sequence[str], results: Path, data: Data, device: str, as_json: bool) -> None:
    """The four cells of each run by eye and task; for each run after the first, the change."""
    from harness import attribution, eyes
    from harness.types import Place

    if not names:
        raise UsageError("attribute takes at least one run, by id or encoder")
    runs = [sides.find_run(results, name) for name in names]
    found = eyes.each(runs, data, Place(device))
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
    cells = [cell(rates[0][group][name], 1)]
    for other, change in zip(rates[1:], changes, strict=True):
        pair = change.get(group, {}).get(name)
        cells += [cell(other.get(group, {}).get(name), 1), gap(pair[2] if pair else None, 1)]
    return cells


def _attribution_as_plain(found: Sequence[Any], changes: Sequence[Any]) -> Any:
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


def print_effects(names: Sequence[str], results: Path, task: str, as_json: bool) -> None:
    """Main effects and interactions in each summary metric."""
    from harness import factorial

    runs = [sides.find_run(results, name) for name in names]
    if len(runs) < 2:
        raise UsageError("effects takes the runs of a whole cross: two, four or eight, the all-base one first")
    every, tasks = sides.open_sides([run.id for run in runs], results, task, None)
    for other in every[1:]:
        sides.require_comparable(every[0], other, tasks)
    found = [one for t in tasks if t.mode == "generate" for one in factorial.effects(t, runs)]
    if as_json:
        print_json(plain([asdict(one) for one in found]))
        return
    table = Table(
        header_style="bold",
        caption="Main effects average over the other parts; A × B is what both do beyond their sum.",
    )
    for head in ("task", "group", "metric", "parts"):
        table.add_column(head)
    for head in ("effect", "p"):
        table.add_column(head, justify="right")
    for one in found:
        chosen = [
            t
            for t in tasks
            if t.name == one.task and (one.group, one.metric) in (list(t.summary) or [("", t.headline)])
        ]
        if chosen:
            digits = chosen[0].metrics_of(one.group)[one.metric].digits
            table.add_row(
                one.task,
                one.group or "all",
                one.metric,
                " × ".join(one.parts),
                gap(one.change, digits),
                p_value(one.change.p),
            )
    out().print(table)


def print_objects(name: str, results: Path, data: str, to: Path | None, as_json: bool) -> None:
    """Each object's rates, the strongest drags; hard negatives written where asked."""
    from harness import objects
    from harness.data import resolve

    found = objects.of_run(sides.find_run(results, name), resolve(data))
    if to:
        say(f"{objects.write_hard_negatives(found, to)} objects written to {to}")
    if as_json:
        print_json(plain(objects.as_json(found)))
        return
    table = Table(
        header_style="bold", caption="Rates shrunk towards the mean of all objects, with 95 % credible intervals."
    )
    table.add_column("object")
    for head in ("in % of images", "missed", "%", "claimed falsely", "%"):
        table.add_column(head, justify="right")
    for one in sorted(found.classes, key=lambda c: -(c.claimed.value if c.claimed else -1)):
        table.add_row(escape(one.name), f"{100 * one.frequency:.0f}", *_rate(one.missed), *_rate(one.claimed))
    out().print(table)
    drags = Table(title="Which object drags which", header_style="bold", title_justify="left")
    for head in ("where there is", "it claims", "times", "rate", "elsewhere", "p"):
        drags.add_column(head, justify="left" if head in ("where there is", "it claims") else "right")
    for drag in found.drags[:15]:
        elsewhere = "–" if drag.elsewhere != drag.elsewhere else f"{100 * drag.elsewhere:.0f}"
        drags.add_row(
            escape(drag.by),
            escape(drag.object),
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
