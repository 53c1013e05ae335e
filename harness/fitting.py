"""Tables that fit where they are shown: no number is ever cut; below the width a table needs, one block a task."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.style import StyleType
from rich.table import Column, Row, Table
from rich.text import Text

LONGEST_NUMBER = 34
"""Columns: a cell that is longer is prose, and may be broken between words."""
NARROWEST_PROSE = 24
BESIDE = 30
"""Columns that a value with its interval needs beside its name; with less, it stands below."""
_INTERVAL = re.compile(r" (?=\[[^\]]*\]\S*$)")


def fitted(table: Table, width: int, console: Console) -> RenderableType:
    """The table where every cell that is no prose fits whole.

    Else a block for each of its first cells, every interval on a line of its own: as a table; where that does not fit,
    with what names a row above its values; and where not even they fit, the values below one another.
    """
    if sum(_most(table)) <= _room(table, width):
        return table
    if widths := _widths(table, width):
        return _with(table, list(zip(*_cells(table), strict=True)), widths)
    stacked = _stacked(table)
    if widths := _widths(stacked, width):
        return Group(*_around(table, _tables(table, stacked, widths)))
    named = list(_named(table))
    if max((one.cell_len for one in named), default=0) <= width:
        return Group(*_around(table, iter(named)))
    return Group(*_around(table, _lists(table, width, console)))


def _room(table: Table, width: int) -> int:
    """What borders and the spaces inside them leave."""
    return width - 3 * len(table.columns) - 1


def _widths(table: Table, width: int) -> list[int]:
    """Each column's width: what it needs, and of the rest what the columns before it leave; none where it is too much.

    A word of a head is never broken, nor a cell that is no prose.
    """
    widths = [_least(column) for column in table.columns]
    rest = _room(table, width) - sum(widths)
    if rest < 0:
        return []
    for i, wanted in enumerate(_most(table)):
        more = min(rest, max(0, wanted - widths[i]))
        widths[i] += more
        rest -= more
    return widths


def _most(table: Table) -> list[int]:
    return [_longest(_lines(column, _words(column.header))) for column in table.columns]


def _cells(table: Table) -> list[tuple[RenderableType, ...]]:
    return [tuple(column.cells) for column in table.columns]


def _with(table: Table, rows: Sequence[Sequence[RenderableType]], widths: Sequence[int]) -> Table:
    """The same columns, this wide, with these of the rows."""
    made = copy(table)
    made.columns = [
        replace(column, width=wide, _cells=[row[i] for row in rows])
        for i, (column, wide) in enumerate(zip(table.columns, widths, strict=True))
    ]
    if len(rows) != len(table.rows):
        made.rows = [Row() for _ in rows]
    return made


def _stacked(table: Table) -> Table:
    """What names a row, but for its first cell, in one column, its parts below one another; intervals below values."""
    leading = _leading(table.columns)
    made = Table(box=box.SIMPLE_HEAD, header_style=table.header_style)
    made.add_column("")
    for column in table.columns[leading:]:
        made.add_column(_words(column.header), justify="right", style=column.style)
    for row in zip(*_cells(table), strict=True):
        names, values = [_words(cell) for cell in row[1:leading]], [_words(cell) for cell in row[leading:]]
        made.add_row(Text("\n".join(filter(None, names))), *(Text(_INTERVAL.sub("\n", value)) for value in values))
    return made


def _tables(table: Table, stacked: Table, widths: Sequence[int]) -> Iterator[RenderableType]:
    """The stacked rows, a table for each first cell."""
    rows = zip(table.columns[0].cells, zip(*_cells(stacked), strict=True), strict=True)
    for first, block in itertools.groupby(rows, key=lambda row: _words(row[0])):
        yield Text(first, style="bold")
        yield _with(stacked, [row for _, row in block], widths)


def _named(table: Table) -> Iterator[Text]:
    """A block for each first cell: the heads, and for each row its names on a line above its values."""
    leading = _leading(table.columns)
    columns = table.columns[leading:]
    values = [[_INTERVAL.sub("\n", _words(cell)).splitlines() for cell in column.cells] for column in columns]
    heads = [_words(column.header).split() for column in columns]
    widths = [
        max(_longest(head), _longest(list(itertools.chain(*cells)))) for head, cells in zip(heads, values, strict=True)
    ]
    folded = [_folded(head, wide) for head, wide in zip(heads, widths, strict=True)]
    highest = max(map(len, folded), default=0)
    folded = [[""] * (highest - len(head)) + head for head in folded]
    styles = [column.style for column in columns]
    names = [
        " · ".join(filter(None, (" ".join(_words(cell).split()) for cell in row))) for row in _leads(table, leading)
    ]
    for first, block in itertools.groupby(enumerate(table.columns[0].cells), key=lambda pair: _words(pair[1])):
        yield Text(first, style="bold")
        yield from _aligned(folded, widths, [table.header_style] * len(widths))
        for row, _ in block:
            yield Text(f"  {names[row]}", style="italic")
            yield from _aligned([cells[row] for cells in values], widths, styles)


def _leads(table: Table, leading: int) -> Iterator[tuple[RenderableType, ...]]:
    """What names each row but for its first cell."""
    return (row[1:leading] for row in zip(*_cells(table), strict=True))


def _folded(words: Sequence[str], width: int) -> list[str]:
    """These words in as few lines of this width as they go into."""
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _aligned(cells: Sequence[Sequence[str]], widths: Sequence[int], styles: Sequence[StyleType]) -> Iterator[Text]:
    """The lines of cells beside one another, each at its column's right edge."""
    for line in itertools.zip_longest(*cells, fillvalue=""):
        told = Text()
        for part, wide, style in zip(line, widths, styles, strict=True):
            told.append(f"  {' ' * (wide - cell_len(part))}{part}", style=style)
        told.rstrip()
        yield told


def _around(table: Table, blocks: Iterator[RenderableType]) -> Iterator[RenderableType]:
    """The blocks between the table's title and its caption."""
    if table.title:
        yield Text(_words(table.title), style="bold")
    yield from blocks
    if table.caption:
        yield Text(_words(table.caption), style="dim")


def _least(column: Column) -> int:
    """What a column needs: its longest number whole, and the longest word of its head and of prose."""
    lines = _lines(column)
    words = [word for line in lines for word in line.split()]
    whole = _longest(lines)
    return max(
        _longest(_words(column.header).split()),
        whole if whole <= LONGEST_NUMBER else max(NARROWEST_PROSE, _longest(words)),
    )


def _lines(column: Column, *more: str) -> list[str]:
    return [line for text in (*map(_words, column.cells), *more) for line in text.splitlines()]


def _words(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _longest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _lists(table: Table, width: int, console: Console) -> Iterator[RenderableType]:
    """The rows with the same first cell under it as a heading; each row's values below one another."""
    leading = _leading(table.columns)
    rows = zip(*_cells(table), strict=True)
    for first, block in itertools.groupby(rows, key=lambda row: " ".join(_words(row[0]).split())):
        yield Text(first, style="bold")
        for row in block:
            if names := [name for cell in row[1:leading] if (name := " ".join(_words(cell).split()))]:
                yield Text("  " + " · ".join(names), style="italic")
            yield from _values(table.columns[leading:], row[leading:], width, console)


def _leading(columns: Sequence[Column]) -> int:
    """How many of the first columns name what the others are about."""
    numbers = [i for i, column in enumerate(columns) if column.justify == "right"]
    return max(1, numbers[0]) if numbers else 1


def _values(columns: Sequence[Column], row: Sequence[RenderableType], width: int, console: Console) -> Iterator[Text]:
    heads = [" ".join(_words(column.header).split()) for column in columns]
    beside = min(_longest(heads), width - BESIDE - 5)
    for head, column, cell in zip(heads, columns, row, strict=True):
        lines = [
            piece.plain.rstrip()
            for part in _INTERVAL.split(_words(cell))
            for piece in Text(part).wrap(console, width - beside - 5)
        ]
        below = cell_len(head) > beside
        if not any(lines):
            continue
        if below:
            yield Text(f"    {head}", style=column.style)
        for n, line in enumerate(lines):
            name = "" if below or n else head
            yield Text(f"    {name}{' ' * (beside - cell_len(name))} {line}", style=column.style)
