"""A folder held by one process at a time, on every system that ohd-bench runs on; whatever ends the process lets go."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

import filelock

NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What mounts say that keep no locks, such as NFS without its lock service. ENOSYS filelock knows by itself."""


class Held(Exception):
    """Another process holds it."""


def taken(path: Path, patience: float = 0.0) -> contextlib.AbstractContextManager[None]:
    """This lock file, held from now until the context that is given ends; Held where another process holds it.

    It waits for the other for ``patience`` seconds. OSError where the file cannot be written. The lock is the system's
    own (``flock``, on Windows ``msvcrt.locking``): it ends with the process, and a file left behind means nothing. On a
    file system without locks (some NFS) it is held by a file being there, which names machine and process: one that a
    killed process of this machine left is taken away, one of another machine's is not.
    """
    try:
        return _acquired(filelock.FileLock, path, patience)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return _acquired(filelock.SoftFileLock, path.with_name(f"{path.name}.held"), patience)


def _acquired(
    kind: type[filelock.BaseFileLock], path: Path, patience: float
) -> contextlib.AbstractContextManager[None]:
    lock = kind(path, timeout=patience, mode=0o644, poll_interval=0.02)
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
