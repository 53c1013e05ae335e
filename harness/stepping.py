"""What a training shows as it goes: a bar with the loss on a terminal, a line a minute where nobody looks at one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness.console import err, say

EVERY = 60.0
"""Seconds between two lines."""

Tick = Callable[[float], None]


@contextlib.contextmanager
def stepping(title: str, total: int, done: int) -> Iterator[Tick]:
    """What is to be told the loss of each step from ``done`` on."""
    console = err()
    if console.is_terminal:
        with _bar(console, title, total, done) as tick:
            yield tick
    else:
        yield Lines(title, total, done, say)


class Lines:
    """The first step, then a line a minute, then the last step: step, loss, rate, time left."""

    def __init__(
        self, title: str, total: int, done: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title, self.total, self.done, self.say, self.clock = title, total, done, say, clock
        self.first, self.began = done, clock()
        self.said: float | None = None

    def __call__(self, loss: float) -> None:
        """One more step, with this loss."""
        self.done += 1
        now = self.clock()
        if self.said is None or now - self.said >= EVERY or self.done == self.total:
            self.said = now
            rate = (self.done - self.first) / max(now - self.began, 1e-9)
            left = timedelta(seconds=round((self.total - self.done) / rate))
            self.say(
                f"{self.title}: step {self.done} of {self.total}, loss {loss:.4g}, {rate:.2g} steps/s, {left} left"
            )


@contextlib.contextmanager
def _bar(console: Console, title: str, total: int, done: int) -> Iterator[Tick]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}", markup=False, style="dim"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(title, total=total, completed=done, told="")

        def tick(loss: float) -> None:
            speed = progress.tasks[0].speed or 0
            progress.update(bar, advance=1, told=f"loss {loss:.4g}, {speed:.2g} steps/s")

        yield tick
