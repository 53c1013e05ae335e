"""What p(yes) tells beyond the words: ranking, calibration and coverage, each for many weightings of images at once.

Shapes: N answers, W weightings (one row says how often each answer counts), G distinct values of p(yes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.metrics import divide
from harness.records import Record
from harness.stats import Difference, Estimate
from harness.types import Answer

Array = NDArray[np.float64]
BINS = 10
RESAMPLES = 2000
TINY = 1e-100
AT_ONCE = 15_000
"""Weights at a time: larger arrays would be given back to the system and fetched from it anew with each operation."""


@dataclass(frozen=True)
class Believed:
    """Answers with their truth and p(yes), and the image (as a row of ``images``) each is about."""

    yes: NDArray[np.bool_]
    p: Array
    image: NDArray[np.int64]
    images: tuple[str, ...]

    def sorted(self) -> Believed:
        """The same answers by descending p(yes)."""
        order = np.argsort(-self.p, kind="stable")
        return Believed(self.yes[order], self.p[order], self.image[order], self.images)

    @cached_property
    def gaps(self) -> Array:
        """How far each p(yes) is from the truth, in the column of its bin of ten; the square of it; and 1 [N, 12]."""
        found = np.zeros((len(self.p), BINS + 2))
        gap = self.p - self.yes
        found[np.arange(len(self.p)), np.minimum((self.p * BINS).astype(int), BINS - 1)] = gap
        found[:, BINS], found[:, BINS + 1] = gap**2, 1.0
        return found

    @cached_property
    def surest(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """The order from the surest answer on, where each distinct sureness ends in it, and which are wrong."""
        sure = np.maximum(self.p, 1 - self.p)
        order = np.argsort(-sure, kind="stable")
        return order, _ends(sure[order]), ((self.p >= 0.5) != self.yes)[order]


def truth(record: Record) -> bool | None:
    """Whether the right answer to a yes-no question is yes; None where the record is of no such question."""
    if not record.scored or "said_yes" not in record.counts or "yes" not in record.counts:
        return None
    return record.counts["yes"] == 1


def believed(records: list[Record], images: tuple[str, ...] | None = None) -> Believed:
    """The yes-no answers that carry a p(yes)."""
    kept = [(r, t, r.reply.p_yes) for r in records if isinstance(r.reply, Answer) and (t := truth(r)) is not None]
    rows = [(r, t, p) for r, t, p in kept if p is not None]
    order = images if images is not None else tuple(sorted({r.image for r, _, _ in rows}))
    at = {name: i for i, name in enumerate(order)}
    return Believed(
        np.array([t for _, t, _ in rows], bool),
        np.array([p for _, _, p in rows], float),
        np.array([at[r.image] for r, _, _ in rows], np.int64),
        order,
    )


def _ends(p: Array) -> NDArray[np.int64]:
    """Where each distinct value of the sorted p ends."""
    return np.flatnonzero(np.r_[np.diff(p) != 0, True])


@dataclass(frozen=True)
class Sums:
    """What the answers of each distinct p(yes) weigh [W, G], and all down to it: truth yes, truth no."""

    yes: Array
    no: Array
    all_yes: Array
    all_no: Array
    down_to: Array
    """``all_yes`` and ``all_no`` together."""
    gaps: Array
    """Of all answers, those of ``Believed.gaps`` [W, 12]."""


def summed(one: Believed, weight: Array) -> Sums:
    """The sums that several measures share; ``one`` sorted."""
    last = _ends(one.p)
    down_to_WG, all_yes_WG = (_down_to(counted, last) for counted in (weight, weight * one.yes))
    both_WG, yes_WG = _each(down_to_WG), _each(all_yes_WG)
    return Sums(yes_WG, both_WG - yes_WG, all_yes_WG, down_to_WG - all_yes_WG, down_to_WG, weight @ one.gaps)


def _down_to(weight: Array, last: NDArray[np.int64]) -> Array:
    """What all groups down to each weigh."""
    every = np.cumsum(weight, 1)
    return every if len(last) == every.shape[1] else every[:, last]


def _each(down_to: Array) -> Array:
    """What each group weighs."""
    each = down_to.copy()
    each[:, 1:] -= down_to[:, :-1]
    return each


def _shares(part: Array, whole: Array) -> Array:
    """part / whole; where nothing is counted a number that is counted no time."""
    found = np.maximum(whole, TINY)
    return np.divide(part, found, out=found)


def _dot(one: Array, other: Array) -> Array:
    """The sum of products in each row [W]."""
    return np.asarray(np.einsum("wg,wg->w", one, other))


def auroc(one: Believed, weight: Array, sums: Sums | None = None) -> Array:
    """The chance that a present object gets the higher p(yes), ties half [W]; ``one`` sorted."""
    at = sums or summed(one, weight)
    all_yes, all_no = at.all_yes[:, -1], at.all_no[:, -1]
    below = all_no * all_yes - _dot(at.yes, at.all_no) + _dot(at.yes, at.no) / 2
    return np.asarray(divide(below, all_yes * all_no))


def average_precision(one: Believed, weight: Array, sums: Sums | None = None) -> Array:
    """Precision at each new threshold weighted by the recall it adds [W]; ``one`` sorted."""
    at = sums or summed(one, weight)
    precision = _shares(at.all_yes, at.down_to)
    return np.asarray(divide(_dot(precision, at.yes), at.all_yes[:, -1]))


def brier(one: Believed, weight: Array, sums: Sums | None = None) -> Array:
    """Mean squared distance of p(yes) from the truth [W]."""
    gaps = sums.gaps if sums else weight @ one.gaps
    return np.asarray(divide(gaps[:, BINS], gaps[:, BINS + 1]))


def calibration_error(one: Believed, weight: Array, sums: Sums | None = None) -> Array:
    """How far p(yes) is from the share of yes, averaged over ten bins of equal width [W]."""
    gaps = sums.gaps if sums else weight @ one.gaps
    return np.asarray(divide(np.abs(gaps[:, :BINS]).sum(1), gaps[:, BINS + 1]))


def accuracy_at(ratio: float) -> Callable[..., Array]:
    """Accuracy were the threshold set so that this share of answers is yes: sight without a shift of bias.

    Equal values of p(yes) are split in proportion, so that the share is met exactly.
    """

    def accuracy(one: Believed, weight: Array, sums: Sums | None = None) -> Array:
        at = sums or summed(one, weight)
        both, down_to = at.yes + at.no, at.down_to
        part = np.clip(_shares(ratio * down_to[:, -1:] - (down_to - both), both), 0, 1)
        right = _dot(part, at.yes - at.no) + at.all_no[:, -1]
        return np.asarray(divide(right, down_to[:, -1]))

    return accuracy


def area_under_risk(one: Believed, weight: Array, sums: Sums | None = None) -> Array:
    """Mean error rate over all coverages, the surest answers first (AURC) [W]; small where doubt marks errors."""
    order, last, wrong = one.surest
    w = weight[:, order]
    down_to, errors = _down_to(w, last), _down_to(w * wrong, last)
    return np.asarray(divide(_dot(_shares(errors, down_to), _each(down_to)), down_to[:, -1]))


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of p(yes): which way is good and how it is printed."""

    of: Callable[..., Array]
    better: str = "higher"
    scale: float = 100.0
    digits: int = 1


def measures(base_yes_ratio: float) -> Mapping[str, Measure]:
    """The measures of a comparison, by name."""
    return {
        "AUROC": Measure(auroc),
        "average precision": Measure(average_precision),
        "accuracy at the base's yes-ratio": Measure(accuracy_at(base_yes_ratio)),
        "Brier": Measure(brier, "lower", 1.0, 3),
        "ECE": Measure(calibration_error, "lower", 1.0, 3),
        "AURC": Measure(area_under_risk, "lower", 1.0, 3),
    }


def estimates(
    sides: list[Believed], chosen: Mapping[str, Measure], resamples: int = RESAMPLES
) -> dict[str, tuple[list[Estimate], list[Difference | None]]]:
    """Each measure on each side with its interval, and each later side's difference to the first, paired by image.

    Every side holds the same answers' truths over the same images.
    """
    images = len(sides[0].images)
    ordered = [side.sorted() for side in sides]
    alone = [_measured(side, np.ones((1, len(side.p))), chosen) for side in ordered]
    drawn = [_spreads(side, chosen, resamples) for side in ordered]
    found = {}
    for name, measure in chosen.items():
        values = [float(one[name][0]) * measure.scale for one in alone]
        spreads = [one[name] * measure.scale for one in drawn]
        ends = [stats.interval(spread, images=images) for spread in spreads]
        each = [Estimate(v, low, high, len(s.p), images) for v, (low, high), s in zip(values, ends, sides, strict=True)]
        gaps: list[Difference | None] = [None]
        gaps += [
            stats.difference(value - values[0], spread - spreads[0], images)
            for value, spread in zip(values[1:], spreads[1:], strict=True)
        ]
        found[name] = (each, gaps)
    return found


def _measured(one: Believed, weight: Array, chosen: Mapping[str, Measure]) -> dict[str, Array]:
    """Every measure under these weightings [W]; ``one`` sorted."""
    sums = summed(one, weight)
    return {name: measure.of(one, weight, sums) for name, measure in chosen.items()}


def _spreads(one: Believed, chosen: Mapping[str, Measure], resamples: int) -> dict[str, Array]:
    """Every measure on each resample, some resamples at a time so that memory stays small."""
    step = max(1, AT_ONCE // max(1, len(one.p)))
    parts = [
        _measured(one, block.astype(np.float64)[:, one.image], chosen)
        for block in stats.blocks(len(one.images), resamples, step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in chosen}


def reliability(one: Believed) -> list[dict[str, Any]]:
    """For each of ten bins of p(yes) that holds answers: how many, their mean p(yes), and their share of yes."""
    where = np.minimum((one.p * BINS).astype(int), BINS - 1)
    return [
        {"n": int(inside.sum()), "p": float(one.p[inside].mean()), "yes": float(one.yes[inside].mean())}
        for b in range(BINS)
        if (inside := where == b).any()
    ]


def risk_coverage(one: Believed, points: int = 50) -> list[tuple[float, float]]:
    """Coverage against error rate, the surest answers first."""
    if not len(one.p):
        return []
    sure = np.maximum(one.p, 1 - one.p)
    order = np.argsort(-sure, kind="stable")
    wrong = np.cumsum(((one.p >= 0.5) != one.yes)[order])
    ends = np.unique(np.linspace(1, len(order), min(points, len(order))).astype(int))
    return [(float(k / len(order)), float(wrong[k - 1] / k)) for k in ends]
