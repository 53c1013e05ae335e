"""What was written is on the disk when the call returns, whatever ends the machine: flushed files, replaced whole."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

CANNOT = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}
"""What mounts say that have nothing to flush: some object stores, and folders on Windows."""
NAMED = re.compile(r"\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.tmp$")
"""How a draft's name ends, of which process of which machine it is."""


def replace(path: Path, content: str | bytes) -> None:
    """Write this text or these bytes so that a reader, also after a power cut, sees the old file or the new one whole.

    OSError, with this path, where it cannot be written: the old file is there then, and no draft beside it.
    """
    try:
        with draft(path) as written, written.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            flush(file.fileno())
        flush_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def copy(path: Path, to: Path) -> None:
    """Copy a file as ``replace`` writes one."""
    with draft(to) as written, path.open("rb") as source, written.open("wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        flush(file.fileno())
    flush_folder(to.parent)


def output(path: Path, content: str | bytes) -> None:
    """Write a file that the user named: whole, or what is there stays; a link stays one, and a file's mode its own.

    A device or a pipe is written to, and so is a file in a folder that takes no other. OSError where it cannot be
    written.
    """
    data, place = content.encode("utf-8") if isinstance(content, str) else content, Path(os.path.realpath(path))
    if path.exists() and not (path.is_file() and os.access(place.parent, os.W_OK)):
        path.write_bytes(data)
        return
    if not place.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else None
    try:
        with draft(place) as written, written.open("wb") as file:
            file.write(data)
            if mode is not None:
                written.chmod(mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def folder(path: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` fill a draft that becomes this folder whole; where another process is first, its is kept.

    OSError where it cannot be written; no draft is left beside it.
    """
    try:
        with draft(path) as written:
            written.mkdir()
            write(written)
    except OSError:  # another process was first
        if not path.is_dir():
            raise


def new_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` fill a draft that becomes this folder, which is not there or empty, whole.

    OSError where it cannot be written, or something lies there by then; no draft is left beside it.
    """
    with draft(path) as written:
        written.mkdir()
        write(written)
        if path.is_dir():
            path.rmdir()


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A folder beside this name for as long as the context lasts; those that killed processes left go before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    written = draft_name(path)
    written.mkdir()
    try:
        yield written
    finally:
        _remove(written)


@contextlib.contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A name beside this file or folder to write it under; when the context ends it takes the file's place.

    Where it ends in an error the draft goes and what is there stays. What killed processes began to write of this very
    file goes before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    written = draft_name(path)
    try:
        yield written
        os.replace(written, path)
    except BaseException:  # a full disk, a kill: what is half written goes
        _remove(written)
        raise


def _remove(written: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(written) if written.is_dir() else written.unlink(missing_ok=True)


def draft_name(path: Path) -> Path:
    """A new name beside this file or folder, from which another process can tell whether it is still written."""
    return path.with_name(f".{path.name}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


def clear_below(root: Path) -> None:
    """Remove what killed processes began to write anywhere in this folder."""
    for place, folders, files in os.walk(root):
        for name in filter(_is_left, [*folders, *files]):
            _remove(Path(place, name))


def _clear(path: Path) -> None:
    with contextlib.suppress(OSError):  # a folder to write into that nobody may list
        for name in os.listdir(path.parent):
            if name.startswith(f".{path.name}.") and _is_left(name):
                _remove(path.with_name(name))


def _is_left(name: str) -> bool:
    """Whether it is the draft of a process of this machine that is no more; of another's nobody here can tell."""
    named = NAMED.search(name)
    return named is not None and named["machine"] == _machine() and _gone(named["process"])


def _gone(process: str) -> bool:
    import psutil

    return not psutil.pid_exists(int(process))


@functools.cache
def _machine() -> str:
    """Which numbers of processes these are: the machine's, or those of a container on it."""
    try:
        numbers = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no Linux
        numbers = 0
    return hashlib.sha256(f"{platform.node()}/{numbers}".encode()).hexdigest()[:8]


def flush(file: int) -> None:
    """What was written to this open file is on the disk; OSError where the disk could not keep it."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in CANNOT:
            raise


def flush_folder(folder: Path) -> None:
    """That a file was made or renamed here is on the disk, where the system can say so."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        flush(handle)
    finally:
        os.close(handle)
