"""What a file of answers holds: unpacked where it is packed, decoded from any Unicode, named where it is no text."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from harness import packed
from harness.errors import DataError, UsageError

LARGEST = 2**30
"""The most bytes that a compressed file may come to."""
READ = "read are JSON, lines of JSON, tables (tabs, commas, semicolons), xlsx and parquet; gzip, bz2, xz, zstd, zip"

_PACKED: Mapping[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda data: gzip.GzipFile(fileobj=data),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
# what the packers and zipfile raise over damaged bytes, passwords and methods that are not known
_DAMAGE: tuple[type[BaseException], ...] = (
    OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile,
    RuntimeError, NotImplementedError, ValueError, struct.error, KeyError, IndexError, OverflowError,
)  # fmt: skip
_OTHERS: Mapping[bytes, str] = {
    b"\x80": "a pickle or a file of torch, which is not read as it could run code",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a numpy file",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (xls)",
    b"SQLite": "a database",
    b"ARROW1": "an Arrow file",
    b"%PDF": "a PDF",
    b"<": "a page of HTML or XML",
}


def contents(path: Path) -> bytes:
    """The file's bytes, unpacked; UsageError says why there are none."""
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith(packed.MAGIC):
        try:
            with packed.opened(path) as file:
                data = _bounded(path, file)
        except DataError as error:
            raise UsageError(str(error)) from error
    for _ in range(3):  # a .json.gz in a .zip
        unpacked = _unpacked(path, data)
        if unpacked is None:
            break
        data = unpacked
    return data


def _unpacked(path: Path, data: bytes) -> bytes | None:
    """What is packed in these bytes; None where they are no archive."""
    opened = next((way for mark, way in _PACKED.items() if data.startswith(mark)), None)
    try:
        if opened is not None:
            return _bounded(path, opened(io.BytesIO(data)))
        return _only_member(path, data) if data.startswith(b"PK\x03\x04") else None
    except _DAMAGE as error:
        raise UsageError(f"{path} is a damaged archive ({error}); write it again, or unpack it") from error


def _bounded(path: Path, file: IO[bytes]) -> bytes:
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageError(f"{path} unpacks to more than {LARGEST:,} bytes; no answers are so many")
    return data


def _only_member(path: Path, data: bytes) -> bytes | None:
    """The one file in a zip; None for a spreadsheet, and for what only looks like a zip."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [one for one in archive.namelist() if not one.endswith("/") and not one.startswith("__MACOSX")]
        if "[Content_Types].xml" in names:
            return None
        if len(names) != 1:
            raise UsageError(f"{path} is an archive of {len(names)} files; unpack it and name the file of answers")
        with archive.open(names[0]) as member:
            return _bounded(path, member)


def is_parquet(data: bytes) -> bool:
    """Whether these are the bytes of a parquet file."""
    return data[:4] == data[-4:] == b"PAR1"


def of_parquet(path: Path, data: bytes) -> list[dict[str, Any]]:
    """The rows of a parquet file; UsageError where it is damaged, or pyarrow is not there to read it."""
    try:
        from pyarrow import ArrowException, BufferReader
        from pyarrow import parquet as reader
    except ImportError as error:
        raise UsageError(
            f"{path} is a parquet file; reading it needs pyarrow: pip install 'ohd-bench[parquet]'"
        ) from error
    try:
        table = reader.read_table(BufferReader(data))
    except (ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"{path} is a damaged parquet file ({str(error).splitlines()[0]:.120}); write it again"
        ) from error
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise UsageError(f"{path}: two columns are called {twice[0]!r:.80}")
    return [dict(row) for row in table.to_pylist()]


def text(path: Path, data: bytes) -> str:
    """The text of these bytes, in UTF-8, UTF-16 or UTF-32; UsageError names the line that is none, or what it is."""
    encoding = json.detect_encoding(data[:4])
    try:
        decoded = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        what = next((f"this is {name}" for mark, name in _OTHERS.items() if data.startswith(mark)), "")
        reason = f"not UTF-8 text ({error.reason})"
        raise UsageError(f"{path}, line {line}: {what or reason}; {READ}") from error
    return decoded


def unknown(data: str) -> str:
    """What to say of text that is neither JSON nor a table."""
    page = "a page of HTML or XML: " if data.lstrip().startswith("<") else ""
    kinds = "neither a JSON list, nor JSON objects, nor a table with tabs or commas, nor a spreadsheet"
    return f"{page}{kinds}"
