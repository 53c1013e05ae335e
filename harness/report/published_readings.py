"""What the paper's printed precision and recall say of bias, pair by pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness.comparison import published_arithmetic
from harness.result import Result, plain

if TYPE_CHECKING:
    from rich.console import RenderableType

PRINTED = ("accuracy", "recall of no", "recall of yes", "balanced accuracy", "d′", "criterion", "yes %")
PRINTED_DIGITS = (1, 1, 1, 1, 2, 2, 1)
PRINTED_NOTE = (
    "LLaVA-1.5 → with the tuned tower. By criterion, by d′: how the change of accuracy splits. "
    "bias: accuracy rises, balanced accuracy does not; criterion: both rise and d′ does not. "
    "Rounding to one decimal is allowed for; POPE is taken as half yes, half no."
)


@dataclass(frozen=True)
class PublishedReadings(Result):
    """The bias reading of every published pair."""

    found: Sequence[Mapping[str, Any]]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each pair and quantity: before and after, each with the range that rounding leaves open."""
        return [
            {"table": row["table"], "metric": name, "before": before[0], "after": after[0], "reading": row["reading"]}
            for row in self.found
            for name, (before, after) in row["values"].items()
        ]

    def content(self) -> Any:
        """Every reading."""
        return plain(list(self.found))

    def parts(self) -> Iterator[RenderableType]:
        """One table."""
        title = f"Computed from the precision and recall printed in {published_arithmetic.PAPER}"
        table = Table(
            title=title, header_style="bold", caption=PRINTED_NOTE, title_justify="left", caption_justify="left"
        )
        table.add_column("table")
        for name in (*PRINTED, "by criterion", "by d′", "reading"):
            table.add_column(name, justify="right")
        for row in self.found:
            values: Any = row["values"]
            pairs = zip((values[name] for name in published_arithmetic.SHOWN), PRINTED_DIGITS, strict=True)
            cells = [f"{before[0]:z.{d}f} → {after[0]:z.{d}f}" for (before, after), d in pairs]
            shares = [f"{row[key]:+z.1f}" for key in ("by_criterion", "by_d_prime")]
            table.add_row(str(row["table"]), *cells, *shares, str(row["reading"]))
        yield table


def readings() -> PublishedReadings:
    """The arithmetic of every pair that the paper prints."""
    return PublishedReadings([published_arithmetic.reading(*pair) for pair in published_arithmetic.pairs()])
