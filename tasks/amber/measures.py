"""AMBER's metrics as functions of totals: the numbers that inference.py prints, and the same ones unrounded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from harness import yes_no
from harness.metrics import Metric, Totals, divide, f1, ratio

# metrics.txt starts every denominator of the official script at this.
START = 0.001


def _percent(totals: Totals, top: str, bottom: str, starts: int = 1) -> Any:
    """A share in per cent, to one decimal. Of resamples the plain share: an interval knows no constant, no rounding."""
    if np.ndim(totals[bottom]):
        return divide(totals[top], totals[bottom]) * 100
    return round(float(totals[top]) / (float(totals[bottom]) + starts * START) * 100, 1)


def _hal(totals: Totals) -> Any:
    if np.ndim(totals["captions"]):
        return divide(totals["hallucinated"], totals["captions"]) * 100
    clean = float(totals["captions"]) - float(totals["hallucinated"])
    return round(100 - clean / (float(totals["captions"]) + START) * 100, 1)


def _f1(totals: Totals, starts: int, constant: float) -> Any:
    """F1 of precision and recall that are already rounded, with a constant in the denominator."""
    precision = _percent(totals, "right_no", "said_no", starts) / 100
    recall = _percent(totals, "right_no", "no", starts) / 100
    if np.ndim(precision):
        return f1(precision, recall) * 100
    return round(2 * precision * recall / (precision + recall + constant) * 100, 1)


def _score(totals: Totals) -> Any:
    """(100 - CHAIR + F1) / 2, nan where captions or questions are missing."""
    value = (100 - _percent(totals, "invented", "nouns") + _f1(totals, 1, 0.0001)) / 2
    both = (np.asarray(totals["captions"]) > 0) & (np.asarray(totals["n"]) > 0)
    found = np.where(both, value, np.nan)
    return found if np.ndim(found) else round(float(found), 1)


def _official(of: Any, better: Any = "higher") -> Metric:
    return Metric(of, better=better, scale=1.0)


def _official_questions(group: str) -> dict[str, Metric]:
    # attribute adds up three counters that each start at 0.001; existence has a constant of its own in F1
    starts = 3 if group.endswith("attribute") else 1
    constant = 0.001 if group.endswith("existence") else 0.0001
    return {
        "accuracy": _official(partial(_percent, top="right", bottom="n", starts=starts)),
        "precision": _official(partial(_percent, top="right_no", bottom="said_no", starts=starts)),
        "recall": _official(partial(_percent, top="right_no", bottom="no", starts=starts)),
        "f1": _official(partial(_f1, starts=starts, constant=constant)),
    }


OFFICIAL_CAPTIONS: Mapping[str, Metric] = {
    "CHAIR": _official(partial(_percent, top="invented", bottom="nouns"), "lower"),
    "Cover": _official(partial(_percent, top="covered", bottom="slots")),
    "Hal": _official(_hal, "lower"),
    "Cog": _official(partial(_percent, top="trapped", bottom="traps"), "lower"),
}

STRICT_CAPTIONS: Mapping[str, Metric] = {
    "CHAIR": ratio("invented", "nouns", better="lower"),
    "Cover": ratio("covered", "slots"),
    "Hal": ratio("hallucinated", "captions", better="lower"),
    "Cog": ratio("trapped", "traps", better="lower"),
}

STRICT_QUESTIONS: Mapping[str, Metric] = yes_no.answer_metrics("no")


def _strict_score(totals: Totals) -> Any:
    return (1 - divide(totals["invented"], totals["nouns"]) + STRICT_QUESTIONS["f1"].of(totals)) / 2


def questions(rules: str, group: str) -> dict[str, Metric]:
    """The metrics of a group of questions, the signal beside them."""
    return {**(_official_questions(group) if rules == "official" else STRICT_QUESTIONS), **yes_no.SIGNAL}


def captions(rules: str) -> Mapping[str, Metric]:
    """The metrics of the captions."""
    return OFFICIAL_CAPTIONS if rules == "official" else STRICT_CAPTIONS


def whole(rules: str) -> dict[str, Metric]:
    """The AMBER Score."""
    return {"AMBER": _official(_score) if rules == "official" else Metric(_strict_score)}
