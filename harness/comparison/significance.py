"""Tests and planning around a paired difference: exact McNemar, sign test over images, Holm, detectable difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.records import Record

ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True, slots=True)
class Flips:
    """How many samples (and images, net) a change put right and broke, with exact two-sided p-values.

    ``p`` is McNemar's, which takes samples for independent; ``p_images`` is a sign test over images, which does not.
    """

    fixed: int
    broken: int
    p: float
    images_better: int
    images_worse: int
    p_images: float


def correct(record: Record) -> bool | None:
    """Whether this one answer is right: a question or ranking by ``right``, a caption by inventing nothing.

    None where the answer is not one thing that is right or wrong.
    """
    counts = record.counts
    if counts.get("n") == 1 and "right" in counts:
        return counts["right"] == 1
    if counts.get("captions") == 1 and "hallucinated" in counts:
        return counts["hallucinated"] == 0
    return None


def flips(base: Sequence[Record], candidate: Sequence[Record]) -> Flips | None:
    """The flips between two runs' records of the same samples, in order; None where none is right or wrong."""
    net: dict[str, int] = {}
    fixed = broken = judged = 0
    for before, after in zip(base, candidate, strict=True):
        was, now = correct(before), correct(after)
        if was is None or now is None:
            continue
        judged += 1
        fixed += now and not was
        broken += was and not now
        net[before.image] = net.get(before.image, 0) + now - was
    if not judged:
        return None
    better, worse = sum(value > 0 for value in net.values()), sum(value < 0 for value in net.values())
    return Flips(fixed, broken, exact(fixed, broken), better, worse, exact(better, worse))


def exact(one: int, other: int) -> float:
    """Exact two-sided p-value of so uneven a split where both sides are equally likely (exact McNemar)."""
    from scipy.special import bdtr

    # The fair binomial is symmetric: both tails are twice the smaller one, and all of it where the split is even.
    return float(min(1.0, 2 * bdtr(min(one, other), one + other, 0.5))) if one + other else 1.0


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Each p-value adjusted for all of them being looked at (Holm 1979); nan stays nan and does not count."""
    real = sorted((value, key) for key, value in values.items() if np.isfinite(value))
    adjusted, least = dict.fromkeys(values, float("nan")), 0.0
    for rank, (value, key) in enumerate(real):
        least = adjusted[key] = max(least, min(1.0, (len(real) - rank) * value))
    return adjusted


def detectable(se: float, images: int, power: float = POWER, alpha: float = ALPHA) -> float:
    """The smallest true difference that a test at this level would find with this power, from the standard error."""
    from scipy.special import stdtrit

    if images < 2 or not np.isfinite(se):
        return float("nan")
    return float((stdtrit(images - 1, 1 - alpha / 2) + stdtrit(images - 1, power)) * se)


def power_of(difference: float, se: float, images: int, alpha: float = ALPHA) -> float:
    """How often a test at this level finds a true difference of this size."""
    from scipy.stats import nct, t

    edge = t.ppf(1 - alpha / 2, images - 1)
    shifted = nct(images - 1, abs(difference) / se)
    return float(shifted.sf(edge) + shifted.cdf(-edge))


def answered(records: Iterable[Record]) -> dict[str, Record]:
    """The records that hold an answer, by sample."""
    return {record.id: record for record in records if record.scored}
