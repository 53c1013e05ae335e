"""Add records to a file so that they outlive the process, and what a kill tore off is cut."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import durable
from harness.records import Record

SOON = 0.25
"""Seconds: no disk is made to flush oftener."""


def _nothing() -> None:
    """What is done where nothing is to be."""


class Journal:
    """An open ``records.jsonl``: what is appended survives the process, and a torn last line is cut off first.

    OSError, with its path, where the disk is full or gone, or takes no additions: what was appended before is kept, and
    a line that was cut short is passed over by readers and cut off by the next journal. ``before_first`` is called
    before the first record.
    """

    def __init__(self, path: Path, before_first: Callable[[], None] = _nothing) -> None:
        self.path, self._before_first = path, before_first
        path.parent.mkdir(parents=True, exist_ok=True)
        with _about(path):
            cut_torn_line(path)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        durable.flush_folder(path.parent)
        self._flushed = time.monotonic()  # a clock that nobody sets

    def append(self, records: list[Record], batch_ends: bool = False) -> None:
        """Add these records, each line whole; after the last of a batch they survive the machine as well.

        Batches that end within a quarter of a second of each other are flushed together.
        """
        if records:
            self._before_first()
            self._before_first = _nothing
        data = memoryview("".join(record.line() for record in records).encode())
        with _about(self.path):
            while data:
                data = data[os.write(self._file, data) :]
            if batch_ends and time.monotonic() - self._flushed > SOON:
                durable.flush(self._file)
                self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush to the disk and close."""
        try:
            with _about(self.path):
                durable.flush(self._file)
        finally:
            os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    """An error of the disk says which file it is about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def cut_torn_line(path: Path) -> None:
    """Takes away what a kill left of a last line that was being written."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
