"""Equal-sized pieces of bytes by name in one file: any process adds, all read, and a size is kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.kept_rows import ERRORS, discarded, is_damage, opened

WHOLE = (
    "create temp view whole as select name, place, crc from pieces where typeof(place) = 'integer' "
    "and typeof(crc) = 'integer' and place between 0 and (select count(*) from pieces)"
)
"""The list without what only a damaged one holds: places are given one after another."""
SPARED = 5e9
"""Bytes that are always left free on the disk."""


class Shelf:
    """A folder with the pieces and their list. What was cut short by a kill, or changed on the disk, is not there."""

    def __init__(self, folder: Path, size: int, most: float) -> None:
        self.folder, self.size, self.most = folder, size, most
        folder.mkdir(parents=True, exist_ok=True)
        self._data = folder / "pieces.bin"
        self._known: dict[str, tuple[int, int]] = {}
        try:
            self._read_list()
        except ERRORS as error:
            if not (is_damage(error) and discarded(self._listed)):
                raise
            self._read_list()

    @property
    def _listed(self) -> Path:
        return self.folder / "list.sqlite"

    def _list(self) -> closing[sqlite3.Connection]:
        return opened(self._listed, WHOLE)

    def _read_list(self) -> None:
        with self._list() as told:
            told.execute("create table if not exists pieces (name text primary key, place integer, crc integer)")
            told.commit()
            self._known = {name: (place, crc) for name, place, crc in told.execute("select * from whole")}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def get(self, name: str) -> NDArray[np.uint8] | None:
        """The piece of this name [size], or None where it is not there whole."""
        found = self._known.get(name) or self._added_since(name)
        if found is None:
            return None
        place, crc = found
        piece = self._piece(place)
        return piece if piece is not None and zlib.crc32(piece.tobytes()) == crc else None

    def _added_since(self, name: str) -> tuple[int, int] | None:
        """Where another process has put this piece since the list was read."""
        with self._list() as told:
            found = told.execute("select place, crc from whole where name = ?", (name,)).fetchone()
        if found:
            self._known[name] = (int(found[0]), int(found[1]))
        return self._known.get(name)

    def _piece(self, place: int) -> NDArray[np.uint8] | None:
        """What lies there; read and not mapped, as a file that is cut while it is mapped ends the process."""
        if not self._data.exists():
            return None
        with self._data.open("rb") as file:
            file.seek(place * self.size)
            found = file.read(self.size)
        return np.frombuffer(found, np.uint8).copy() if len(found) == self.size else None

    def put(self, name: str, piece: NDArray[np.uint8]) -> None:
        """Keep this piece; OSError where there is no room for it."""
        with self._list() as told:
            told.execute("begin immediate")  # one process at a time finds a place and fills it
            place = int(told.execute("select coalesce(max(place), -1) + 1 from whole").fetchone()[0])
            kept = told.execute("select place from whole where name = ?", (name,)).fetchone()
            if kept is None:
                self._want_room()
            place = place if kept is None else int(kept[0])
            self._write(place, piece)
            crc = zlib.crc32(piece.tobytes())
            told.execute("insert or replace into pieces values (?, ?, ?)", (name, place, crc))
            told.commit()
        self._known[name] = (place, crc)

    def _want_room(self) -> None:
        used = sum(path.stat().st_size for path in self.folder.parent.glob("*/pieces.bin"))
        if used + self.size > self.most:
            raise OSError(f"the {self.most / 1e9:g} GB for them are full")
        if shutil.disk_usage(self.folder).free < SPARED + self.size:
            raise OSError(f"less than {SPARED / 1e9:g} GB are free on the disk of {self.folder.parent}")

    def _write(self, place: int, piece: NDArray[np.uint8]) -> None:
        file = os.open(self._data, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.lseek(file, place * self.size, os.SEEK_SET)
            rest = memoryview(piece.tobytes())
            while rest:
                rest = rest[os.write(file, rest) :]
        finally:
            os.close(file)
