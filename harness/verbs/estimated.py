"""How long a run would take, by each way of answering that was tried, and which of them is the quickest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness.asking.estimate import TimeEstimate
from harness.compute.forecast import duration
from harness.result import Result

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Way:
    """What it would take to ask one LVLM, by encoder and task, beside getting it ready."""

    lvlm: str
    """Its spec; empty where encoders alone are asked."""
    ready_s: float
    """Seconds for all that comes before the first question: loading, merging, starting a server."""
    found: Mapping[str, Mapping[str, TimeEstimate]]

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.ready_s + sum(one.seconds for tasks in self.found.values() for one in tasks.values())

    def said(self) -> str:
        """In how long, and how much of that is getting ready."""
        return f"--lvlm '{self.lvlm}' in about {duration(self.seconds)}, {duration(self.ready_s)} of it to get ready"


@dataclass(frozen=True)
class Estimated(Result):
    """How long a run would take, by way, encoder and task; the first way is the one that was asked for."""

    ways: Sequence[Way]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each way, encoder and task."""
        return [
            {"encoder": encoder, "lvlm": way.lvlm, "task": task, **one.record(), "ready_s": way.ready_s}
            for way in self.ways
            for encoder, tasks in way.found.items()
            for task, one in tasks.items()
        ]

    def content(self) -> Any:
        """The same rows."""
        return self.rows()

    def parts(self) -> Iterator[RenderableType]:
        """A line for each; and where there are several ways, which is the quickest."""
        for way in self.ways:
            whose = f" by {way.lvlm}" if len(self.ways) > 1 else ""
            for encoder, tasks in way.found.items():
                for task, one in tasks.items():
                    yield Text(f"{encoder or way.lvlm}: {task}{whose if encoder else ''}: {one.said()}")
        if len(self.ways) > 1:
            first, *others = sorted(self.ways, key=lambda way: way.seconds)
            yield Text(f"quicker: {first.said()} (else {'; '.join(way.said() for way in others)})")
