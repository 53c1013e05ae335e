"""What a verb gives back: one result to be read as a table (pandas), as plain JSON, in a terminal and in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderableType

PAGE = '<pre style="font-family:monospace;line-height:1.2;overflow-x:auto">{code}</pre>'
WIDE = 160
"""Columns of a notebook's cell: it scrolls where a page is narrower."""


FORMAT_VERSION = 1
"""Of what ``--json`` prints: it grows when a field goes or changes its meaning (docs/outputs.md)."""


def versioned(thing: Any) -> Any:
    """The same with the version of its format: in the object, or in each object of a list."""
    if isinstance(thing, dict):
        return {**thing, "format_version": FORMAT_VERSION}
    return [versioned(one) for one in thing] if isinstance(thing, list) else thing


class Result(ABC):
    """A result of ohd-bench."""

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """One flat row for each number, for ``table()``."""

    @abstractmethod
    def content(self) -> Any:
        """All of it as plain data; what is not a number is None."""

    def json(self) -> Any:
        """The same with the version of its format: what the command prints with ``--json``."""
        return versioned(self.content())

    @abstractmethod
    def parts(self) -> Iterator[RenderableType]:
        """What the command prints, part by part: rich tables, and lines of text that may be longer than a screen."""

    def table(self) -> DataFrame:
        """The numbers as a pandas DataFrame, one a row."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from self.parts()

    def _repr_html_(self) -> str:
        from harness.words_only import WordsOnly

        console = WordsOnly(record=True, width=WIDE, file=StringIO(), highlight=False, markup=False, emoji=False)
        console.print(self)
        return console.export_html(inline_styles=True, code_format=PAGE)


def plain(thing: Any) -> Any:
    """The same with every number that is none as null, and minus zero as zero."""
    if isinstance(thing, dict):
        return {str(key): plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [plain(value) for value in thing]
    if isinstance(thing, float) and (thing != thing or thing in (float("inf"), float("-inf"))):
        return None
    thing = thing.item() if hasattr(thing, "item") else thing
    return thing + 0.0 if isinstance(thing, float) else thing  # minus zero is zero
