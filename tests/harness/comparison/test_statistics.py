"""The statistics of a comparison on drawn data whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness import stats, tallies
from harness.comparison import significance
from harness.metrics import ratio
from harness.records import Record
from harness.tallies import Tally
from harness.types import Answer

ACCURACY = ratio("right", "n")
IMAGES, EACH, DRAWS = 150, 6, 1600


def drawn(rng: np.random.Generator, gap: float, images: int = IMAGES) -> tuple[Tally, Tally]:
    """Two models on the same questions: images differ in how hard they are, and both find the same ones hard."""
    ease = rng.beta(3, 1.5, images)[:, None]
    shared = rng.random((images, EACH))
    own = np.where(rng.random((2, images, EACH)) < 0.6, shared, rng.random((2, images, EACH)))
    right = [(own[0] < ease), (own[1] < np.clip(ease + gap, 0, 1))]
    n = np.full(images, EACH)
    names = tuple(map(str, range(images)))
    first, second = (Tally(names, {"right": r.sum(1).astype(float), "n": n.astype(float)}, n) for r in right)
    return first, second


def differences(gap: float, seed: int, draws: int = DRAWS) -> list[stats.Difference]:
    rng = np.random.default_rng(seed)
    pairs = (drawn(rng, gap) for _ in range(draws))
    return [stats.differences({"": ACCURACY}, *pair, resamples=1000)[""] for pair in pairs]


@pytest.fixture(scope="module")
def null() -> list[stats.Difference]:
    return differences(0.0, 11)


def test_where_nothing_differs_p_values_are_uniform(null: list[stats.Difference]) -> None:
    p = np.array([one.p for one in null])
    assert scipy_stats.kstest(p, "uniform").pvalue > 0.01
    for level in (0.05, 0.1, 0.5):
        assert (p < level).mean() == pytest.approx(level, abs=2.6 * np.sqrt(level * (1 - level) / len(p)))


def test_intervals_cover_the_truth_in_95_percent(null: list[stats.Difference]) -> None:
    assert np.mean([one.low <= 0 <= one.high for one in null]) == pytest.approx(0.95, abs=0.01)


def test_the_standard_error_is_that_of_repeated_experiments(null: list[stats.Difference]) -> None:
    assert np.mean([one.se for one in null]) == pytest.approx(np.std([one.value for one in null]), rel=0.05)


def test_a_planted_difference_is_found_as_often_as_its_power_says() -> None:
    found = differences(0.04, 12, 700)
    truth, se = np.mean([one.value for one in found]), np.mean([one.se for one in found])
    expected = significance.power_of(float(truth), float(se), IMAGES)
    assert 0.2 < expected < 0.95
    assert np.mean([one.p < 0.05 for one in found]) == pytest.approx(expected, abs=0.05)


def test_the_detectable_difference_has_four_fifths_power() -> None:
    smallest = significance.detectable(1.3, 200)
    assert significance.power_of(smallest, 1.3, 200) == pytest.approx(0.8, abs=0.005)


def test_answers_on_the_same_image_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(5)
    flips = rng.choice([-1.0, 0.0, 1.0], 60)
    n = np.full(60, 10)
    names = tuple(map(str, range(60)))
    base = Tally(names, {"right": np.full(60, 5.0), "n": n.astype(float)}, n)
    other = Tally(names, {"right": 5.0 + 5 * flips, "n": n.astype(float)}, n)
    clustered = stats.differences({"": ACCURACY}, base, other)[""]
    independent = 100 * np.sqrt(np.mean(np.abs(flips)) * 5 / 10 / 600)
    assert clustered.se > 2 * independent


def test_no_difference_at_all_has_p_1_and_an_interval_of_0() -> None:
    base, _ = drawn(np.random.default_rng(0), 0.0)
    one = stats.differences({"": ACCURACY}, base, base)[""]
    assert (one.value, one.low, one.high, one.p) == (0, 0, 0, 1)


def test_one_image_alone_gives_a_difference_without_an_interval() -> None:
    n = np.ones(1)
    base, other = (Tally(("a",), {"right": np.array([x]), "n": n}, n.astype(int)) for x in (0.0, 1.0))
    one = stats.differences({"": ACCURACY}, base, other)[""]
    assert one.value == 100
    assert np.isnan([one.low, one.high, one.p, one.se]).all()


@pytest.mark.parametrize("value", [0.03, 0.3])
def test_p_is_below_5_percent_just_where_the_interval_leaves_out_0(value: float) -> None:
    spread = np.random.default_rng(1).normal(value, 0.1, 20_000)
    one = stats.difference(value, spread, 80)
    assert (one.p < 0.05) == (one.low > 0)


@pytest.mark.parametrize(
    ("fixed", "broken", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (10, 2, 0.03857421875), (1, 9, 0.021484375), (4, 4, 1.0)]
)
def test_mcnemar_is_the_exact_binomial(fixed: int, broken: int, p: float) -> None:
    assert significance.exact(fixed, broken) == pytest.approx(p)


def test_holm_multiplies_the_smallest_by_their_number_and_leaves_nan_out() -> None:
    adjusted = significance.holm({"a": 0.01, "b": 0.04, "c": 0.03, "none": float("nan")})
    assert adjusted["a"] == pytest.approx(0.03)
    assert adjusted["c"] == adjusted["b"] == pytest.approx(0.06)
    assert np.isnan(adjusted["none"])
    assert significance.holm({}) == {}


def test_holm_is_statsmodels_own_of_the_p_values_that_are_there() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="pip install statsmodels to check Holm by it")
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 12, 40):
        values = rng.choice([*rng.random(n) ** 4, 0.0, 1.0, 0.05, math.nan], n)  # ties, both ends and holes among them
        adjusted = significance.holm({str(i): float(value) for i, value in enumerate(values)})
        there = np.isfinite(values)
        found = np.array(list(adjusted.values()))
        if there.any():
            assert found[there] == pytest.approx(multitest.multipletests(values[there], method="holm")[1])
        assert np.isnan(found[~there]).all()


def record(id: str, image: str, **counts: float) -> Record:
    return Record(id, image, "", "", "", Answer("x"), counts)


def test_flips_count_samples_and_the_images_they_stand_on() -> None:
    base = [
        record(str(i), image, n=1, right=r) for i, (image, r) in enumerate([("a", 0), ("a", 0), ("a", 1), ("b", 1)])
    ]
    after = [
        record(str(i), image, n=1, right=r) for i, (image, r) in enumerate([("a", 1), ("a", 1), ("a", 0), ("b", 1)])
    ]
    found = significance.flips(base, after)
    assert found is not None
    assert (found.fixed, found.broken, found.images_better, found.images_worse) == (2, 1, 1, 0)


def test_a_caption_is_right_where_it_invents_nothing_and_a_sum_is_neither() -> None:
    assert significance.correct(record("1", "a", captions=1, hallucinated=0)) is True
    assert significance.correct(record("1", "a", captions=1, hallucinated=1)) is False
    assert significance.correct(record("1", "a", words=12)) is None
    assert significance.flips([record("1", "a", words=1)], [record("1", "a", words=2)]) is None


def test_a_control_s_answer_counts_on_the_base_s_image() -> None:
    base = [record("1", "a", n=1, right=1), record("2", "b", n=1, right=0)]
    control = [record("1", "b", n=1, right=0), record("2", "a", n=1, right=0)]
    first, second = tallies.paired_tallies(base, control)[""]
    assert first.images == second.images == ("a", "b")
    assert list(second.counts["right"]) == [0, 0]
    assert list(second.n) == [1, 1]
