"""What p(yes) adds: each measure against scikit-learn, under weights, and at its extremes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from harness import yes_no
from harness.comparison import probabilities as p_yes
from harness.comparison.probabilities import Believed


def drawn(n: int = 400, ties: bool = False, seed: int = 0) -> Believed:
    rng = np.random.default_rng(seed)
    yes = rng.random(n) < 0.4
    p = 1 / (1 + np.exp(-(rng.normal(0, 1.5, n) + np.where(yes, 1, -1))))
    image = rng.integers(0, 40, n)
    return Believed(yes, p.round(1) if ties else p, image, tuple(map(str, range(40)))).sorted()


def once(one: Believed) -> np.ndarray:
    return np.ones((1, len(one.p)))


@pytest.mark.parametrize("ties", [False, True])
def test_measures_are_scikit_learn_s(ties: bool) -> None:
    one = drawn(ties=ties)
    assert p_yes.auroc(one, once(one))[0] == pytest.approx(roc_auc_score(one.yes, one.p))
    assert p_yes.average_precision(one, once(one))[0] == pytest.approx(average_precision_score(one.yes, one.p))
    assert p_yes.brier(one, once(one))[0] == pytest.approx(brier_score_loss(one.yes, one.p))


def test_measures_are_those_that_score_prints() -> None:
    one = drawn()
    told = yes_no.of_probabilities(["yes" if yes else "no" for yes in one.yes], list(one.p))
    assert p_yes.auroc(one, once(one))[0] == pytest.approx(told["auroc"])
    assert p_yes.average_precision(one, once(one))[0] == pytest.approx(told["average_precision"])
    assert p_yes.brier(one, once(one))[0] == pytest.approx(told["brier"])
    assert p_yes.calibration_error(one, once(one))[0] == pytest.approx(told["ece"])


@pytest.mark.parametrize("name", list(p_yes.measures(0.5)))
@pytest.mark.parametrize("ties", [False, True])
def test_an_image_drawn_twice_weighs_as_two(name: str, ties: bool) -> None:
    one = drawn(120, ties)
    times = np.random.default_rng(3).integers(0, 3, len(one.p))
    again = Believed(*(np.repeat(x, times) for x in (one.yes, one.p, one.image)), one.images).sorted()
    measure = p_yes.measures(0.37)[name].of
    assert measure(one, times[None, :].astype(float))[0] == pytest.approx(measure(again, once(again))[0])


@pytest.mark.parametrize("name", list(p_yes.measures(0.5)))
def test_every_measure_points_the_right_way(name: str) -> None:
    yes = np.array([True, False] * 50)
    image, images = np.arange(100), tuple(map(str, range(100)))
    best = Believed(yes, np.where(yes, 0.99, 0.01), image, images).sorted()
    worst = Believed(yes, np.where(yes, 0.01, 0.99), image, images).sorted()
    measure = p_yes.measures(0.5)[name]
    good, bad = (measure.of(one, once(one))[0] for one in (best, worst))
    assert (good > bad) == (measure.better == "higher")


def test_accuracy_at_a_ratio_does_not_see_a_shift_of_bias() -> None:
    one = drawn()
    shifted = Believed(one.yes, one.p**3, one.image, one.images)
    at = p_yes.accuracy_at(0.4)
    assert at(one, once(one))[0] == pytest.approx(at(shifted, once(one))[0])
    plain = [np.mean((x.p >= 0.5) == x.yes) for x in (one, shifted)]
    assert plain[0] != plain[1]


def test_accuracy_at_a_ratio_splits_ties_in_proportion() -> None:
    one = Believed(np.array([True, False]), np.array([0.5, 0.5]), np.array([0, 1]), ("a", "b"))
    assert p_yes.accuracy_at(0.5)(one, once(one))[0] == pytest.approx(0.5)


def test_paired_intervals_tell_sight_from_a_monotone_change() -> None:
    one = drawn(900)
    shifted = Believed(one.yes, one.p**6, one.image, one.images)
    found = p_yes.estimates([one, shifted], p_yes.measures(0.4), resamples=200)
    auroc = found["AUROC"][1][1]
    brier = found["Brier"][1][1]
    assert auroc is not None
    assert brier is not None
    assert (auroc.value, auroc.p) == (0, 1)
    assert brier.p < 0.05


def test_reliability_and_coverage_add_up() -> None:
    one = drawn()
    bins = p_yes.reliability(one)
    assert sum(b["n"] for b in bins) == len(one.p)
    share, risk = p_yes.risk_coverage(one)[-1]
    assert share == 1
    assert risk == pytest.approx(np.mean((one.p >= 0.5) != one.yes))
    assert p_yes.risk_coverage(Believed(*(np.array([]) for _ in range(3)), ())) == []
