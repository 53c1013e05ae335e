"""Comparing methods over training seeds: the oracle's figures, properties, and coverage on drawn data."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from scipy.special import ndtr, ndtri

from harness.comparison import methods
from harness.comparison.methods import Figures
from harness.errors import UsageError

Table = NDArray[np.float64]
Totals = dict[str, Table]

ORACLE = Path(__file__).resolve().parents[4] / "shared/oracle/seeds/cases.json"
METRICS: dict[str, Callable[[Any], Any]] = {
    "accuracy": lambda t: 100 * t["right"] / t["n"],
    "chair_i": lambda t: 100 * t["hallucinated"] / t["mentioned"],
    "f1": lambda t: 200 * t["tp"] / (2 * t["tp"] + t["fp"] + t["fn"]),
    "d_prime": lambda t: (
        ndtri((t["tp"] + 0.5) / (t["tp"] + t["fn"] + 1)) - ndtri((t["fp"] + 0.5) / (t["fp"] + t["tn"] + 1))
    ),
}


def cases() -> list[Any]:
    if not ORACLE.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason="../shared is not here"))]
    return [pytest.param(case, id=case["name"]) for case in json.loads(ORACLE.read_text())["cases"]]


@pytest.mark.parametrize("case", cases())
def test_every_figure_of_the_oracle_is_met(case: dict[str, Any]) -> None:
    units = case["base_units"], case["candidate_units"]
    found = methods.difference(case["base"], case["candidate"], METRICS[case["metric"]], *units, case["seeds"])
    assert found.base and found.candidate
    for which, figures in (("difference", found), ("base", found.base), ("candidate", found.candidate)):
        for name, value in case["expected"][which].items():
            assert figures[name] == pytest.approx(value, rel=1e-9, abs=1e-9), (which, name)
    for which, one in zip(("base", "candidate"), units, strict=True):
        alone = methods.mean(case[which], METRICS[case["metric"]], one)
        assert alone["se"] == pytest.approx(case["expected"][which]["se"], rel=1e-9)


# Data drawn with a truth: K trainings of an arm answer the same N images, EACH questions on each


def answers(rng: np.random.Generator, runs: int, images: Table, spread: float, ease: float = 1.0) -> Table:
    """What share of an image's questions each training gets right [runs, images]; trainings spread on the probit."""
    return np.asarray(ndtr(ease + images + rng.normal(0, spread, (runs, 1))))


def arm(rng: np.random.Generator, metric: str, k: int, images: Table, spread: float) -> Totals:
    """Totals of one arm in one of four settings."""
    n = images.shape[0]
    if metric == "accuracy":
        return {"right": rng.binomial(1, answers(rng, k, images, spread)), "n": np.ones((k, n))}
    if metric == "chair_i":
        mentioned = 1 + rng.binomial(4, 0.6, (k, n))
        return {"hallucinated": rng.binomial(mentioned, answers(rng, k, images, spread, -1.3)), "mentioned": mentioned}
    yes = rng.binomial(3, answers(rng, k, images, spread, 1.3))
    no = rng.binomial(3, answers(rng, k, images, spread, 1.2))
    return {"tp": yes, "fn": 3 - yes, "tn": no, "fp": 3 - no}


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [3, 5])
def test_where_methods_do_not_differ_intervals_cover_nothing(metric: str, k: int) -> None:
    """Hard settings: trainings spread as much as or more than images do."""
    rng = np.random.default_rng([k, len(metric)])
    spread = {"accuracy": 0.12, "chair_i": 0.1, "f1": 0.06, "d_prime": 0.12}[metric]
    covered, images_only = 0, 0
    for _ in range(1000):
        images = rng.normal(0, 0.3, 150)
        pair = [arm(rng, metric, k, images, spread) for _ in range(2)]
        found = methods.difference(*pair, METRICS[metric], range(k), range(k), "independent")
        covered += found.low <= 0 <= found.high
        images_only += abs(found.value) <= found.half_images_alone
    assert covered / 1000 >= 0.93
    assert images_only / 1000 < 0.91, "the setting is not hard: resampling images alone would do"


def test_paired_trainings_cover_too() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(500):
        images, seeds = rng.normal(0, 0.3, 150), rng.normal(0, 0.15, (5, 1))
        pair = [{"right": rng.binomial(1, ndtr(1 + images + seeds)), "n": np.ones((5, 150))} for _ in range(2)]
        found = methods.difference(*pair, METRICS["accuracy"], range(5), range(5), "paired")
        covered += found.low <= 0 <= found.high
    assert covered / 500 >= 0.93


def test_a_borrowed_spread_covers_and_is_wider_than_none() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(500):
        images = rng.normal(0, 0.3, 150)
        base, candidate = (arm(rng, "accuracy", k, images, 0.15) for k in (1, 5))
        found = methods.difference(base, candidate, METRICS["accuracy"], "a", range(5), "borrowed")
        given_base = methods.difference(base, candidate, METRICS["accuracy"], "a", range(5))
        covered += found.low <= 0 <= found.high
        assert found.high >= given_base.high - 1e-9
    assert covered / 500 >= 0.92


def test_borrowing_needs_one_training_on_one_side_and_several_on_the_other() -> None:
    rng = np.random.default_rng(1)
    images = rng.normal(0, 0.3, 20)
    for counts in ((1, 1), (2, 3)):
        base, candidate = (arm(rng, "accuracy", k, images, 0.1) for k in counts)
        with pytest.raises(UsageError, match=f"{counts[0]} and {counts[1]}"):
            methods.difference(base, candidate, METRICS["accuracy"], *map(range, counts), "borrowed")


@st.composite
def arms(draw: Any, least: int = 1) -> tuple[str, Totals, Totals, int]:
    """A metric and two drawn arms of equally many trainings over the same images."""
    metric, k = draw(st.sampled_from(sorted(METRICS))), draw(st.integers(least, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    images = rng.normal(0, 0.4, draw(st.integers(12, 60)))
    spread = draw(st.sampled_from([0.0, 0.05, 0.3]))
    return metric, arm(rng, metric, k, images, spread), arm(rng, metric, k, images, spread), k


def numbers(figures: Figures) -> dict[str, float]:
    names = [name for name in figures if isinstance(figures[name], float)]
    return {name: figures[name] for name in names}


QUICK = settings(max_examples=40, deadline=None)


@QUICK
@given(arms(), st.sampled_from(["paired", "independent"]))
def test_swapping_the_arms_flips_signs(drawn: tuple[str, Totals, Totals, int], seeds: Any) -> None:
    metric, base, candidate, k = drawn
    there = numbers(methods.difference(base, candidate, METRICS[metric], range(k), range(k), seeds))
    back = numbers(methods.difference(candidate, base, METRICS[metric], range(k), range(k), seeds))
    assert there | {"value": -there["value"], "low": -there["high"], "high": -there["low"]} == pytest.approx(
        back, nan_ok=True, abs=1e-9
    )


@QUICK
@given(arms(), st.sampled_from(["paired", "independent"]))
def test_ten_times_the_metric_is_ten_times_everything(drawn: tuple[str, Totals, Totals, int], seeds: Any) -> None:
    metric, base, candidate, k = drawn
    once = numbers(methods.difference(base, candidate, METRICS[metric], range(k), range(k), seeds))
    ten = numbers(methods.difference(base, candidate, lambda t: 10 * METRICS[metric](t), range(k), range(k), seeds))
    square = {name for name in once if name.startswith("var_")} | {"seeds_observed", "seeds_noise"}
    for name, value in once.items():
        times = 1 if name in ("p", "df") else 100 if name in square else 10
        assert ten[name] == pytest.approx(times * value, nan_ok=True, rel=1e-6, abs=1e-9), name


@QUICK
@given(arms(), st.sampled_from(["paired", "independent"]), st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_images_is_nothing(
    drawn: tuple[str, Totals, Totals, int], seeds: Any, shuffle: Any
) -> None:
    metric, base, candidate, k = drawn
    images = list(range(next(iter(base.values())).shape[1]))
    shuffle.shuffle(images)
    mixed, units = [], []
    for totals in (base, candidate):
        rows = list(range(k))
        shuffle.shuffle(rows)
        mixed.append({name: table[rows][:, images] for name, table in totals.items()})
        units.append(rows)
    straight = numbers(methods.difference(base, candidate, METRICS[metric], range(k), range(k), seeds))
    found = numbers(methods.difference(*mixed, METRICS[metric], *units, seeds))
    assert found == pytest.approx(straight, nan_ok=True, rel=1e-6, abs=1e-9)


@QUICK
@given(arms(), st.sampled_from(["paired", "independent"]), st.integers(2, 4))
def test_runs_of_one_training_twice_change_nothing(
    drawn: tuple[str, Totals, Totals, int], seeds: Any, copies: int
) -> None:
    metric, base, candidate, k = drawn
    many = {name: np.tile(table, (copies, 1)) for name, table in base.items()}
    once = numbers(methods.difference(base, candidate, METRICS[metric], range(k), range(k), seeds))
    often = numbers(methods.difference(many, candidate, METRICS[metric], list(range(k)) * copies, range(k), seeds))
    assert often == pytest.approx(once, nan_ok=True, rel=1e-6, abs=1e-9)


@QUICK
@given(arms(least=2))
def test_trainings_that_answer_alike_leave_the_jackknife_of_images(drawn: tuple[str, Totals, Totals, int]) -> None:
    metric, base, candidate, k = drawn
    alike = [{n: np.repeat(t[:1], k, axis=0) for n, t in one.items()} for one in (base, candidate)]
    found = methods.difference(*alike, METRICS[metric], range(k), range(k))
    single = [{n: t[:1] for n, t in one.items()} for one in (base, candidate)]
    images = methods.difference(*single, METRICS[metric], "a", "b")
    assert found.df == pytest.approx(found.images - 1, rel=1e-6) and found.var_seeds == pytest.approx(0, abs=1e-12)
    for name in ("value", "low", "high", "p", "var_images"):
        assert found[name] == pytest.approx(images[name], nan_ok=True, abs=1e-9), name


@QUICK
@given(arms(), st.sampled_from(["paired", "independent"]))
def test_it_is_never_surer_than_the_images_alone(drawn: tuple[str, Totals, Totals, int], seeds: Any) -> None:
    metric, base, candidate, k = drawn
    found = methods.difference(base, candidate, METRICS[metric], range(k), range(k), seeds)
    assert found.se**2 >= found.var_images_alone * (1 - 1e-9) or found.se == 0
    assert found.var_seeds + found.var_images == pytest.approx(found.se**2, abs=1e-12)
    assert found.half() == pytest.approx(found.high - found.value, abs=1e-9) or found.var_seeds != found.seeds_observed


def test_with_very_many_images_it_is_welch_over_seeds() -> None:
    rng = np.random.default_rng(3)
    images = rng.normal(0, 0.3, 10_000)
    base, candidate = (arm(rng, "accuracy", k, images, 0.5) for k in (4, 6))
    found = methods.difference(base, candidate, METRICS["accuracy"], range(4), range(6))
    assert found.base and found.candidate
    welch = scipy_stats.ttest_ind(found.candidate.seeds, found.base.seeds, equal_var=False)
    assert found.df == pytest.approx(welch.df, rel=0.01) and found.p == pytest.approx(welch.pvalue, rel=0.02)


def test_where_nothing_varies_the_interval_has_no_width_and_there_is_no_p() -> None:
    right = {"right": np.ones((2, 9)), "n": np.ones((2, 9))}
    found = methods.difference(right, right, METRICS["accuracy"], "ab", "cd")
    assert (found.value, found.se, found.low, found.high) == (0, 0, 0, 0) and np.isnan(found.p)


def test_a_metric_without_a_value_when_one_image_is_left_out_has_no_interval_and_names_it() -> None:
    only = {"hallucinated": np.array([[0, 0, 1, 0]]), "mentioned": np.array([[0, 0, 2, 0]])}
    found = methods.mean(only, METRICS["chair_i"], "a")
    assert found.value == 50 and np.isnan(found.low) and found.undefined == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seeds": "sideways"}, "not 'sideways'"),
        ({"base_units": "ab"}, "2 units for totals of 3 runs"),
        ({"candidate_units": "abx", "seeds": "paired"}, "a, b, c and a, b, x"),
        ({"candidate": {"right": np.ones((3, 5)), "n": np.ones((3, 5))}}, "4 and 5 images"),
        ({"candidate": {"right": np.ones((3, 4)), "n": np.ones((3, 5))}}, "all of one shape"),
    ],
)
def test_arms_that_do_not_fit_together_are_refused(change: dict[str, Any], says: str) -> None:
    ones = {"right": np.ones((3, 4)), "n": np.ones((3, 4))}
    asked: dict[str, Any] = {
        "base": ones, "candidate": ones, "metric": METRICS["accuracy"], "base_units": "abc", "candidate_units": "abc",
    }  # fmt: skip
    with pytest.raises(UsageError, match=says):
        methods.difference(**asked | change)


@pytest.mark.parametrize(
    ("base", "candidate", "seeds"),
    [
        ("0123", "3210", "paired"),
        ("012", "012", "independent"),
        ("0123", "4567", "independent"),
        ("a", "0123", "independent"),
    ],
)
def test_seeds_pair_where_both_arms_have_the_same_four_or_more(base: str, candidate: str, seeds: str) -> None:
    assert methods.seeds_of(base, candidate) == seeds


def test_of_two_crossed_random_things_the_wider_interval_is_taken() -> None:
    narrow, wide = Figures(1.0, low=0.0, high=2.0), Figures(1.0, low=-1.0, high=3.0)
    assert methods.crossed([narrow, wide]) is wide
    assert np.isnan(methods.crossed([wide, replace(wide, low=np.nan)]).low), "none is none"


def test_ten_trainings_on_5000_images_need_no_table_of_draws() -> None:
    rng = np.random.default_rng(4)
    images = rng.normal(0, 0.3, 5000)
    base, candidate = (arm(rng, "f1", 10, images, 0.1) for _ in range(2))
    tracemalloc.start()
    methods.difference(base, candidate, METRICS["f1"], range(10), range(10), "paired")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16e6, "10,000 draws of 5,000 images are 400 MB"
