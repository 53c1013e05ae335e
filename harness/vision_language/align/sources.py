"""Where training rows lie: LLaVA's JSON array, JSON lines, or a folder of images with a text beside each.

A source names each row's place once, while the file is read through in pieces, and reads a row again from its place.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harness.errors import BrokenDataError, DataError
from harness.rows import decoded, parse

CHUNK = 1 << 20
LONGEST_ROW = 1 << 26
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_BETWEEN = re.compile(r"[\s,]*")


class Place(NamedTuple):
    """Where a row lies in its source: the first byte and how many."""

    start: int
    size: int


class Source(Protocol):
    """A file or folder of rows."""

    path: Path

    def rows(self) -> Iterator[tuple[Place, Any]]:
        """Every row with its place, read in pieces."""

    def row(self, place: Place) -> Any:
        """The row that lies there."""


def source(path: Path) -> Source:
    """What reads the rows of this file or folder; DataError where it is neither."""
    if path.is_dir():
        return Sidecars(path)
    if not path.is_file():
        raise DataError(f"there are no conversations or captions at {path}")
    with path.open("rb") as file:
        first = file.read(CHUNK).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if first == b"[":
        return Array(path)
    if first == b"{":
        return Lines(path)
    raise DataError(f"{path} holds no rows: LLaVA's conversations are a JSON list, captions one JSON object a line")


class _File:
    """A file that is read at given places, in whichever process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, int] | None = None  # process and descriptor; a forked worker opens its own

    def row(self, place: Place) -> Any:
        """The row that lies there."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), os.open(self.path, os.O_RDONLY))
        return parse(os.pread(self._opened[1], place.size, place.start).decode("utf-8-sig"))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_opened": None}


class Lines(_File):
    """One JSON object a line."""

    def rows(self) -> Iterator[tuple[Place, Any]]:
        """Every line's object with its place; DataError names the line that is none."""
        at = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield Place(at, len(line)), parse(line.decode("utf-8-sig"))
                    except ValueError as error:
                        raise BrokenDataError(f"{self.path}, line {number}: not JSON ({error})") from error
                at += len(line)


class Array(_File):
    """A JSON list of objects, such as LLaVA's; read through without holding more than a piece of it."""

    def rows(self) -> Iterator[tuple[Place, Any]]:
        """Every object with its place; DataError says where the list breaks off."""
        with self.path.open("rb") as file:
            window = _Window(file)
            try:
                window.skip("[")
                while not window.skip("]"):
                    yield window.item()
                if not window.is_over():
                    raise ValueError("there is more after the list's end; one file holds one list")
            except ValueError as error:
                raise BrokenDataError(f"{self.path}: the JSON breaks off at byte {window.start}: {error}") from error


class _Window:
    """A piece of a file as text, with the place in bytes of its first character."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.text, self.at, self.start, self.ended = "", 0, 0, False
        self._more(CHUNK)
        if self.text.startswith("\ufeff"):
            self._pass(1)

    def skip(self, mark: str) -> bool:
        """Passes over spaces and commas, and over this mark if it comes next; False if it does not."""
        self._pass(_BETWEEN.match(self.text, self.at).end() - self.at)  # type: ignore[union-attr]
        while self.at == len(self.text) and not self.ended:
            self._more(CHUNK)
            self._pass(_BETWEEN.match(self.text, self.at).end() - self.at)  # type: ignore[union-attr]
        if not self.text.startswith(mark, self.at):
            return False
        self._pass(1)
        return True

    def is_over(self) -> bool:
        """Whether nothing but space is left of the file."""
        while not self.text[self.at :].strip() and not self.ended:
            self._more(CHUNK)
        return not self.text[self.at :].strip()

    def item(self) -> tuple[Place, Any]:
        """The next object and its place; ValueError where there is none."""
        want = CHUNK
        while True:
            try:
                found, end = decoded(self.text, self.at)
                break
            except ValueError:
                if self.ended or len(self.text) - self.at > LONGEST_ROW:
                    raise
            self._more(want)
            want *= 2
        start = self.start
        self._pass(end - self.at)
        return Place(start, self.start - start), found

    def _pass(self, characters: int) -> None:
        piece = self.text[self.at : self.at + characters]
        self.start += len(piece) if piece.isascii() else len(piece.encode())
        self.at += characters

    def _more(self, size: int) -> None:
        data = self.file.read(size)
        self.ended = not data
        self.text = self.text[self.at :] + self.decoder.decode(data, self.ended)
        self.at = 0


class Sidecars:
    """A folder of images, each with its caption in a ``.txt`` of the same name beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files = (file for file in path.rglob("*") if file.suffix.lower() in PICTURES and file.is_file())
        found = sorted(str(file.relative_to(path)) for file in files)
        self.names = "\n".join(found).encode()  # one string, not half a million

    def rows(self) -> Iterator[tuple[Place, Any]]:
        """Every image with its caption."""
        at = 0
        for name in self.names.split(b"\n") if self.names else ():
            place = Place(at, len(name))
            yield place, self.row(place)
            at += len(name) + 1

    def row(self, place: Place) -> Any:
        """The image that is named there, with its caption; an empty one where it has none, None where it is no text."""
        name = self.names[place.start : place.start + place.size].decode()
        text = (self.path / name).with_suffix(".txt")
        try:
            return {"image": name, "text": text.read_text(encoding="utf-8-sig").strip() if text.is_file() else ""}
        except (UnicodeDecodeError, OSError):
            return {"image": name, "text": None}
