"""Eye or brain as it is shown: each run's rates by eye and task, and for each run after the first the change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness.comparison import answer_sets, attribution, probe
from harness.comparison.attribution import Attribution
from harness.comparison.metric_table import cell, gap
from harness.data import Data
from harness.errors import UsageError
from harness.result import Result, plain
from harness.stats import Difference
from harness.types import Place

if TYPE_CHECKING:
    from rich.console import RenderableType

NOTE = (
    "%, over objects that are absent or present. Seen: the encoder's score for the object is above a threshold set on "
    "other images. absent: seen-said is an error the eye made, unseen-claimed one the language model made."
)
Changes = Mapping[str, Mapping[str, Difference]]
"""Group → rate → its change."""


@dataclass(frozen=True)
class Attributed(Result):
    """Where the errors of these runs come from, and how each later one differs from the first."""

    found: Sequence[Attribution]
    changes: Sequence[Changes]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run, eye and task, and rate."""
        return [
            {"run": one.name, "eye / task": group, "rate": name, **asdict(value)}
            for one in self.found
            for group, rates in one.rates().items()
            for name, value in rates.items()
        ]

    def content(self) -> Any:
        """Each run's rates and how well each eye ranks presence, and the changes to the first run."""
        runs = [
            {
                "name": one.name,
                "auroc": dict(one.auroc),
                "rates": {group: {m: asdict(e) for m, e in rates.items()} for group, rates in one.rates().items()},
            }
            for one in self.found
        ]
        gaps = [{g: {m: asdict(gap) for m, gap in rates.items()} for g, rates in one.items()} for one in self.changes]
        return plain({"runs": runs, "changes": gaps})

    def parts(self) -> Iterator[RenderableType]:
        """One table: a row for each rate that the first run has."""
        table = Table(header_style="bold", caption=NOTE, caption_justify="left")
        for head in ("eye / task", "rate"):
            table.add_column(head)
        for i, one in enumerate(self.found):
            ranks = ", ".join(f"{eye} AUROC {100 * value:z.1f}" for eye, value in one.auroc.items())
            table.add_column(f"{one.name}\n{ranks}", justify="right")
            if i:
                table.add_column("Δ to the first", justify="right")
        rates = [one.rates() for one in self.found]
        for group, metrics in rates[0].items():
            for name in (name for name, first in metrics.items() if first.value == first.value):
                cells = [cell(rates[0][group][name], 1)]
                for other, change in zip(rates[1:], self.changes, strict=True):
                    cells += [cell(other.get(group, {}).get(name), 1), gap(change.get(group, {}).get(name), 1)]
                table.add_row(group, name, *cells)
            table.add_section()
        yield table


def attributed(names: Sequence[str], results: Path, data: Data, device: str) -> Attributed:
    """The attribution of these kept runs, the first the base; UsageError where none is named."""
    if not names:
        raise UsageError("attribute takes at least one run, by id or encoder")
    runs = [answer_sets.find_run(results, name) for name in names]
    for run in runs:
        if (control := answer_sets.of_run(run).control) != "none":
            raise UsageError(f"{run.id} was asked under {control}: its LVLM did not answer about what its encoder saw")
    found = probe.each(runs, data, Place(device))
    changes = [
        {group: {name: pair[2] for name, pair in rates.items()} for group, rates in one.items()}
        for one in (attribution.changes(found[0], other) for other in found[1:])
    ]
    return Attributed(found, changes)
