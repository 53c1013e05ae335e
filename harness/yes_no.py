"""Yes or no: how each tool reads an answer, what the answer adds to the totals, and the metrics of those totals."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from harness.errors import UsageError
from harness.metrics import Metric, Totals, divide, f1, ratio

Said = Literal["yes", "no"] | None
"""What an answer says; None where the reading cannot tell."""


def official(answer: str) -> Said:
    """POPE's own reading: "No", "no" or "not" among the words of the first sentence is no, all else is yes."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def exact(answer: str) -> Said:
    """AMBER's own reading: the strings Yes and No and nothing else."""
    return "yes" if answer == "Yes" else "no" if answer == "No" else None


# 是/否, 是的/不是, 有/没有: "it is" and "there is". Chinese writes no spaces, so a denial may go on: 没有自行车.
_CHINESE_YES = re.compile(r"是的?|有的?")
_CHINESE_NO = re.compile(r"否|不是.*|[没沒]有.*")


def first_word(answer: str) -> Said:
    """The first word, in any case and with any punctuation around it, in English or Chinese."""
    word = re.search(r"[^\W_]+", answer)
    said = word.group().casefold() if word else ""
    if said == "yes" or _CHINESE_YES.fullmatch(said):
        return "yes"
    return "no" if said == "no" or _CHINESE_NO.fullmatch(said) else None


def lmms_eval(answer: str) -> Said:
    """lmms-eval's reading: yes or no and nothing else, in any case, white space stripped."""
    said = answer.lower().strip()
    return "yes" if said == "yes" else "no" if said == "no" else None


# The marks that VLMEvalKit's VQA clean-up turns into a space, or drops where one stands beside a space.
_MARKS = ';/[]"{}()=+\\_-><@`,?!'


def _cleaned(text: str) -> str:
    number = re.search(r"\d,\d", text) is not None
    cleaned = text
    for mark in _MARKS:
        beside_space = f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if beside_space or number else " ")
    # it hands re.UNICODE (32) to sub() where the count belongs: at most 32 full stops go
    return re.sub(r"\.(?!\d)", "", cleaned, count=32)


def vlmevalkit(answer: str) -> Said:
    """VLMEvalKit's reading: the one of yes and no that stands among the words, where the other does not."""
    words = set(_cleaned(answer.lower()).split())
    if ("yes" in words) == ("no" in words):
        return None
    return "yes" if "yes" in words else "no"


Reading = Callable[[str], Said]

READINGS: Mapping[str, Reading] = {
    name: lru_cache(maxsize=65_536)(reading)
    for name, reading in {
        "official": official,
        "exact": exact,
        "first-word": first_word,
        "lmms-eval": lmms_eval,
        "vlmevalkit": vlmevalkit,
    }.items()
}


def reading(name: str) -> Reading:
    """The reading of this name; UsageError says which there are."""
    if name not in READINGS:
        raise UsageError(f"no reading of yes and no is called '{name}'; there is {', '.join(READINGS)}")
    return READINGS[name]


KEYS = ("n", "right", "yes", "no", "said_yes", "said_no", "right_yes", "right_no")


def counts(truth: str, said: Said) -> dict[str, int]:
    """What one answer adds: how many were asked, meant, said and right, of yes and of no."""
    return dict(_counts(truth, said))


@lru_cache(maxsize=16)
def _counts(truth: str, said: Said) -> dict[str, int]:
    yes, right = truth == "yes", said == truth
    return {
        "n": 1,
        "right": int(right),
        "yes": int(yes),
        "no": int(not yes),
        "said_yes": int(said == "yes"),
        "said_no": int(said == "no"),
        "right_yes": int(yes and right),
        "right_no": int(not yes and right),
    }


def answer_metrics(positive: Literal["yes", "no"]) -> dict[str, Metric]:
    """Accuracy, and precision, recall and F1 of this answer as the positive class."""
    precision, recall = ratio(f"right_{positive}", f"said_{positive}"), ratio(f"right_{positive}", positive)
    return {
        "accuracy": ratio("right", "n"),
        "precision": precision,
        "recall": recall,
        "f1": Metric(lambda totals: f1(precision.of(totals), recall.of(totals))),
    }


def _hits(totals: Totals) -> Any:
    return divide(totals["right_yes"], totals["yes"])


def _rejections(totals: Totals) -> Any:
    return divide(totals["right_no"], totals["no"])


def _z(totals: Totals, answer: str) -> Any:
    """The normal quantile of the share of this answer's questions got right; nan where nothing was asked.

    Log-linear correction (Hautus 1995), in proportion to how many questions have this answer: so a model that always
    says the same has d′ 0 whatever the mix of questions; with as many of both it adds 0.5 to 1 as usual.
    """
    asked = np.asarray(totals[answer], float)
    share = divide(asked, asked + np.asarray(totals["no" if answer == "yes" else "yes"], float))
    rate = divide(np.asarray(totals[f"right_{answer}"], float) + share, asked + 2 * share)
    if np.ndim(rate) == 0:
        return np.float64(NormalDist().inv_cdf(float(rate)) if asked > 0 else np.nan)
    from scipy.special import ndtri

    return np.where(asked > 0, ndtri(rate), np.nan)


def d_prime(totals: Totals) -> Any:
    """How far apart the model holds presence and absence, in standard deviations: z(hits) + z(correct rejections)."""
    return _z(totals, "yes") + _z(totals, "no")


def criterion(totals: Totals) -> Any:
    """Where the model puts the line: above 0 it leans to no, below 0 to yes."""
    return (_z(totals, "no") - _z(totals, "yes")) / 2


def mcc(totals: Totals) -> Any:
    """Matthews' correlation of truth and answer; an answer that is neither yes nor no counts as the wrong one."""
    yes, no = np.asarray(totals["yes"], float), np.asarray(totals["no"], float)
    hits, rejections = np.asarray(totals["right_yes"], float), np.asarray(totals["right_no"], float)
    misses, alarms = yes - hits, no - rejections
    scale = np.sqrt((hits + alarms) * yes * no * (rejections + misses))
    return divide(hits * rejections - alarms * misses, scale)


SIGNAL: Mapping[str, Metric] = {
    "recall_yes": Metric(_hits),
    "recall_no": Metric(_rejections),
    "balanced_accuracy": Metric(lambda totals: (_hits(totals) + _rejections(totals)) / 2),
    "d_prime": Metric(d_prime, scale=1.0, digits=2),
    "criterion": Metric(criterion, better="neither", scale=1.0, digits=2),
    "mcc": Metric(mcc, scale=1.0, digits=3),
    "yes_ratio": ratio("said_yes", "n", better="neither"),
    "unread": Metric(
        lambda totals: divide(
            np.asarray(totals["n"], float) - np.asarray(totals["said_yes"]) - np.asarray(totals["said_no"]), totals["n"]
        ),
        better="lower",
    ),
}
"""Discrimination told from bias. Each is a function of the same totals; an unread answer is a wrong one."""


def of_probabilities(truths: list[str], p_yes: list[float]) -> dict[str, float]:
    """What p(yes) adds to the words: AUROC, average precision, Brier score and calibration error (10 bins)."""
    yes, p = np.asarray([truth == "yes" for truth in truths]), np.asarray(p_yes, float)
    return {
        "auroc": _auroc(yes, p),
        "average_precision": _average_precision(yes, p),
        "brier": float(np.mean((p - yes) ** 2)) if len(p) else np.nan,
        "ece": _calibration_error(yes, p),
    }


def _auroc(yes: Any, p: Any) -> float:
    """The chance that a present object gets the higher p(yes), ties half."""
    from scipy.stats import rankdata

    present, absent = int(yes.sum()), int((~yes).sum())
    if not present or not absent:
        return float("nan")
    return float((rankdata(p)[yes].sum() - present * (present + 1) / 2) / (present * absent))


def _average_precision(yes: Any, p: Any) -> float:
    """Precision at each new threshold, weighted by the recall that it adds; equal p(yes) form one threshold."""
    if not yes.any():
        return float("nan")
    order = np.argsort(-p, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(p[order])), len(p) - 1]
    hits = np.cumsum(yes[order])[last]
    return float(np.sum(np.diff(np.r_[0, hits]) / yes.sum() * hits / (last + 1)))


def _calibration_error(yes: Any, p: Any, bins: int = 10) -> float:
    """How far p(yes) is from the share of yes, averaged over equal-width bins."""
    if not len(p):
        return float("nan")
    where = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(p[where == b].mean() - yes[where == b].mean()) * (where == b).sum() for b in np.unique(where)]
    return float(np.sum(gaps) / len(p))
