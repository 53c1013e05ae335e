"""Does a model see better, or does it only say "no" more? The reading of a change in yes-no answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness import yes_no
from harness.metrics import Totals
from harness.stats import Difference

SHOWN = ("balanced_accuracy", "d_prime", "criterion", "yes_ratio", "recall_yes", "recall_no")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a change of answers is: bias, criterion, sight, both, one-sided or none; and how much of each.

    ``by_bias`` and ``by_sight`` split the change of accuracy (in points) between criterion and d'; ``discrimination``
    is the direction in which balanced accuracy moves, 0 where it does not; ``ranking`` that of AUROC, where p(yes) is
    known: it is free of any criterion.
    """

    kind: str
    by_bias: float
    by_sight: float
    discrimination: int = 0
    ranking: int = 0

    @property
    def flagged(self) -> bool:
        """Whether a gain must not be read as better sight."""
        return self.kind in ("bias", "criterion")

    def sentence(self) -> str:
        """The reading in one sentence."""
        way = {1: "improves", 0: "stays", -1: "falls"}[self.discrimination]
        says = {
            "bias": f"RESPONSE BIAS: accuracy or F1 moves while discrimination (balanced accuracy) {way}",
            "criterion": f"RESPONSE BIAS: balanced accuracy {way}, d′ does not: the line between yes and no moved",
            "sight": f"sight: discrimination (balanced accuracy) {way}",
            "both": f"discrimination (balanced accuracy) {way}, and the readiness to say yes moves too",
            "one-sided": "one-sided: all questions have the same answer, so bias and sight cannot be told apart",
            "none": "no change that this data can tell from chance",
        }[self.kind]
        rank = {1: "; p(yes) ranks presence better", 0: "", -1: "; p(yes) ranks presence worse"}[self.ranking]
        split = f" (of the change in accuracy, {self.by_bias:+z.1f} by criterion, {self.by_sight:+z.1f} by d′)"
        return says + rank + (split if self.by_bias == self.by_bias else "")


def moved(one: Difference | None) -> int:
    """The direction of a difference whose interval leaves out 0, else 0."""
    if one is None or one.value != one.value or one.low != one.low:
        return 0
    return 1 if one.low > 0 else -1 if one.high < 0 else 0


def read(changes: Mapping[str, Difference], base: Totals, candidate: Totals) -> Reading:
    """The reading of these changes (by the metric's name), and of the totals behind them."""
    if not base.get("yes") or not base.get("no"):
        return Reading("one-sided", float("nan"), float("nan"))
    bias, sight = split(base, candidate)
    headline = [moved(changes.get(name)) for name in ("accuracy", "f1")]
    discrimination, leaning = moved(changes.get("balanced_accuracy")), moved(changes.get("yes_ratio"))
    ranking = moved(changes.get("AUROC"))
    shares = (bias, sight, discrimination, ranking)
    if any(way and way != discrimination for way in headline) and leaning:
        # discrimination that falls while accuracy rises is bias too: the gain is bought
        return Reading("bias", *shares)
    if discrimination and leaning and discrimination not in (moved(changes.get("d_prime")), ranking):
        # balanced accuracy is best where the criterion is 0: moving the line there raises it at the same d'
        return Reading("criterion", *shares)
    if discrimination:
        return Reading("both" if leaning else "sight", *shares)
    return Reading("none", *shares)


def split(base: Totals, candidate: Totals) -> tuple[float, float]:
    """The change of accuracy, in points, owed to the criterion and to d', under the equal-variance normal model.

    Each share is the mean over the two orders in which the two may change (Shapley).
    """
    d = yes_no.d_prime(base), yes_no.d_prime(candidate)
    c = yes_no.criterion(base), yes_no.criterion(candidate)
    share = base["yes"] / (base["yes"] + base["no"])
    at = {(i, j): _accuracy(d[i], c[j], share) for i in (0, 1) for j in (0, 1)}
    bias = (at[0, 1] - at[0, 0] + at[1, 1] - at[1, 0]) / 2
    sight = (at[1, 0] - at[0, 0] + at[1, 1] - at[0, 1]) / 2
    return 100 * bias, 100 * sight


def _accuracy(d: float, c: float, share: float) -> float:
    from scipy.special import ndtr

    return float(share * ndtr(d / 2 - c) + (1 - share) * ndtr(d / 2 + c))
