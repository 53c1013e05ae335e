"""Values with their uncertainty: totals of records, and a bootstrap that resamples images, not answers."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Metric
from harness.store import Record

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

    def resampled(self, weights: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """Totals of each resample [R]; weights [R, images] say how often each image was drawn."""
        if not self.counts:
            return {}
        # float32 adds whole numbers exactly up to 16.7 million, and halves the time of the product
        table = np.stack(list(self.counts.values()), axis=1).astype(np.float32)
        return dict(zip(self.counts, (weights @ table).astype(np.float64).T, strict=True))


def groups_of(path: str) -> Iterator[str]:
    """Every group an answer of this group path counts in: the whole (""), and each prefix of the path."""
    yield ""
    parts = path.split("/") if path else []
    for depth in range(1, len(parts) + 1):
        yield "/".join(parts[:depth])


def tally(records: Iterable[Record], images: Sequence[str] | None = None) -> dict[str, Tally]:
    """Totals by image of every group that has an answer, the whole first; failed records count nowhere.

    ``images`` fixes which images stand in which row (for pairing two runs); by default those of the records.
    """
    scored = [record for record in records if record.scored]
    order = tuple(images if images is not None else sorted({record.image for record in scored}))
    row = {image: i for i, image in enumerate(order)}
    members: dict[str, list[Record]] = {"": []}
    for record in scored:
        if record.image in row:
            for group in groups_of(record.group):
                members.setdefault(group, []).append(record)
    return {group: _tally(members[group], order, row) for group in members}


def _tally(records: list[Record], order: tuple[str, ...], row: Mapping[str, int]) -> Tally:
    counts: dict[str, NDArray[np.float64]] = {}
    n = np.zeros(len(order), np.int64)
    for record in records:
        i = row[record.image]
        n[i] += 1
        for key, value in record.counts.items():
            if key not in counts:
                counts[key] = np.zeros(len(order))
            counts[key][i] += value
    return Tally(order, counts, n)


@lru_cache(maxsize=4)
def weights(images: int, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float32]:
    """How often each image is drawn in each resample [R, images]: multinomial, seeded."""
    draw = np.random.default_rng([seed, images, zlib.crc32(b"images")])
    return draw.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float32)


def estimates(metrics: Mapping[str, Metric], counted: Tally, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Each metric's value on these totals with its 95 % interval: percentiles over resampled images.

    The interval is nan where fewer than two images were counted.
    """
    seen = np.flatnonzero(counted.n)
    totals, drawn = counted.totals(), {}
    if len(seen) > 1:
        drawn = _only(counted, seen).resampled(weights(len(seen), resamples=resamples))
    found = {}
    for name, metric in metrics.items():
        value = float(metric(totals))
        low, high = interval(np.asarray(metric(drawn), float)) if np.isfinite(value) and drawn else (np.nan, np.nan)
        found[name] = Estimate(value, low, high, int(counted.n.sum()), len(seen))
    return found


def _only(counted: Tally, rows: NDArray[np.int64]) -> Tally:
    kept = {key: column[rows] for key, column in counted.counts.items()}
    return Tally(tuple(counted.images[i] for i in rows), kept, counted.n[rows])


def interval(drawn: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of resampled values; nan where none is finite."""
    finite = drawn[np.isfinite(drawn)]
    if not finite.size:
        return np.nan, np.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus base on the same samples, with its interval and two-sided bootstrap p-value."""

    value: float
    low: float
    high: float
    p: float


def paired(metric: Metric, base: Tally, candidate: Tally, resamples: int = RESAMPLES) -> Difference:
    """The difference of two runs on the same images, each resample drawing the same images for both.

    The p-value tests no difference by the bootstrap's spread around the observed difference
    (Efron and Tibshirani 1993, ch. 16), at least 1 / (resamples + 1).
    """
    assert base.images == candidate.images, "pair two tallies over the same images"
    value = float(metric(candidate.totals()) - metric(base.totals()))
    if len(base.images) < 2 or not np.isfinite(value):
        return Difference(value, np.nan, np.nan, np.nan)
    drawn = weights(len(base.images), resamples=resamples)
    spread = np.asarray(metric(candidate.resampled(drawn)) - metric(base.resampled(drawn)), float)
    low, high = interval(spread)
    finite = spread[np.isfinite(spread)]
    as_far = np.abs(finite - value) >= abs(value) - 1e-12
    return Difference(value, low, high, float((1 + as_far.sum()) / (1 + len(finite))))


def common(base: Iterable[Record], candidate: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """The records of the samples both runs answered, in the same order."""
    first = {record.id: record for record in base if record.scored}
    second = {record.id: record for record in candidate if record.scored}
    ids = [key for key in first if key in second]
    return [first[key] for key in ids], [second[key] for key in ids]


def paired_tallies(base: Iterable[Record], candidate: Iterable[Record]) -> dict[str, tuple[Tally, Tally]]:
    """Totals by group of the samples both runs answered, over the same images."""
    first, second = common(base, candidate)
    images = sorted({record.image for record in first})
    left, right = tally(first, images), tally(second, images)
    return {group: (left[group], right[group]) for group in left if group in right}
