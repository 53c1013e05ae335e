"""Values with their uncertainty: totals of records, and a bootstrap that resamples images, not answers."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Metric
from harness.records import Record
from harness.units import MARK, Units

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


@dataclass(frozen=True)
class Tally:
    """Totals by image: ``counts[key][i]`` is what image i adds to that total; ``n[i]`` its answers."""

    images: tuple[str, ...]
    counts: Mapping[str, NDArray[np.float64]]
    n: NDArray[np.int64]

    def totals(self) -> dict[str, float]:
        """The counts of all images added up."""
        return {key: float(column.sum()) for key, column in self.counts.items()}


def groups_of(path: str) -> Iterator[str]:
    """Every group an answer of this group path counts in: the whole (""), and each prefix of the path."""
    yield ""
    parts = path.split("/") if path else []
    for depth in range(1, len(parts) + 1):
        yield "/".join(parts[:depth])


def tally(
    records: Iterable[Record], images: Sequence[str] | None = None, only: Collection[str] | None = None
) -> dict[str, Tally]:
    """Totals by image of every group that has an answer, the whole first; failed records count nowhere.

    ``only`` names the groups that are wanted, where not all of them are.
    ``images`` fixes which images stand in which row (for pairing two runs); by default those of the records.
    """
    scored = [record for record in records if record.scored]
    order = tuple(images if images is not None else sorted({record.image for record in scored}))
    row = {image: i for i, image in enumerate(order)}
    counted = _Counted([record for record in scored if record.image in row], row)
    members = counted.members()
    wanted = members if only is None else {group: at for group, at in members.items() if group in only}
    return {group: counted.tally(order, at) for group, at in wanted.items()}


class _Counted:
    """Records as columns: the row of each one's image, and the number of its counts among all that are told apart."""

    def __init__(self, records: list[Record], row: Mapping[str, int]) -> None:
        self.records = records
        self.rows = np.array([row[record.image] for record in records], np.int64)
        told = np.fromiter((id(record.counts) for record in records), np.int64, len(records))
        _, first, self.kind = np.unique(told, return_index=True, return_inverse=True)
        self.kinds = [records[n].counts for n in first]
        self.values = {
            key: np.array([counts.get(key, 0.0) for counts in self.kinds], np.float64)
            for key in dict.fromkeys(key for counts in self.kinds for key in counts if not key.startswith(MARK))
        }

    def members(self) -> dict[str, NDArray[np.int64]]:
        """Which records count in each group, in their order; groups in the order of their first record."""
        paths: dict[str, list[int]] = {}
        for n, record in enumerate(self.records):
            paths.setdefault(record.group, []).append(n)
        found: dict[str, list[list[int]]] = {"": []}
        for path, at in paths.items():
            for group in groups_of(path):
                found.setdefault(group, []).append(at)
        return {group: np.sort(np.concatenate(parts or [[]])).astype(np.int64) for group, parts in found.items()}

    def tally(self, order: tuple[str, ...], members: NDArray[np.int64]) -> Tally:
        """Totals by image of these records."""
        rows, kind = self.rows[members], self.kind[members]
        met, first = np.unique(kind, return_index=True)
        there = (self.kinds[n] for n in met[np.argsort(first)])
        names = dict.fromkeys(key for counts in there for key in counts)
        counts: dict[str, NDArray[np.float64]] = {
            key: np.bincount(rows, self.values[key][kind], len(order)).astype(np.float64)
            for key in names
            if not key.startswith(MARK)
        }
        joined = Units()
        if len(counts) < len(names):
            self._join(joined, members)
        return Tally(order, {**counts, **joined.columns(len(order))}, np.bincount(rows, minlength=len(order)))

    def _join(self, joined: Units, members: NDArray[np.int64]) -> None:
        for n in members:
            for key, value in self.records[n].counts.items():
                if key.startswith(MARK):
                    joined.add(self.records[n].id, int(self.rows[n]), key, value)


BLOCK = 2_000_000
"""How many numbers of the table of draws are made at a time, whatever the number of images."""
CACHED = 60_000
"""So many are drawn at a time that they stay in the processor's cache until they are counted."""
HELD = 11_000_000
"""A table of no more numbers than this (44 MB) is made once for all who ask."""


@lru_cache(maxsize=2)
def weights(images: int, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float32]:
    """How often each image is drawn in each resample [R, images]: multinomial, seeded; ``blocks`` for many images."""
    return np.concatenate([*_drawn(images, seed, resamples)])


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


def common(base: Iterable[Record], candidate: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """The records of the samples both runs answered, in the same order."""
    first = {record.id: record for record in base if record.scored}
    second = {record.id: record for record in candidate if record.scored}
    ids = [key for key in first if key in second]
    return [first[key] for key in ids], [second[key] for key in ids]


def placed(record: Record, image: str, group: str) -> Record:
    """The record as one of this image and group."""
    return record if (record.image, record.group) == (image, group) else replace(record, image=image, group=group)


def paired_tallies(base: Iterable[Record], candidate: Iterable[Record]) -> dict[str, tuple[Tally, Tally]]:
    """Totals by group of the samples both runs answered, over the same images.

    The candidate's answer counts on the base's image, whichever image it was given: so a control can be paired.
    """
    first, second = common(base, candidate)
    images = sorted({record.image for record in first})
    second = [placed(b, a.image, a.group) for a, b in zip(first, second, strict=True)]
    left, right = tally(first, images), tally(second, images)
    return {group: (left[group], right[group]) for group in left if group in right}
