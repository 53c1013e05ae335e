"""What was written is on the disk when the call returns, whatever ends the machine: flushed files, replaced whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

CANNOT = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}
"""What mounts say that have nothing to flush: some object stores, and folders on Windows."""


def replace(path: Path, content: str | bytes) -> None:
    """Write this text or these bytes so that a reader, also after a power cut, sees the old file or the new one whole.

    OSError, with this path, where it cannot be written: the old file is there then, and no draft beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")  # two machines may share a process's number
    try:
        with draft.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            flush(file.fileno())
        os.replace(draft, path)
        flush_folder(path.parent)
    except BaseException as error:  # a full disk, a kill: what is half written goes
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def folder(path: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` fill a draft that becomes this folder whole; where another process is first, its is kept.

    OSError where it cannot be written; no draft is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=path.parent))
    try:
        write(draft)
        draft.chmod(0o755)
        draft.rename(path)
    except OSError:  # another process was first
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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
