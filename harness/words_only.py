"""A rich console on which nothing that is printed can act: what the terminal and a notebook show is words."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from harness.fitting import fitted
from harness.shown import plain


class WordsOnly(Console):
    """A console on which words are only words: no markup, no emoji codes, and no control character but its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, each control character in their words written out; tables as they fit."""
        if isinstance(renderable, Table):
            renderable = fitted(renderable, (options or self.options).max_width, self)
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))
