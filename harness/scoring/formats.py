"""The rows of a file of answers, whatever holds them: a JSON list, JSON objects in a row, a table, a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import packed
from harness.errors import DataError, UsageError
from harness.scoring import fields

Row = Mapping[str, Any]
Numbered = tuple[int, Row]
"""A row and the line it starts on."""

LARGEST = 2**30
"""The most bytes that a compressed file may come to."""
_BLANK = re.compile(r"[ \t\r\n]*")


def wrong(path: Path, line: int, id: object, what: str) -> UsageError:
    """A UsageError that names file, line and id."""
    about = f", id {str(id)[:80]}" if id is not None else ""
    return UsageError(f"{path}, line {line}{about}: {what}")


def rows(path: Path) -> list[Numbered]:
    """Every row of this file with its line; UsageError names file and line of what cannot be read."""
    data = _data(path)
    if data.startswith(b"PK\x03\x04"):
        return list(_sheet(path, data))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise wrong(path, line, None, f"not UTF-8 text ({error.reason})") from error
    start = text.lstrip()[:1]
    if start == "[":
        return _objects(path, list(_items(path, text)))
    if start == "{":
        return _objects(path, _unwrapped(list(_in_a_row(path, text))))
    head = text.partition("\n")[0]
    if "\t" in head or "," in head:
        return list(_table(path, text, "\t" if "\t" in head else ","))
    raise wrong(
        path, 1, None, "neither a JSON list, nor JSON objects, nor a table with tabs or commas, nor a spreadsheet"
    )


def _data(path: Path) -> bytes:
    """The file's bytes, unpacked where they are Zstandard's."""
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if not data.startswith(packed.MAGIC):
        return data
    try:
        with packed.opened(path) as file:
            data = file.read(LARGEST + 1)
    except DataError as error:
        raise UsageError(str(error)) from error
    if len(data) > LARGEST:
        raise UsageError(f"{path} unpacks to more than {LARGEST:,} bytes; no answers are so many")
    return data


def _objects(path: Path, found: Sequence[tuple[int, Any]]) -> list[Numbered]:
    for line, row in found:
        if not isinstance(row, dict):
            raise wrong(path, line, None, f"an answer is a JSON object, this is {type(row).__name__}")
    return list(found)


def _unwrapped(found: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """The rows inside a single object that holds one list of objects, as chair.py's output does under ``sentences``."""
    if len(found) != 1 or not isinstance(found[0][1], dict):
        return found
    line, whole = found[0]
    lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    return [(line, row) for row in lists[0]] if len(lists) == 1 else found


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object; ValueError where a name comes twice, as one of the two values would be lost."""
    made = dict(pairs)
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
