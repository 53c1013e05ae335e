"""Units that are right only as a whole: all questions on a figure, both questions on an image, a pair of pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MARK = "all/"
"""What the names of counts begin with that are not added up, but joined to units."""


def together(kind: str, unit: str, of: int, **conditions: float) -> dict[str, float]:
    """What one answer adds to a unit that is right only where all of it is.

    ``of`` answers make the unit. The values of each condition are added up over them; the unit is right where every
    sum is above 0, so that an answer may say 1 or 0 of a condition of its own, or its side of a difference. Each unit
    with all its answers adds 1 to the total ``n_KIND`` and, where right, to ``right_KIND``, on the image of the first.
    """
    return {f"{MARK}{kind}/{of}/{name}/{unit}": float(value) for name, value in conditions.items()}


def flat(counts: Mapping[str, float]) -> tuple[dict[str, float], dict[str, str]]:
    """An answer's counts under names that do not grow with the data, and of each kind the unit it is a part of.

    What it adds to a condition of its unit is called ``KIND.CONDITION``; of a second unit of one kind ``KIND#2``.
    """
    found: dict[str, float] = {}
    units: dict[str, list[str]] = {}
    for name, value in counts.items():
        if name.startswith(MARK):
            kind, _, condition, unit = _told(name)
            of_kind = units.setdefault(kind, [])
            of_kind += [] if unit in of_kind else [unit]
            name = f"{_numbered(kind, of_kind.index(unit))}.{condition}"
        found[name] = value
    return found, {_numbered(kind, n): unit for kind, of_kind in units.items() for n, unit in enumerate(of_kind)}


def _numbered(kind: str, n: int) -> str:
    return f"{kind}#{n + 1}" if n else kind


def _told(count: str) -> list[str]:
    """Kind, how many answers make the unit, condition and unit of a marked count."""
    return count.removeprefix(MARK).split("/", 3)


class Units:
    """The units that some records belong to, as they are read."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int, str], set[str]] = {}
        self._sums: dict[tuple[str, int, str], dict[str, float]] = {}
        self._row: dict[tuple[str, int, str], int] = {}

    def add(self, record: str, row: int, count: str, value: float) -> None:
        """One of a record's marked counts, on the image in this row."""
        kind, of, condition, unit = _told(count)
        key = (kind, int(of), unit)
        self._answers.setdefault(key, set()).add(record)
        sums = self._sums.setdefault(key, {})
        sums[condition] = sums.get(condition, 0.0) + value
        self._row[key] = min(row, self._row.get(key, row))

    def columns(self, images: int) -> Mapping[str, NDArray[np.float64]]:
        """``n_KIND`` and ``right_KIND`` by image; a unit of which an answer is missing counts nowhere."""
        found: dict[str, NDArray[np.float64]] = {}
        for key, sums in self._sums.items():
            kind, of, _ = key
            if len(self._answers[key]) < of:
                continue
            for name, value in ((f"n_{kind}", 1.0), (f"right_{kind}", float(all(sum > 0 for sum in sums.values())))):
                found.setdefault(name, np.zeros(images))[self._row[key]] += value
        return found
