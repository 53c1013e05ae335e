"""Runs a program for as long as whoever started this holds its standard input open: ``warden.py GRACE PROGRAM WORD…``.

However its starter ends, killed or not, the system closes that input; then the program is asked to end (SIGTERM), and
after GRACE seconds it and all that it started are killed. It is run as a file, so it imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from types import FrameType
from typing import NoReturn


def main(grace: float, words: list[str]) -> int:
    """The program's exit code, when it and all that it started have ended."""
    signal.signal(signal.SIGTERM, _leave)
    program = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    try:
        threading.Thread(target=_end_with_input, args=(program, grace), daemon=True).start()
        return program.wait()
    finally:
        _signal(program.pid, signal.SIGKILL)


def _end_with_input(program: subprocess.Popen[bytes], grace: float) -> None:
    while os.read(0, 4096):  # not by sys.stdin, whose lock a thread may still hold when all else is done
        pass
    program.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(grace)
    _signal(program.pid, signal.SIGKILL)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _signal(group: int, number: int) -> None:
    """Sends it to all of the group that are left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
