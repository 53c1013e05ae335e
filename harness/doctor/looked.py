"""One thing that was looked at, and all of them as one screen and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness.result import Result

if TYPE_CHECKING:
    from rich.console import RenderableType


NOTHING = "nothing is to be done: ohd-bench can run here"
FIRST = ", for instance: ohd-bench run --encoder micro --lvlm micro-llava"
"""What to try first, where there is what models need."""


@dataclass(frozen=True)
class Looked:
    """One thing that was looked at: ``advice`` says what to do, and is empty where nothing is to be done.

    ``needed`` is whether a run needs it done; ``listed`` is false for what only JSON shows while all is well.
    """

    what: str
    found: str
    advice: str = ""
    needed: bool = True
    listed: bool = True


@dataclass(frozen=True)
class Examined(Result):
    """Everything that was looked at."""

    looked: Sequence[Looked]

    @property
    def well(self) -> bool:
        """Whether a run needs nothing to be done first."""
        return not any(one.advice and one.needed for one in self.looked)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each thing."""
        return [
            {"what": one.what, "found": one.found, "advice": one.advice, "needed": bool(one.advice and one.needed)}
            for one in self.looked
        ]

    def content(self) -> Any:
        """The same, and whether all is well."""
        return {"well": self.well, "looked": self.rows()}

    def parts(self) -> Iterator[RenderableType]:
        """A line for each thing, what is to do below it, and how it stands in all."""
        for one in self.looked:
            if one.listed or one.advice:
                yield Text(f"{one.what}: {one.found}")
            if one.advice:
                yield Text(f"  {'do' if one.needed else 'if you want it'}: {one.advice}", style="bold")
        left = sum(bool(one.advice and one.needed) for one in self.looked)
        said = f"{left} to do, marked 'do' above" if left else NOTHING
        if not left and not any(one.what == "models" and one.advice for one in self.looked):
            said += FIRST
        yield Text(said, style="bold")
