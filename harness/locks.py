"""A folder held by one process at a time, on every system that ohd-bench runs on; whatever ends the process lets go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock


class Held(Exception):
    """Another process holds it."""


def taken(path: Path, patience: float = 0.0) -> contextlib.AbstractContextManager[None]:
    """This lock file, held from now until the context that is given ends; Held where another process holds it.

    It waits for the other for ``patience`` seconds. OSError where the file cannot be written. The lock is the system's
    own (``flock``, on Windows ``msvcrt.locking``): it ends with the process, and a file left behind means nothing. On a
    file system without locks (some NFS) filelock holds it by the file being there.
    """
    lock = filelock.FileLock(path, timeout=patience, mode=0o644, poll_interval=0.02)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise Held(str(path)) from error
    return _until_released(lock)


@contextlib.contextmanager
def _until_released(lock: filelock.BaseFileLock) -> Iterator[None]:
    try:
        yield
    finally:
        lock.release()
