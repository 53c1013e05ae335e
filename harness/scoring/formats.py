"""The rows of a file of answers, whatever holds them: a JSON list, JSON objects in a row, a table, a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.scoring import contents, fields, wrapped

Row = Mapping[str, Any]
Numbered = tuple[int, Row]
"""A row and the line it starts on."""

_BLANK = re.compile(r"[ \t\r\n]*")


def wrong(path: Path, line: int, id: object, what: str) -> UsageError:
    """A UsageError that names file, line and id."""
    about = f", id {str(id)[:80]}" if id is not None else ""
    return UsageError(f"{path}, line {line}{about}: {what}")


def rows(path: Path) -> list[Numbered]:
    """Every row of this file with its line; UsageError names file and line of what cannot be read."""
    data = contents.contents(path)
    if data.startswith(b"PK\x03\x04"):
        return list(_sheet(path, data))
    if contents.is_parquet(data):
        return list(enumerate(contents.of_parquet(path, data), 1))
    text = contents.text(path, data)
    start = text.lstrip()[:1]
    if start == "[":
        return _objects(path, list(_items(path, text)))
    if start == "{":
        return _objects(path, wrapped.rows(list(_in_a_row(path, text))))
    mark = _mark(text.partition("\n")[0])
    if mark:
        return list(_table(path, text, mark))
    raise wrong(path, 1, None, contents.unknown(text))


def _mark(head: str) -> str:
    """What stands between the names of a table's first line; nothing where it is none."""
    if "\t" in head:
        return "\t"
    return max(",;|", key=head.count) if any(mark in head for mark in ",;|") else ""


def _objects(path: Path, found: Sequence[tuple[int, Any]]) -> list[Numbered]:
    for line, row in found:
        if not isinstance(row, dict):
            raise wrong(path, line, None, f"an answer is a JSON object, this is {type(row).__name__}")
    return list(found)


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_once)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object; ValueError where a name comes twice, or NaN, as Python writes it, stands where it matters."""
    made = dict(pairs)
    for name, value in pairs:
        if isinstance(value, float) and not isfinite(value) and fields.role(name) not in (None, "about"):
            raise ValueError(f"{json.dumps(value)} is not a JSON value")
    if len(made) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"{twice!r:.80} stands twice in one object")
    return made


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error) or type(error).__name__


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _items(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Each item of a JSON list with the line it starts on."""
    decode = _decoder().raw_decode
    at, line, counted, first = text.index("[") + 1, 1, 0, True
    while True:
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            break
        if not first:
            if text[at : at + 1] != ",":
                raise wrong(path, text.count("\n", 0, at) + 1, None, "the list is cut off or has no comma here")
            at = _skip(text, at + 1)
        line, counted, first = line + text.count("\n", counted, at), at, False
        try:
            item, at = decode(text, at)
        except (ValueError, RecursionError) as error:
            raise wrong(path, line, None, f"not JSON ({_reason(error)}); the file may be cut off") from error
        yield line, item
    rest = text[at + 1 :].strip()
    if rest:
        raise wrong(path, text.count("\n", 0, at) + 1, None, f"there is more after the list's end: {rest[:40]!r}")


def _in_a_row(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Each of the objects that stand one after another, one a line or over several lines."""
    decode = _decoder().raw_decode
    at, line, counted = _skip(text, 0), 1, 0
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        try:
            item, at = decode(text, at)
        except (ValueError, RecursionError) as error:
            raise wrong(path, line, None, f"not JSON ({_reason(error)}); the file may be cut off") from error
        yield line, item
        at = _skip(text, at)


def _sheet(path: Path, data: bytes) -> Iterator[Numbered]:
    """The rows of a spreadsheet's first sheet, under the names of its first row."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise UsageError(
            f"{path} is a spreadsheet; reading it needs openpyxl: pip install 'ohd-bench[xlsx]'"
        ) from error
    import zlib
    from zipfile import BadZipFile

    # what zipfile, the XML parser and openpyxl raise over damaged bytes
    damage: tuple[type[BaseException], ...] = (
        BadZipFile, InvalidFileException, zlib.error, EOFError, OSError, SyntaxError,
        KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError,
    )  # fmt: skip
    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        found = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    except damage as error:
        raise wrong(path, 1, None, f"a damaged spreadsheet, or another kind of zip file ({error})") from error
    names = _names(path, ["" if name is None else str(name) for name in found[0]] if found else [])
    for number, row in enumerate(found[1:], 2):
        if any(cell is not None for cell in row):
            yield number, dict(zip(names, row, strict=False))


def _names(path: Path, names: Sequence[str]) -> Sequence[str]:
    """The column names; UsageError where one comes twice, as one of the two columns would be lost."""
    twice = [name for name, times in Counter(name for name in names if name).items() if times > 1]
    if twice:
        raise wrong(path, 1, None, f"two columns are called {twice[0]!r:.80}")
    return names


def _table(path: Path, text: str, mark: str) -> Iterator[Numbered]:
    """The rows of a table, under the names of its first line; what a quote left open swallows is told."""
    csv.field_size_limit(2**30)  # a column may hold pictures
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    names: Sequence[str] | None = None
    line = 1
    try:
        for cells in reader:
            if names is None:
                names = _names(path, cells)
            elif cells:
                yield line, _row(path, line, names, cells, mark)
            line = reader.line_num + 1
    except csv.Error as error:
        raise wrong(path, line, None, f"not a table ({error}); is a quote left open here?") from error


def _row(path: Path, line: int, names: Sequence[str], cells: Sequence[str], mark: str) -> Row:
    if len(cells) != len(names):
        raise wrong(path, line, None, f"{len(cells)} cells under {len(names)} column names; the file may be cut off")
    for cell in cells:
        inside = [part for part in cell.split("\n")[1:] if _is_a_row(part, names, mark)] if "\n" in cell else []
        if inside:
            raise wrong(path, line, None, f"a quote is left open here: it swallows the row {inside[0][:60]!r}")
    return dict(zip(names, cells, strict=True))


def _is_a_row(line: str, names: Sequence[str], mark: str) -> bool:
    """Whether a line inside a cell is a row of the table: as many cells, and a number where the ids stand."""
    try:
        cells = next(csv.reader([line], delimiter=mark), [])
    except csv.Error:
        return False
    if len(cells) != len(names):
        return False
    numbered = [i for i, name in enumerate(names) if fields.role(name) in ("id", "place", "image")]
    return any(re.search(r"\d", cells[i]) and " " not in cells[i].strip() for i in numbered) or len(names) > 3
