"""Object classes as they are shown: each one's misses and false claims, and which present object drags which along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness.comparison.metric_table import p_value
from harness.comparison.objects import Objects, Rate
from harness.result import Result, plain

if TYPE_CHECKING:
    from rich.console import RenderableType

DRAGS = 15
"""So many pairs are shown, the most striking first; ``--json`` has all."""


@dataclass(frozen=True)
class Classes(Result):
    """A run's object classes."""

    found: Objects

    def rows(self) -> list[dict[str, Any]]:
        """A row for each class and kind of error."""
        return [
            {"object": one.name, "kind": kind, **asdict(rate)}
            for one in self.found.classes
            for kind, rate in (("missed", one.missed), ("claimed", one.claimed))
            if rate
        ]

    def content(self) -> Any:
        """The classes and the drags."""
        return plain(asdict(self.found))

    def parts(self) -> Iterator[RenderableType]:
        """A table of the classes, most claimed falsely first, and one of the drags."""
        table = Table(
            header_style="bold", caption="Rates shrunk towards the mean of all objects, with 95 % credible intervals."
        )
        table.add_column("object")
        for head in ("in % of images", "missed", "%", "claimed falsely", "%"):
            table.add_column(head, justify="right")
        for one in sorted(self.found.classes, key=lambda one: -(one.claimed.value if one.claimed else -1)):
            table.add_row(one.name, f"{100 * one.frequency:z.0f}", *_rate(one.missed), *_rate(one.claimed))
        yield table
        drags = Table(title="Which object drags which", header_style="bold", title_justify="left")
        for head in ("where there is", "it claims", "times", "rate", "elsewhere", "p"):
            drags.add_column(head, justify="left" if head in ("where there is", "it claims") else "right")
        for drag in self.found.drags[:DRAGS]:
            elsewhere = "–" if drag.elsewhere != drag.elsewhere else f"{100 * drag.elsewhere:z.0f}"
            told = f"{drag.errors}/{drag.asked}", f"{100 * drag.rate:z.0f}", elsewhere, p_value(drag.p)
            drags.add_row(drag.by, drag.object, *told)
        yield drags


def _rate(one: Rate | None) -> tuple[str, str]:
    if one is None:
        return "–", "–"
    return f"{one.errors}/{one.asked}", f"{100 * one.value:z.0f} [{100 * one.low:z.0f}, {100 * one.high:z.0f}]"
