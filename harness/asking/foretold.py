"""How long a run will take, said before it begins where that was measured here before, else in its first seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import digest
from harness.asking.ask import Ask
from harness.compute.forecast import duration
from harness.data import cache_dir
from harness.store import write_json
from harness.types import Asked, Place, Reply

A_MINUTE = 60.0
"""Seconds of asking above which it is said how long it will take, and below which workers do not pay."""
FIRST = 5.0
"""Seconds of asking after which the rate is held for known."""
LEAST = 16
"""Samples that tell a rate."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Rates:
    """Seconds a sample, by task, when this pair (specs of encoder and LVLM) was last asked by one process here."""

    encoder: str
    lvlm: str
    place: Place

    def note(self, task: str, seconds: float, samples: int) -> None:
        """Keeps it for next time, where the samples are enough to tell."""
        if samples < LEAST:
            return
        path = self._path(task)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"seconds": seconds, "samples": samples})
        except OSError:  # a cache that cannot be written costs an estimate, and nothing else
            return

    def expected(self, due: Mapping[str, int]) -> float | None:
        """Seconds for so many samples of each task; None where one of them was never asked."""
        found = [(self._rate(task), count) for task, count in due.items() if count]
        return None if any(rate is None for rate, _ in found) else sum((rate or 0.0) * count for rate, count in found)

    def _rate(self, task: str) -> float | None:
        try:
            told = json.loads(self._path(task).read_text(encoding="utf-8"))
            rate = float(told["seconds"]) / int(told["samples"])
            return rate if 0 <= rate < A_MINUTE * 60 * 24 else None  # what no sample takes is no rate
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
            return None

    def _path(self, task: str) -> Path:
        where = [self.place.device, self.place.dtype, self.place.batch_size]
        return cache_dir() / "estimates" / f"rate-{digest.of_json([self.encoder, self.lvlm, *where, task])[:24]}.json"


@dataclass
class Foretelling:
    """Says once a run how long it will take, where that is more than a minute."""

    say: Say
    due: dict[str, int]
    """Samples of each task of the run that have no answer yet."""
    clock: Callable[[], float] = time.perf_counter
    said: bool = False
    heard: int = 0
    seconds: float = 0.0
    """How many replies came to the task that was begun last, and how long they took."""

    def before(self, rates: Rates) -> None:
        """By what was measured here before."""
        seconds = rates.expected(self.due)
        if seconds is not None:
            self.said = True
            if seconds > A_MINUTE:
                count = sum(self.due.values())
                self.say(f"about {duration(seconds)} for {count:,} samples, by what these models took here before")

    def listening(self, task: str, ask: Ask) -> Ask:
        """The same way of asking, listened to."""

        def answers(asked: Iterable[Asked]) -> Iterator[Reply]:
            began, self.heard, self.seconds = self.clock(), 0, 0.0
            for reply in ask(asked):
                self.heard, self.seconds = self.heard + 1, self.clock() - began
                if not self.said and self.heard >= LEAST and self.seconds > FIRST:
                    self._measured(task)
                yield reply

        return Ask(answers, ask.batch)

    def _measured(self, task: str) -> None:
        self.said = True
        left = self.seconds / self.heard * self.due[task]
        if left > A_MINUTE:
            more = sum(1 for name, count in self.due.items() if count and name != task)
            others = f", and then {more} more task{'s' * (more > 1)}" if more else ""
            measured = f"{self.heard:,} took {self.seconds:.0f} s; --estimate asks a part of all tasks first"
            self.say(f"about {duration(left)} for {self.due[task]:,} samples of {task}{others} ({measured})")
