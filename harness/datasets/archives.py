"""Unpack what data sets have out of zip and tar archives: never outside the folder meant, never more than fits."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from harness.errors import BrokenDataError, DataError
from harness.images import PICTURES

ENDS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
KINDS = PICTURES | {".json", ".jsonl", ".txt"}
"""What is unpacked: the kinds of files that data sets have here."""
Member = tuple[str, int, IO[bytes]]
"""Name, size and content of a file of an archive, the content to be read before the next is asked for."""


def is_archive(path: Path) -> bool:
    """Whether the name says that this is an archive that can be unpacked here."""
    return path.name.lower().endswith(ENDS)


def unpack(archive: Path, to: Path) -> list[Path]:
    """Every data file and picture of the archive, below ``to`` under its own path.

    Raises BrokenDataError where a file would lie elsewhere (an absolute name, ``..``) or the archive is damaged,
    DataError where its files do not fit on the disk. Links and devices are left in it.
    """
    found, left = [], shutil.disk_usage(_nearest(to)).free
    with _opened(archive) as members:
        for name, size, content in members:
            target = to / _inside(archive, name)
            if target.suffix.lower() not in KINDS:
                continue
            left -= size
            if left < 0:
                raise DataError(f"{archive}: what it holds does not fit on the disk of {to}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            found.append(target)
    return found


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The member's path, which leads nowhere but down."""
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or "\\" in name or ".." in path.parts or "\0" in name:
        raise BrokenDataError(f"{archive}: its file {name!r} would lie outside the folder; nothing of it is used")
    return path


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Member]]:
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                _check_names(archive, opened.namelist())
                yield _of_zip(opened)
        else:
            with tarfile.open(archive) as tar:
                _check_names(archive, tar.getnames())
                yield _of_tar(tar)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise BrokenDataError(f"{archive} cannot be unpacked ({error}); fetch it again") from error
    except RuntimeError as error:  # zipfile's word for an encrypted file
        raise BrokenDataError(f"{archive} cannot be unpacked ({error})") from error


def _check_names(archive: Path, names: list[str]) -> None:
    """Refuses the archive before anything of it is written."""
    for name in names:
        _inside(archive, name)


def _of_zip(opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        if not info.is_dir():
            with opened.open(info) as content:
                yield info.filename, info.file_size, content


def _of_tar(tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        content = tar.extractfile(info) if info.isreg() else None
        if content is not None:
            yield info.name, info.size, content
