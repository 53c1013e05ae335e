"""Equal-sized pieces of bytes by name in one memory-mapped file: any process adds, all read, and a size is kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPARED = 5e9
"""Bytes that are always left free on the disk."""


class Shelf:
    """A folder with the pieces and their list. What was cut short by a kill, or changed on the disk, is not there."""

    def __init__(self, folder: Path, size: int, most: float) -> None:
        self.folder, self.size, self.most = folder, size, most
        folder.mkdir(parents=True, exist_ok=True)
        self._data = folder / "pieces.bin"
        self._open = threading.Lock()
        self._mapped: NDArray[np.uint8] = np.empty((0, size), np.uint8)
        with self._list() as told:
            told.execute("create table if not exists pieces (name text primary key, place integer, crc integer)")
            told.commit()
        self._known: dict[str, tuple[int, int]] = {}
        self._read_list()

    def _list(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.folder / "list.sqlite", timeout=60))

    def _read_list(self) -> None:
        with self._list() as told:
            self._known = {name: (place, crc) for name, place, crc in told.execute("select * from pieces")}

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
            found = told.execute("select place, crc from pieces where name = ?", (name,)).fetchone()
        if found:
            self._known[name] = (int(found[0]), int(found[1]))
        return self._known.get(name)

    def _piece(self, place: int) -> NDArray[np.uint8] | None:
        with self._open:
            if place >= len(self._mapped):
                whole = self._data.stat().st_size // self.size if self._data.exists() else 0
                if place >= whole:
                    return None
                self._mapped = np.memmap(self._data, np.uint8, "r", shape=(whole, self.size))
            return np.array(self._mapped[place])

    def put(self, name: str, piece: NDArray[np.uint8]) -> None:
        """Keep this piece; OSError where there is no room for it."""
        with self._list() as told:
            told.execute("begin immediate")  # one process at a time finds a place and fills it
            place = int(told.execute("select count(*) from pieces").fetchone()[0])
            kept = told.execute("select place from pieces where name = ?", (name,)).fetchone()
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
