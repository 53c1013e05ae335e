"""Files of lines kept compressed beside what was added since: read as one, and never one copy short of all lines."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO

from harness import durable, extras
from harness.errors import DataError

SUFFIX = ".zst"
LIBRARY = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
MAGIC = b"\x28\xb5\x2f\xfd"
"""How a Zstandard frame begins (RFC 8878, 3.1.1)."""
LEVEL = 9
"""Level 19 makes a sixth less of records, in forty times the time."""
LONGEST = 64 * 2**20
"""The most bytes that one line may come to: a small file may otherwise fill any memory."""


def files(path: Path) -> list[Path]:
    """The files that hold the lines of this one, in the order of the lines: what was compressed, what came since."""
    return [one for one in (beside(path), path) if one.exists()]


def beside(path: Path) -> Path:
    """Where the lines of this file are kept compressed."""
    return path.with_name(path.name + SUFFIX)


def lines(path: Path) -> Iterator[bytes]:
    """The lines of one file, compressed or not; DataError where it is damaged."""
    with path.open("rb") if path.suffix != SUFFIX else opened(path) as file:
        while line := file.readline(LONGEST + 1):
            if len(line) > LONGEST:
                raise DataError(f"{path} holds a line of more than {LONGEST:,} bytes; no record is so long")
            yield line


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """What this compressed file holds; DataError where it is damaged, UsageError where nothing here can read it."""
    zstd = _library()
    try:
        if not path.stat().st_size:  # to the library no bytes are no lines; here that has a frame as well
            raise EOFError("it is empty")
        with zstd.open(path, "rb") as file:
            yield file
    except (zstd.ZstdError, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}); take it from a copy") from error


def pack(path: Path) -> int:
    """Put all lines of this file, those that are compressed already before the others, into one compressed file.

    How many bytes the lines come to; 0 where none came since. The plain file goes when the compressed one is on the
    disk: whatever ends the process, every line is in one of the two, or in both. A last line that was torn is in
    neither. The caller holds the run. DataError where what is there is damaged.
    """
    before, since = (_whole(one) if one.exists() else b"" for one in (beside(path), path))
    if since and not before.endswith(since):  # as they do where a kill came before the plain file went
        durable.replace(beside(path), _compressed(path, before + since))
    if path.exists() and beside(path).exists():
        path.unlink()
        durable.flush_folder(path.parent)
    return len(before + since) if since else 0


def _whole(path: Path) -> bytes:
    return b"".join(line for line in lines(path) if line.endswith(b"\n"))


def _compressed(path: Path, content: bytes) -> bytes:
    zstd = _library()
    option = zstd.CompressionParameter
    made: bytes = zstd.compress(content, options={option.compression_level: LEVEL, option.checksum_flag: 1})
    if zstd.decompress(made) != content:
        raise DataError(f"{path} does not read back as it is compressed; nothing was changed")
    return made


def _library() -> ModuleType:
    """Zstandard as Python 3.14 has it, and as ``backports.zstd`` brings it to those before; UsageError without it."""
    try:
        return importlib.import_module(LIBRARY)
    except ModuleNotFoundError as error:
        raise extras.needs(LIBRARY) from error
