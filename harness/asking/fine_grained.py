"""F-CLIPScore: a caption's score as the mean of its own logit and those of its nouns (arXiv 2502.20034)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

SCALE = 100.0
"""CLIP's logit scale at the end of its training, where it is clamped (arXiv 2103.00020, section 2.5)."""
FLOOR = 1e-7
"""What a logit that is not positive counts as (abzb1/f-clip @ 105c9a3, scorers.py)."""


def arithmetic(logits: Sequence[float]) -> float:
    """The mean, as in FClipScorerAM."""
    return float(np.mean(_floored(logits)))


def geometric(logits: Sequence[float]) -> float:
    """The geometric mean, as in FClipScorerGM."""
    return float(np.exp(np.mean(np.log(_floored(logits)))))


def _floored(logits: Sequence[float]) -> np.ndarray:
    found = np.asarray(logits, float)
    return np.where(found > 0, found, FLOOR)


MEANS: Mapping[str, Callable[[Sequence[float]], float]] = {"arithmetic": arithmetic, "geometric": geometric}


def scored(
    mean: str, parts: Sequence[Sequence[str]], texts: Sequence[str], similarity: Mapping[str, float]
) -> list[float]:
    """A score for each text: the mean of its logit and of those of its parts, brought back to a similarity's size."""
    return [
        MEANS[mean]([SCALE * similarity[one] for one in (text, *own)]) / SCALE
        for text, own in zip(texts, parts, strict=True)
    ]
