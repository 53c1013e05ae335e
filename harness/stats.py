"""Values with their uncertainty: a bootstrap that resamples images, not answers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Metric
from harness.tallies import Tally

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value with its interval, in the metric's scale; ``n`` answers on ``images`` images."""

    value: float
    low: float
    high: float
    n: int
    images: int


BLOCK = 2_000_000
"""How many numbers of the table of draws are made at a time, whatever the number of images."""
CACHED = 60_000
"""So many are drawn at a time that they stay in the processor's cache until they are counted."""
HELD = 11_000_000
"""A table of no more numbers than this (44 MB) is made once for all who ask."""


def weights(images: int, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float32]:
    """How often each image is drawn in each resample [R, images]: multinomial, seeded; ``blocks`` for many images."""
    made = _small if images * resamples <= HELD / 4 else _large
    return made(images, seed, resamples)


def _table(images: int, seed: int, resamples: int) -> NDArray[np.float32]:
    return np.concatenate([*_drawn(images, seed, resamples)])


_small, _large = lru_cache(maxsize=8)(_table), lru_cache(maxsize=2)(_table)


def blocks(images: int, resamples: int = RESAMPLES, rows: int = 0) -> Iterator[NDArray[np.float32]]:
    """``weights(images)`` in parts of at most so many rows, in order; of a large table only a part is in memory."""
    whole = images * resamples <= HELD
    for block in [weights(images, resamples=resamples)] if whole else _drawn(images, 0, resamples):
        step = rows or _step(images)
        for start in range(0, len(block), step):
            yield block[start : start + step]


def _step(images: int) -> int:
    return min(1000, max(1, BLOCK // max(images, 1)))


def _drawn(images: int, seed: int, resamples: int) -> Iterator[NDArray[np.float32]]:
    draw = np.random.default_rng([seed, images, zlib.crc32(b"images")])
    for start in range(0, resamples, _step(images)):
        block = np.empty((min(_step(images), resamples - start), images), np.float32)
        few = max(1, CACHED // max(images, 1))
        for row in range(0, len(block), few):
            rows = min(few, len(block) - row)
            drawn = draw.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
            counted = np.bincount(drawn.ravel(), minlength=rows * images)  # three times as fast as multinomial()
            block[row : row + rows] = counted.reshape(rows, images)
        yield block


Resampled = Mapping[str, NDArray[np.float64]]
"""Totals of each resample [R], by name."""


def resampled(tallies: Mapping[Any, Tally], resamples: int = RESAMPLES) -> dict[Any, Resampled]:
    """Totals of each resample of several tallies over the same images, drawn once for all of them."""
    columns = [(name, key, column) for name, one in tallies.items() for key, column in one.counts.items()]
    found: dict[Any, dict[str, NDArray[np.float64]]] = {name: {} for name in tallies}
    if columns:
        # float32 adds whole numbers exactly up to 16.7 million, and halves the time of the product
        table = np.empty((len(columns[0][2]), len(columns)), np.float32)
        for n, (_, _, column) in enumerate(columns):
            table[:, n] = column
        drawn = [(block @ table).astype(np.float64) for block in blocks(len(table), resamples)]
        for (name, key, _), sums in zip(columns, np.concatenate(drawn).T, strict=True):
            found[name][key] = sums
    return {**found}


def estimates(metrics: Mapping[str, Metric], counted: Tally, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Each metric's value on these totals with its 95 % interval: percentiles over resampled images.

    The interval is nan where fewer than two images were counted.
    """
    seen = np.flatnonzero(counted.n)
    totals = counted.totals()
    drawn: Resampled = {}
    if len(seen) > 1:
        drawn = resampled({"": _only(counted, seen)}, resamples)[""]
    found = {}
    for name, metric in metrics.items():
        value = float(metric(totals))
        low, high = np.nan, np.nan
        if np.isfinite(value) and drawn:
            low, high = interval(np.asarray(metric(drawn), float), images=len(seen))
        found[name] = Estimate(value, low, high, int(counted.n.sum()), len(seen))
    return found


def _only(counted: Tally, rows: NDArray[np.int64]) -> Tally:
    kept = {key: column[rows] for key, column in counted.counts.items()}
    return Tally(tuple(counted.images[i] for i in rows), kept, counted.n[rows])


def interval(drawn: NDArray[np.float64], level: float = LEVEL, images: int = 0) -> tuple[float, float]:
    """The percentile interval of resampled values; nan where none is finite.

    With the number of images it is expanded (Hesterberg 2015): few images resampled spread less than few images drawn.
    """
    finite = drawn[np.isfinite(drawn)]
    if not finite.size:
        return np.nan, np.nan
    tail = _tail(level, images) if images > 1 else (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=64)
def _tail(level: float, images: int) -> float:
    from scipy.special import ndtr, stdtrit  # scipy.stats has the same as objects, and takes a second to import

    return float(ndtr(-np.sqrt(images / (images - 1)) * stdtrit(images - 1, (1 + level) / 2)))


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus base on the same samples: its interval, two-sided bootstrap p-value and standard error."""

    value: float
    low: float
    high: float
    p: float
    se: float = float("nan")


def difference(value: float, spread: NDArray[np.float64], images: int) -> Difference:
    """This difference with what its resampled values say of it; p is below 5 % where the interval leaves out 0."""
    if images < 2 or not np.isfinite(value):
        return Difference(value, np.nan, np.nan, np.nan)
    finite = spread[np.isfinite(spread)]
    if not finite.size:
        return Difference(value, np.nan, np.nan, np.nan)
    # sums of the same numbers in another order differ in the last digits; that is no difference
    finite = np.where(np.abs(finite) < 1e-9, 0.0, finite)
    low, high = interval(finite, images=images)
    se = float(finite.std() * np.sqrt(images / (images - 1)))
    return Difference(value, low, high, _p_value(finite, images), se)


def _p_value(spread: NDArray[np.float64], images: int) -> float:
    """The level at which the expanded percentile interval just reaches 0; resamples at 0 count half to either side."""
    from scipy.special import ndtri, stdtr

    at = (spread == 0).sum() / 2
    smaller = min((spread < 0).sum() + at, (spread > 0).sum() + at)
    share = max(float(smaller), 0.5) / len(spread)
    score = ndtri(share) * np.sqrt((images - 1) / images)
    return float(min(1.0, 2 * stdtr(images - 1, score)))


Pair = tuple[Estimate, Estimate, Difference]
"""A metric of the base, of the candidate, and the difference."""


def of_both(
    pairs: Mapping[str, tuple[Tally, Tally]], resamples: int = RESAMPLES
) -> dict[str, tuple[Resampled, Resampled]]:
    """The resampled totals of both tallies of each pair, all over the same images, which are drawn once."""
    found = resampled({(name, n): one for name, both in pairs.items() for n, one in enumerate(both)}, resamples)
    return {name: (found[name, 0], found[name, 1]) for name in pairs}


def compared(
    metrics: Mapping[str, Metric],
    base: Tally,
    candidate: Tally,
    resamples: int = RESAMPLES,
    drawn: tuple[Resampled, Resampled] | None = None,
) -> dict[str, Pair]:
    """Each metric of two runs on the same images with its intervals; each resample draws the same images for both.

    ``drawn`` are the resampled totals of both, where they are at hand.
    """
    assert base.images == candidate.images, "pair two tallies over the same images"
    images = int(np.count_nonzero(base.n + candidate.n))
    totals = base.totals(), candidate.totals()
    both = drawn or of_both({"": (base, candidate)}, resamples)[""]
    answers = int(base.n.sum()), int(candidate.n.sum())
    found = {}
    for name, metric in metrics.items():
        values = [float(metric(one)) for one in totals]
        spreads = [np.asarray(metric(one), float).reshape(-1) for one in both]
        ends = [interval(s, images=images) if images > 1 else (np.nan, np.nan) for s in spreads]
        first, second = (Estimate(v, *end, n, images) for v, end, n in zip(values, ends, answers, strict=True))
        gap = difference(values[1] - values[0], spreads[1] - spreads[0], images)
        found[name] = (first, second, gap)
    return found


def differences(
    metrics: Mapping[str, Metric], base: Tally, candidate: Tally, resamples: int = RESAMPLES
) -> dict[str, Difference]:
    """Each metric's difference of two runs on the same images."""
    return {name: gap for name, (_, _, gap) in compared(metrics, base, candidate, resamples).items()}


def paired(metric: Metric, base: Tally, candidate: Tally, resamples: int = RESAMPLES) -> Difference:
    """The difference of two runs in one metric, paired by image."""
    return differences({"": metric}, base, candidate, resamples)[""]
