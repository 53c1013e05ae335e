"""Bytes by name in one file of the cache, each under a seal; whatever befalls the file costs time, and one remark."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from harness import console, digest

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds to wait for another process that writes the file."""
ELSEWHERE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""SQLite's codes for what is not the file's own fault: throwing it away would mend nothing."""
ERRORS = (OSError, sqlite3.Error, UnicodeDecodeError)
"""What using a file may raise, the last where SQLite quotes a damaged one that is no text."""
_told: set[Path] = set()


class KeptRows:
    """A file of bytes by name, safe for several processes; a damaged file is thrown away, a damaged row not given."""

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self._given_up: set[str] = set()

    def known(self, names: Iterable[str]) -> dict[str, bytes]:
        """What is kept under these names, as it was kept."""
        wanted = list(dict.fromkeys(names))
        return self._tried("reading", lambda file: _read(file, wanted)) or {}

    def keep(self, rows: Mapping[str, bytes]) -> None:
        """Keep these; where that cannot be, it is said once."""
        values = [(name, row, _seal(name, row)) for name, row in rows.items()]
        self._tried("writing", lambda file: _write(file, values))

    def _tried(self, doing: str, use: Callable[[sqlite3.Connection], T]) -> T | None:
        """What this use of the file gives; None where there is no way, which is not tried a second time."""
        while doing not in self._given_up:
            try:
                with self._open() as file:
                    return use(file)
            except ERRORS as error:
                if f"{doing} again" not in self._given_up and self._may_go(error):
                    self._given_up.add(f"{doing} again")
                    continue
                self._given_up.add(doing)
                self._tell(error)
        return None

    def _may_go(self, error: Exception) -> bool:
        """Whether a second try may go otherwise: without the damaged file, or as another cleared it under the first."""
        if is_damage(error):
            return discarded(self.path)
        return not isinstance(error, sqlite3.Error) or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY

    def _open(self) -> closing[sqlite3.Connection]:
        """The file, made where it is not there: it may be cleared at any moment."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return opened(self.path, "create table if not exists kept (name text primary key, row blob, seal text)")

    def _tell(self, error: Exception) -> None:
        """Say why, once a process: a run asks for the same file task after task."""
        if self.path not in _told:
            _told.add(self.path)
            console.say(f"{self.what} are not kept: {error}")


def opened(path: Path, first: str) -> closing[sqlite3.Connection]:
    """The SQLite file at this path after its first statement, to be closed; one of ``ERRORS`` where it takes none."""
    file = sqlite3.connect(path, timeout=PATIENCE)
    try:
        file.execute(first)
    except BaseException:
        file.close()
        raise
    return closing(file)


def is_damage(error: Exception) -> bool:
    """Whether a file that gives this error is better thrown away: no such file, or of another's making."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return not isinstance(error, OSError) and code & 0xFF not in ELSEWHERE  # the rest says more of the same kind


def discarded(path: Path) -> bool:
    """Throws an SQLite file away, and the journal with which the next of its name would be rolled back."""
    try:
        for ending in ("-journal", "-wal", "-shm", ""):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _read(file: sqlite3.Connection, names: Iterable[str]) -> dict[str, bytes]:
    found = {}
    for name in names:
        kept = file.execute("select row, seal from kept where name = ?", (name,)).fetchone()
        if kept and isinstance(kept[0], bytes) and kept[1] == _seal(name, kept[0]):
            found[name] = kept[0]
    return found


def _write(file: sqlite3.Connection, values: Iterable[tuple[str, bytes, str]]) -> None:
    file.executemany("insert or replace into kept values (?, ?, ?)", values)
    file.commit()


def _seal(name: str, row: bytes) -> str:
    return digest.of_bytes(name.encode() + b"\0" + row)[:16]
