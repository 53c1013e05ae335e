"""Metrics: functions of totals, written once for a number or for ten thousand resamples at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Totals = Mapping[str, Any]
"""Added-up counts: each a number, or an array with one entry a resample."""

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Metric:
    """A function of totals. ``scale`` 100 prints it as a percentage; ``better`` says which way is good.

    ``of`` returns a fraction (or any number) from totals, nan where nothing was counted, and never rounds.
    """

    of: Callable[[Totals], Any]
    better: Better = "higher"
    scale: float = 100.0
    digits: int = 1

    def __call__(self, totals: Totals) -> Any:
        """The metric's value, scaled; nan where a count it needs is missing or nothing was counted."""
        with np.errstate(divide="ignore", invalid="ignore"):
            try:
                return self.of(totals) * self.scale
            except KeyError:
                return np.float64(np.nan)


def divide(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator, nan where nothing was counted; numbers or arrays."""
    return np.true_divide(numerator, np.where(np.equal(denominator, 0), np.nan, denominator))


def ratio(numerator: str, denominator: str, **kind: Any) -> Metric:
    """One total over another."""
    return Metric(lambda totals: divide(totals[numerator], totals[denominator]), **kind)


def macro(totals: Totals, kinds: Iterable[str] | None = None) -> Any:
    """The mean over kinds of ``right_KIND`` / ``n_KIND``, each kind counting as much; all kinds there are by default.

    nan where a kind asked for was never counted; a resample that missed a small kind averages over the rest.
    """
    names = kinds or [key.removeprefix("n_") for key in totals if key.startswith("n_")]
    shares = [np.asarray(divide(totals[f"right_{name}"], totals[f"n_{name}"])) for name in names]
    there = sum(np.isfinite(share).astype(float) for share in shares)
    return divide(sum(np.nan_to_num(share) for share in shares), there)


def f1(precision: Any, recall: Any) -> Any:
    """Harmonic mean of precision and recall (fractions)."""
    return divide(2 * precision * recall, precision + recall)
