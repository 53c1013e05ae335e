"""Rows of a data file, every field checked where it is read: file, line, value and what would be right are named."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BrokenDataError, DataError

LONGEST_NAME, LONGEST_PATH = 255, 1024
"""The most bytes that every file system gives one part of a path, and the whole."""

_BLANK = re.compile(r"[ \t\r\n]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a data file and where it stands; a field that is not what it must be is a DataError."""

    path: Path
    line: int
    fields: Mapping[str, Any]

    def wrong(self, what: str) -> BrokenDataError:
        """What to raise about this row: file, line, and what is wrong."""
        return BrokenDataError(f"{self.path}, line {self.line}: {what}")

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.fields.get(key) is not None

    def given(self, key: str) -> Any:
        """The field, whatever it is; DataError where it is missing."""
        if key not in self.fields:
            raise self.wrong(f"has no '{key}'; it has {', '.join(map(repr, self.fields)) or 'no fields'}")
        return self.fields[key]

    def __getitem__(self, key: str) -> Any:
        """``row["image"]``: the field as it stands, unchecked; DataError where it is missing."""
        return self.given(key)

    def text(self, key: str) -> str:
        """The field as text that is not blank."""
        return self._one(key, self.given(key), _is_text, "text")  # type: ignore[no-any-return]

    def texts(self, key: str) -> list[str]:
        """The field as a list of texts; it may be empty."""
        return [self._one(key, one, _is_string, "a list of texts") for one in self._list(key, "a list of texts")]

    def id(self, key: str) -> str:
        """The field as an id: a whole number or a text that is not blank."""
        said = self.given(key)
        return str(self._one(key, said, lambda one: _is_whole(one) or _is_text(one), "a whole number or text"))

    def yes_no(self, key: str) -> str:
        """``yes`` or ``no``, whatever its case and the space around it."""
        said = self.given(key)
        return self._one(key, said, lambda one: _is_string(one) and _plain(one) in ("yes", "no"), "yes or no", _plain)  # type: ignore[no-any-return]

    def one_of(self, key: str, known: Iterable[str]) -> str:
        """The field as one of these words."""
        words = list(known)
        return self._one(  # type: ignore[no-any-return]
            key, self.given(key), lambda one: _is_string(one) and one in words, f"one of {', '.join(words)}"
        )

    def number(self, key: str, known: Iterable[str]) -> str:
        """The field as one of these numbers, written as a number or as text."""
        words, said = list(known), self.given(key)
        right = f"one of {', '.join(words)}"
        return self._one(key, said, lambda one: (_is_whole(one) or _is_string(one)) and str(one) in words, right, str)  # type: ignore[no-any-return]

    def index(self, key: str, count: int) -> int:
        """The field as the number of one of ``count`` things, the first being 0."""
        right = f"a whole number from 0 to {count - 1}"
        return self._one(key, self.given(key), lambda one: _is_whole(one) and 0 <= one < count, right)  # type: ignore[no-any-return]

    def flags(self, key: str, count: int) -> list[bool]:
        """The field as a list of ``count`` flags, each 0 or 1."""
        said = self._list(key, f"a list of {count} times 0 or 1")
        if len(said) != count:
            raise self.wrong(f"'{key}' has {len(said)} entries for {count} captions")
        return [bool(self._one(key, one, lambda one: _is_whole(one) and one in (0, 1), "0 or 1")) for one in said]

    def file_name(self, key: str) -> str:
        """The field as the name of a file that can exist: no control characters, no part longer than 255 bytes."""
        return self._one(key, self.text(key), can_be_a_file, "the name of a file")  # type: ignore[no-any-return]

    def positive(self, key: str) -> float:
        """The field as a finite number above 0."""
        said = self.given(key)
        right = "a number above 0"
        return self._one(key, said, lambda one: not isinstance(one, bool) and 0 < one < float("inf"), right, float)  # type: ignore[no-any-return]

    def _list(self, key: str, right: str) -> list[Any]:
        return self._one(key, self.given(key), lambda one: isinstance(one, list), right)  # type: ignore[no-any-return]

    def _one(
        self, key: str, said: Any, fits: Callable[[Any], bool], right: str, read: Callable[[Any], Any] = lambda x: x
    ) -> Any:
        try:
            if fits(said):
                return read(said)
        except TypeError:  # a comparison of what does not compare
            pass
        raise self.wrong(f"'{key}' is {shown(said)}; right would be {right}")


def shown(said: Any) -> str:
    """A value as an error names it: as JSON writes it, cut where it is long."""
    told = json.dumps(said, ensure_ascii=False, default=str)
    return told if len(told) <= 60 else told[:57] + "…"


def _is_string(said: Any) -> bool:
    return isinstance(said, str)


def _is_text(said: Any) -> bool:
    return isinstance(said, str) and bool(said.strip())


def _is_whole(said: Any) -> bool:
    return isinstance(said, int) and not isinstance(said, bool)


def _plain(said: str) -> str:
    return said.strip().lower()


def can_be_a_file(name: str) -> bool:
    """Whether a file may have this name: no control characters, no part of more than 255 bytes, 1024 in all."""
    parts = name.replace("\\", "/").split("/")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return False
    return len(name.encode()) <= LONGEST_PATH and all(len(part.encode()) <= LONGEST_NAME for part in parts)


def text_of(path: Path) -> str:
    """The file's text; DataError where it is missing, cannot be opened or is not UTF-8."""
    if not path.is_file():
        raise DataError(f"{path} is missing; docs/data.md says where the files come from")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BrokenDataError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def parse(text: str) -> Any:
    """The one JSON value that this text is; ValueError says what is wrong, whatever the parser stumbles over."""
    value, end = decoded(text, _after_blank(text, 0))
    if _after_blank(text, end) != len(text):
        raise ValueError("there is more after the end of the JSON value")
    return value


def decoded(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that starts here and where it ends; ValueError says why there is none.

    Refused: NaN and infinity, a key that stands twice in one object, half a surrogate pair (no text at all), nesting
    deeper than the parser goes and numbers of thousands of digits.
    """
    try:
        value, end = _DECODER.raw_decode(text, at)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except json.JSONDecodeError as error:
        raise ValueError(error.msg) from error
    if _ESCAPED_SURROGATE.search(text, at, end):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("it holds half a surrogate pair, which is no text") from error
    return value, end


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' stands twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_object)


def _after_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def json_of(path: Path) -> Any:
    """The file's one JSON value; DataError where it is none."""
    try:
        return parse(text_of(path))
    except ValueError as error:
        raise BrokenDataError(f"{path} is not JSON ({error}); the file may be cut off") from error


def object_of(path: Path) -> dict[str, Any]:
    """The file's one JSON object; DataError where it is something else."""
    found = json_of(path)
    if not isinstance(found, dict):
        raise BrokenDataError(f"{path} holds {shown(found)}; right would be one JSON object")
    return found


def settings_of(path: Path, known: Iterable[str]) -> Row:
    """What a data folder says of how it is read: the file's one object, empty where there is no such file.

    DataError where it is something else, or says what none of ``known`` is: a slip of the pen would go unheeded.
    """
    row = Row(path, 1, object_of(path) if path.exists() else {})
    if odd := [key for key in row.fields if key not in set(known)]:
        raise row.wrong(f"{shown(odd[0])} is not known; there is {' and '.join(known)}")
    return row


def rows(path: Path) -> list[Row]:
    """The objects of a file, at least one: one a line, one after another, or in one JSON list.

    DataError names the line of what is no object, or breaks off.
    """
    found = [Row(path, line, _as_object(path, line, value)) for line, value in _values(path, text_of(path))]
    if not found:
        raise BrokenDataError(f"{path} holds no rows")
    return found


def _as_object(path: Path, line: int, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BrokenDataError(f"{path}, line {line}: not a JSON object but {shown(value)}")
    return value


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Each value of the file with the line it starts on."""
    at, line, counted = _after_blank(text, 0), 1, 0
    listed = text[at : at + 1] == "["
    at = _after_blank(text, at + 1) if listed else at
    while at < len(text) and not (listed and text[at] == "]"):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoded(text, at)
            yield line, value
            at = _after_comma(text, at) if listed else _after_blank(text, at)
        except ValueError as error:
            raise BrokenDataError(f"{path}, line {line}: not JSON ({error}); the file may be cut off") from error
    if listed and text[at:].strip() != "]":
        raise BrokenDataError(f"{path}: the list is cut off, or there is more after its end")


def _after_comma(text: str, at: int) -> int:
    at = _after_blank(text, at)
    if text[at : at + 1] == ",":
        return _after_blank(text, at + 1)
    if text[at : at + 1] != "]":
        raise ValueError("the list is cut off or has no comma behind this")
    return at


def distinct(found: Iterable[Row], key: str) -> None:
    """DataError where two of these rows have the same id in this field: the second is named, with the first's line."""
    seen: dict[str, int] = {}
    for row in found:
        if not row.has(key):
            continue
        id = row.id(key)
        if id in seen:
            raise row.wrong(f"'{key}' {id} stands on line {seen[id]} already")
        seen[id] = row.line
