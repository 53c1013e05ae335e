"""Totals, intervals and paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import Metric, divide, f1, ratio
from harness.records import Record
from harness.stats import blocks, estimates, paired, resampled, weights
from harness.tallies import common, groups_of, paired_tallies, tally
from harness.types import Answer, Failure

ACCURACY = {"accuracy": ratio("right", "n")}


def record(id: str, image: str, right: float, group: str = "") -> Record:
    return Record(id, image, group, "key", "rules", Answer("x"), {"n": 1, "right": right})


def test_an_answer_counts_in_every_group_along_its_path():
    assert list(groups_of("a/b/c")) == ["", "a", "a/b", "a/b/c"]
    tallies = tally([record("1", "i", 1, "a/b"), record("2", "i", 0, "a/c")])
    assert {group: one.totals() for group, one in tallies.items()} == {
        "": {"n": 2, "right": 1},
        "a": {"n": 2, "right": 1},
        "a/b": {"n": 1, "right": 1},
        "a/c": {"n": 1, "right": 0},
    }


def test_a_failed_record_counts_nowhere():
    failed = Record("2", "i", "", "key", "rules", Failure("down"))
    assert tally([record("1", "i", 1), failed])[""].totals() == {"n": 1, "right": 1}


def test_nothing_counted_is_nan_and_not_zero():
    assert math.isnan(divide(1, 0))
    assert math.isnan(ratio("right", "n")({"right": 0, "n": 0}))
    assert math.isnan(ratio("right", "n")({}))
    assert math.isnan(f1(0.0, 0.0))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.randoms())
def test_totals_do_not_depend_on_the_order_of_records_or_on_how_they_are_split(answers, random):
    records = [record(str(n), f"image{image}", float(right)) for n, (image, right) in enumerate(answers)]
    shuffled = random.sample(records, len(records))
    assert tally(records)[""].totals() == tally(shuffled)[""].totals()
    cut = len(records) // 2
    parts = [tally(part)[""].totals() for part in (records[:cut], records[cut:])]
    merged = {key: sum(part.get(key, 0) for part in parts) for key in ("n", "right")}
    assert merged == tally(records)[""].totals()


def test_every_resample_draws_as_many_images_as_there_are_and_is_the_same_for_the_same_number():
    drawn = weights(7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn is weights(7)
    assert abs(float(drawn.mean()) - 1) < 0.01


def test_an_interval_is_as_wide_as_the_number_of_images_allows_not_the_number_of_answers():
    alone = [record(f"{n}", f"i{n}", n % 2) for n in range(200)]
    clustered = [record(f"{n}-{k}", f"i{n}", n % 2) for n in range(20) for k in range(10)]
    narrow = estimates(ACCURACY, tally(alone)[""])["accuracy"]
    wide = estimates(ACCURACY, tally(clustered)[""])["accuracy"]
    assert narrow.value == wide.value == 50
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert (wide.n, wide.images) == (200, 20)


def test_one_image_gives_a_value_and_no_interval():
    one = estimates(ACCURACY, tally([record("1", "i", 1), record("2", "i", 0)])[""])["accuracy"]
    assert one.value == 50
    assert math.isnan(one.low)


def test_a_paired_difference_of_a_run_with_itself_is_exactly_zero():
    records = [record(str(n), f"i{n}", n % 3 == 0) for n in range(30)]
    gap = paired(ACCURACY["accuracy"], *paired_tallies(records, records)[""])
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)
    assert gap.p == 1


def test_pairing_keeps_only_the_samples_both_runs_answered():
    base = [record("1", "a", 1), record("2", "b", 1)]
    candidate = [record("2", "b", 0), record("3", "c", 1)]
    left, right = common(base, candidate)
    assert [one.id for one in left] == [one.id for one in right] == ["2"]


def test_a_paired_interval_is_narrower_than_that_of_two_separate_runs():
    random = np.random.default_rng(0)
    base = [record(str(n), f"i{n}", float(random.random() < 0.5)) for n in range(300)]
    better = [record(one.id, one.image, max(one.counts["right"], float(n % 20 == 0))) for n, one in enumerate(base)]
    gap = paired(ACCURACY["accuracy"], *paired_tallies(base, better)[""])
    alone = estimates(ACCURACY, tally(base)[""])["accuracy"]
    assert gap.low > 0
    assert gap.high - gap.low < (alone.high - alone.low) / 2


@pytest.mark.parametrize("key", ["n", "right"])
def test_resampled_totals_equal_a_loop_over_images(key):
    records = [record(f"{n}-{k}", f"i{n}", (n + k) % 2) for n in range(5) for k in range(n + 1)]
    counted = tally(records)[""]
    drawn = weights(5, resamples=50)
    by_hand = [sum(w * counted.counts[key][i] for i, w in enumerate(row)) for row in drawn]
    assert np.allclose(resampled({"": counted}, 50)[""][key], by_hand)


@pytest.mark.parametrize("images", [5, 5000])
def test_draws_are_the_same_in_blocks_of_any_size_and_whole(images):
    whole = weights(images, resamples=2500)
    for rows in (0, 7, 1000):
        assert np.array_equal(np.concatenate([*blocks(images, 2500, rows)]), whole)


def test_a_metric_works_on_numbers_and_on_arrays_alike():
    metric = Metric(lambda totals: divide(totals["a"], totals["b"]), scale=100)
    assert metric({"a": 1, "b": 2}) == 50
    assert metric({"a": np.array([1, 0]), "b": np.array([2, 0])})[0] == 50
