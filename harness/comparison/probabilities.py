"""What p(yes) tells beyond the words: ranking, calibration and coverage, each for many weightings of images at once.

Shapes: N answers, W weightings (one row says how often each answer counts), G distinct values of p(yes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import stats
from harness.metrics import divide
from harness.stats import Difference, Estimate
from harness.store import Record
from harness.types import Answer

Array = NDArray[np.float64]
BINS = 10
RESAMPLES = 2000
AT_ONCE = 2_000_000


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


def _groups(p: Array) -> NDArray[np.int64]:
    """Where each distinct value of the sorted p begins."""
    return np.flatnonzero(np.r_[True, np.diff(p) != 0])


def auroc(one: Believed, weight: Array) -> Array:
    """The chance that a present object gets the higher p(yes), ties half [W]; ``one`` sorted."""
    yes_WG, no_WG = _summed(one, weight)
    below_WG = no_WG.sum(1, keepdims=True) - np.cumsum(no_WG, 1)
    won = (yes_WG * (below_WG + no_WG / 2)).sum(1)
    return np.asarray(divide(won, yes_WG.sum(1) * no_WG.sum(1)))


def average_precision(one: Believed, weight: Array) -> Array:
    """Precision at each new threshold weighted by the recall it adds [W]; ``one`` sorted."""
    yes_WG, no_WG = _summed(one, weight)
    hits = np.cumsum(yes_WG, 1)
    precision = np.nan_to_num(divide(hits, hits + np.cumsum(no_WG, 1)))
    return np.asarray(divide((precision * yes_WG).sum(1), yes_WG.sum(1)))


def _summed(one: Believed, weight: Array) -> tuple[Array, Array]:
    starts = _groups(one.p)
    return np.add.reduceat(weight * one.yes, starts, axis=1), np.add.reduceat(weight * ~one.yes, starts, axis=1)


def brier(one: Believed, weight: Array) -> Array:
    """Mean squared distance of p(yes) from the truth [W]."""
    return np.asarray(divide(weight @ (one.p - one.yes) ** 2, weight.sum(1)))


def calibration_error(one: Believed, weight: Array) -> Array:
    """How far p(yes) is from the share of yes, averaged over ten bins of equal width [W]."""
    inside = np.eye(BINS)[np.minimum((one.p * BINS).astype(int), BINS - 1)]
    gap = np.abs(weight @ (inside * (one.p - one.yes)[:, None]))
    return np.asarray(divide(gap.sum(1), weight.sum(1)))


def accuracy_at(ratio: float) -> Callable[[Believed, Array], Array]:
    """Accuracy were the threshold set so that this share of answers is yes: sight without a shift of bias.

    Equal values of p(yes) are split in proportion, so that the share is met exactly.
    """

    def accuracy(one: Believed, weight: Array) -> Array:
        yes_WG, no_WG = _summed(one, weight)
        both = yes_WG + no_WG
        want = ratio * both.sum(1, keepdims=True)
        part = np.clip(divide(want - (np.cumsum(both, 1) - both), np.where(both > 0, both, np.nan)), 0, 1)
        part = np.nan_to_num(part)
        right = (part * yes_WG + (1 - part) * no_WG).sum(1)
        return np.asarray(divide(right, both.sum(1)))

    return accuracy


def area_under_risk(one: Believed, weight: Array) -> Array:
    """Mean error rate over all coverages, the surest answers first (AURC) [W]; small where doubt marks errors."""
    sure = np.maximum(one.p, 1 - one.p)
    order = np.argsort(-sure, kind="stable")
    starts = _groups(sure[order])
    wrong = ((one.p >= 0.5) != one.yes)[order]
    w = weight[:, order]
    each, errors = np.add.reduceat(w, starts, axis=1), np.add.reduceat(w * wrong, starts, axis=1)
    risk = np.nan_to_num(divide(np.cumsum(errors, 1), np.cumsum(each, 1)))
    return np.asarray(divide((risk * each).sum(1), each.sum(1)))


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of p(yes): which way is good and how it is printed."""

    of: Callable[[Believed, Array], Array]
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
    drawn = stats.weights(images, resamples=resamples)
    found = {}
    for name, measure in chosen.items():
        values = [float(measure.of(s.sorted(), np.ones((1, len(s.p))))[0]) * measure.scale for s in sides]
        spreads = [_spread(s.sorted(), measure, drawn) * measure.scale for s in sides]
        ends = [stats.interval(spread, images=images) for spread in spreads]
        each = [Estimate(v, low, high, len(s.p), images) for v, (low, high), s in zip(values, ends, sides, strict=True)]
        gaps: list[Difference | None] = [None]
        gaps += [
            stats.difference(value - values[0], spread - spreads[0], images)
            for value, spread in zip(values[1:], spreads[1:], strict=True)
        ]
        found[name] = (each, gaps)
    return found


def _spread(one: Believed, measure: Measure, drawn: NDArray[np.float32]) -> Array:
    """The measure on each resample, some resamples at a time so that memory stays small."""
    step = max(1, AT_ONCE // max(1, len(one.p)))
    parts = [measure.of(one, drawn[i : i + step].astype(np.float64)[:, one.image]) for i in range(0, len(drawn), step)]
    return np.concatenate(parts)


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
