"""A reader that leaves before the end, as ``| head`` does: the command says no more, and ends as other tools do."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

CODE = 141
"""What a shell tells of a program that SIGPIPE ended."""
WRITERS = ("rich.", "typer.", "click.", "harness.console", "harness.cli")
"""Where stdout and stderr are written to; a pipe that breaks elsewhere is a worker's or a server's."""


def broken_pipe(end: BaseException) -> BrokenPipeError | None:
    """The broken pipe that a command ended by: rich and typer make a SystemExit of it."""
    found = end.__context__ if isinstance(end, SystemExit) else end
    return found if isinstance(found, BrokenPipeError) else None


def is_of_reader(error: BrokenPipeError) -> bool:
    """Whether it is what the command says that nobody reads any more."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__")).startswith(WRITERS)


def flush() -> None:
    """Write out what stdout still holds, OSError where that fails; nothing is left for Python to fail on at its end."""
    with contextlib.suppress(OSError):
        _flush(sys.stderr)
    _flush(sys.stdout)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise
