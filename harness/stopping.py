"""SIGINT and SIGTERM, noted when they come and heeded where the work may end without losing anything."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Broken(Exception):
    """Work was broken off between two parts of it, because a signal asked for it."""


class Stopping:
    """While this is entered, a signal is noted and nothing else; outside the main thread signals are as they were.

    An exception raised by a signal handler comes up wherever the program is, and may be swallowed there: in a
    destructor, in an import that tries something else, in C++. So it is asked for between steps instead.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None

    def __enter__(self) -> Stopping:
        self._before = _handled_by(self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = self.asked or signal.Signals(number)

    def go_on(self) -> None:
        """Raises Broken once a signal was noted."""
        if self.asked:
            raise Broken


@contextlib.contextmanager
def at_once(said: str) -> Iterator[None]:
    """While nothing is under way that could be lost: a signal ends the process there and then, with this line."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        os.write(2, f"{signal.Signals(number).name}: {said}\n".encode())
        os._exit(128 + number)

    before = _handled_by(leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handled_by(handler: signal._HANDLER) -> dict[signal.Signals, signal._HANDLER]:
    """The handlers that were there before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in SIGNALS}
