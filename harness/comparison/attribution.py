"""Eye or brain: what an encoder can tell of each object asked about, crossed with what the LVLM said of it.

Seen means that the encoder's score for (image, object) is above a threshold, whether the object is there or not. The
threshold and the probe of each image come from other images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import stats, tallies
from harness.comparison.existence import Claim
from harness.metrics import Metric, divide, ratio
from harness.records import Record
from harness.stats import Estimate, Pair
from harness.types import Answer

FOLDS = 5
LEAST = 5
"""The fewest images with, and without, an object from which a probe for it is fitted."""
COMPONENTS = 128

CELLS = ("seen_said", "seen_denied", "unseen_claimed", "unseen_denied")


def _cell(kind: str, name: str) -> Metric:
    return ratio(f"{kind}_{name}", kind, better="neither")


METRICS: Mapping[str, Metric] = {
    **{f"{kind}: {name.replace('_', '-')}": _cell(kind, name) for kind in ("absent", "present") for name in CELLS},
    "false claims the eye made": Metric(
        lambda t: divide(t["absent_seen_said"], t["absent_seen_said"] + t["absent_unseen_claimed"]), "neither"
    ),
    "misses the eye made": Metric(
        lambda t: divide(t["present_unseen_denied"], t["present_unseen_denied"] + t["present_seen_denied"]), "neither"
    ),
    "eye: balanced accuracy": Metric(
        lambda t: (
            (
                divide(t["present_seen_said"] + t["present_seen_denied"], t["present"])
                + divide(t["absent_unseen_claimed"] + t["absent_unseen_denied"], t["absent"])
            )
            / 2
        )
    ),
    "says yes where seen": Metric(
        lambda t: divide(
            t["absent_seen_said"] + t["present_seen_said"],
            t["absent_seen_said"] + t["present_seen_said"] + t["absent_seen_denied"] + t["present_seen_denied"],
        ),
        "neither",
    ),
    "says yes where unseen": Metric(
        lambda t: divide(
            t["absent_unseen_claimed"] + t["present_unseen_claimed"],
            t["absent_unseen_claimed"]
            + t["present_unseen_claimed"]
            + t["absent_unseen_denied"]
            + t["present_unseen_denied"],
        ),
        "lower",
    ),
}
"""Rates over objects that are absent, that are present, and what the errors are made of."""


def fold_of(images: Iterable[Path]) -> dict[Path, int]:
    """Each image's fold, the same whatever else is asked."""
    order = np.random.default_rng(0).permutation(len(distinct := sorted(set(images), key=str)))
    return {image: int(order[i]) % FOLDS for i, image in enumerate(distinct)}


def seen(claims: Sequence[Claim], score: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each claim's object is seen: above the threshold that tells presence best on the other folds' images."""
    fold_by = fold_of(claim.image for claim in claims)
    fold = np.array([fold_by[claim.image] for claim in claims])
    present = np.array([claim.present for claim in claims])
    found = np.zeros(len(claims), bool)
    for k in range(FOLDS):
        rest = (fold != k) & np.isfinite(score)
        found[fold == k] = score[fold == k] > threshold(score[rest], present[rest])
    return found


def threshold(score: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    """The score above which balanced accuracy is best; halfway to the next lower score."""
    if not present.any() or present.all():
        return float(np.median(score)) if len(score) else 0.0
    order = np.argsort(-score, kind="stable")
    s, p = score[order], present[order]
    last = np.r_[np.diff(s) != 0, True]
    gain = np.cumsum(p) / p.sum() - np.cumsum(~p) / (~p).sum()
    best = int(np.flatnonzero(last)[np.argmax(gain[last])])
    below = s[best + 1] if best + 1 < len(s) else s[best] - 1e-6
    return float((s[best] + below) / 2)


def records(claims: Sequence[Claim], score: NDArray[np.float64], eye: str) -> list[Record]:
    """One record for each claim that was answered and scored, with the cell it falls into; grouped by eye and task."""
    found = []
    for claim, sees, s in zip(claims, seen(claims, score), score, strict=True):
        if claim.said is None or not np.isfinite(s):
            continue
        kind = "present" if claim.present else "absent"
        cell = CELLS[(0 if claim.said else 1) if sees else (2 if claim.said else 3)]
        counts = {f"{k}_{name}": 0.0 for k in ("present", "absent") for name in CELLS}
        counts |= {"present": float(claim.present), "absent": float(not claim.present), f"{kind}_{cell}": 1.0}
        id = f"{eye}/{claim.task}/{claim.id}"
        found.append(
            Record(id, str(claim.image), f"{eye}/{claim.task}", "", "", Answer("yes" if claim.said else "no"), counts)
        )
    return found


def probe(
    features: Mapping[Path, NDArray[np.float64]], labels: Mapping[tuple[Path, str], bool], claims: Sequence[Claim]
) -> NDArray[np.float64]:
    """A score for each claim from linear probes, one for each object, fitted on images of other folds; else nan.

    Features are reduced to their main components on the fitting images, then logistic regression for each object that
    at least five of them show and five do not.
    """
    fold = fold_of(features)
    found = np.full(len(claims), np.nan)
    for k in range(FOLDS):
        fitting = [image for image in features if fold[image] != k]
        held = [i for i, claim in enumerate(claims) if fold.get(claim.image) == k]
        if held and len(fitting) > 2 * LEAST:
            _probe_fold(features, labels, fitting, [claims[i] for i in held], found, held)
    return found


def _probe_fold(
    features: Mapping[Path, NDArray[np.float64]],
    labels: Mapping[tuple[Path, str], bool],
    fitting: Sequence[Path],
    claims: Sequence[Claim],
    found: NDArray[np.float64],
    held: Sequence[int],
) -> None:
    """Fill in the scores of one fold's claims."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    table = np.stack([features[image] for image in fitting])
    mean, spread = table.mean(0), table.std(0) + 1e-6
    table = (table - mean) / spread
    reduce = PCA(min(COMPONENTS, len(fitting) - 1, table.shape[1]), whiten=True, random_state=0).fit(table)
    table = reduce.transform(table)
    for name in dict.fromkeys(claim.object for claim in claims):
        rows = [i for i, image in enumerate(fitting) if (image, name) in labels]
        there = np.array([labels[fitting[i], name] for i in rows], bool)
        if min(there.sum(), (~there).sum()) < LEAST:
            continue
        model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=500).fit(table[rows], there)
        ours = [j for j, claim in enumerate(claims) if claim.object == name]
        held_out = reduce.transform((np.stack([features[claims[j].image] for j in ours]) - mean) / spread)
        found[[held[j] for j in ours]] = model.decision_function(held_out)


@dataclass(frozen=True)
class Attribution:
    """One run's cells: rates with intervals by eye and task, and how well each eye ranks presence."""

    name: str
    records: tuple[Record, ...]
    auroc: Mapping[str, float]

    def rates(self) -> dict[str, dict[str, Estimate]]:
        """Group → metric → value with its interval."""
        return {g: stats.estimates(METRICS, one) for g, one in tallies.tally(self.records).items() if "/" in g}


def changes(base: Attribution, other: Attribution) -> dict[str, dict[str, Pair]]:
    """Group → metric → base, other and their difference, paired by question, images as clusters."""
    pairs = tallies.paired_tallies(base.records, other.records)
    drawn = stats.of_both(pairs)
    return {group: stats.compared(METRICS, *pair, drawn=drawn[group]) for group, pair in pairs.items() if "/" in group}


def auroc(claims: Sequence[Claim], score: NDArray[np.float64]) -> float:
    """The chance that a present object's score is above an absent one's; nan where one kind is missing."""
    from sklearn.metrics import roc_auc_score

    there = np.array([claim.present for claim in claims])
    real = np.isfinite(score)
    if not there[real].any() or there[real].all():
        return float("nan")
    return float(roc_auc_score(there[real], score[real]))
