"""Readings of yes and no, and the metrics of their totals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import yes_no
from harness.errors import UsageError
from harness.yes_no import READINGS, SIGNAL, answer_metrics, counts, of_probabilities, reading


@pytest.mark.parametrize(
    ("answer", "official", "exact", "first"),
    [
        ("Yes", "yes", "yes", "yes"),
        ("No", "no", "no", "no"),
        ("no", "no", None, "no"),
        ("No.", "no", None, "no"),
        ("NO", "yes", None, "no"),
        ("Yes, no doubt", "no", None, "yes"),
        ("", "yes", None, None),
        ("There isn't", "yes", None, None),
        ("**No**", "yes", None, "no"),
        ("The dog is not there. Yes.", "no", None, None),
        ("нет", "yes", None, None),
        ("yes_or_no", "yes", None, "yes"),
        ("是", "yes", None, "yes"),
        ("是的。", "yes", None, "yes"),
        ("有", "yes", None, "yes"),
        ("否", "yes", None, "no"),
        ("不是,", "yes", None, "no"),
        ("没有", "yes", None, "no"),
        ("没有自行车。", "yes", None, "no"),
        ("是否有自行车", "yes", None, None),
        ("有没有", "yes", None, None),
    ],
)
def test_answers_are_read_as_named(answer, official, exact, first):
    assert reading("official")(answer) == official
    assert reading("exact")(answer) == exact
    assert reading("first-word")(answer) == first


def test_an_unknown_reading_is_told_with_those_there_are():
    with pytest.raises(UsageError, match="official, exact, first-word, lmms-eval, vlmevalkit"):
        reading("lenient")


@settings(deadline=None)
@given(st.text())
def test_every_reading_gives_yes_no_or_nothing_for_any_text(text):
    for read in READINGS.values():
        assert read(text) in ("yes", "no", None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["yes", "no", None])), min_size=1))
def test_totals_agree_with_counting_by_hand_whatever_the_order(answers):
    totals = total(answers)
    assert totals == total(reversed(answers))
    assert totals["n"] == len(answers) == totals["yes"] + totals["no"]
    assert totals["right"] == sum(truth == said for truth, said in answers) == totals["right_yes"] + totals["right_no"]
    assert totals["said_no"] == sum(said == "no" for _, said in answers)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["yes", "no", None])), min_size=1))
def test_metrics_of_an_array_are_the_metrics_of_its_entries(answers):
    totals = total(answers)
    arrays = {key: np.asarray([value, value], float) for key, value in totals.items()}
    for metric in {**answer_metrics("yes"), **SIGNAL}.values():
        np.testing.assert_allclose(metric(arrays), [metric(totals)] * 2, rtol=1e-9, atol=1e-9)


def total(answers):
    totals = dict.fromkeys(yes_no.KEYS, 0)
    for truth, said in answers:
        for key, value in counts(truth, said).items():
            totals[key] += value
    return totals


EVEN = [("yes", "yes")] * 40 + [("yes", "no")] * 10 + [("no", "no")] * 30 + [("no", "yes")] * 20


def test_the_signal_on_numbers_worked_out_by_hand():
    totals = total(EVEN)
    found = {name: metric(totals) for name, metric in {**answer_metrics("yes"), **SIGNAL}.items()}
    assert found["accuracy"] == 70.0
    assert found["precision"] == pytest.approx(100 * 40 / 60)
    assert found["recall"] == found["recall_yes"] == 80.0
    assert found["f1"] == pytest.approx(100 * 2 * (2 / 3) * 0.8 / (2 / 3 + 0.8))
    assert found["recall_no"] == 60.0
    assert found["balanced_accuracy"] == 70.0
    assert found["yes_ratio"] == 60.0
    assert found["mcc"] == pytest.approx((40 * 30 - 20 * 10) / math.sqrt(60 * 50 * 50 * 40))
    # log-linear: hits (40 + 0.5) / 51, false alarms (20 + 0.5) / 51; z(0.7941) = 0.8208, z(0.4020) = -0.2483
    assert found["d_prime"] == pytest.approx(0.8208 + 0.2483, abs=2e-4)
    assert found["criterion"] == pytest.approx(-(0.8208 - 0.2483) / 2, abs=2e-4)


@pytest.mark.parametrize("positive", ["yes", "no"])
def test_every_metric_is_best_for_a_perfect_model_and_worst_for_one_always_wrong(positive):
    perfect = total([("yes", "yes")] * 5 + [("no", "no")] * 7)
    worst = total([("yes", "no")] * 5 + [("no", "yes")] * 7)
    for name, metric in {**answer_metrics(positive), **SIGNAL}.items():
        best, least = metric(perfect), metric(worst)
        if metric.better == "higher" and name != "f1":
            assert best > least, name
        if name in ("accuracy", "precision", "recall", "f1", "balanced_accuracy"):
            assert best == 100.0


@pytest.mark.parametrize(("said", "ratio"), [("yes", 100.0), ("no", 0.0)])
def test_a_model_that_always_says_the_same_has_no_discrimination_and_all_the_bias(said, ratio):
    totals = total([("yes", said)] * 30 + [("no", said)] * 70)
    assert SIGNAL["yes_ratio"](totals) == ratio
    assert SIGNAL["balanced_accuracy"](totals) == 50.0
    assert SIGNAL["d_prime"](totals) == pytest.approx(0.0, abs=1e-9)
    assert (SIGNAL["criterion"](totals) < 0) == (said == "yes")
    assert math.isnan(SIGNAL["mcc"](totals))


def test_what_was_never_asked_is_nan_not_zero():
    only_no = total([("no", "no")] * 4 + [("no", "yes")])
    for name in ("recall_yes", "balanced_accuracy", "d_prime", "criterion", "mcc"):
        assert math.isnan(SIGNAL[name](only_no)), name
    assert answer_metrics("no")["recall"](only_no) == 80.0


def test_an_unread_answer_is_wrong_and_told():
    totals = total([("yes", None), ("no", None), ("yes", "yes"), ("no", "no")])
    assert SIGNAL["unread"](totals) == 50.0
    assert answer_metrics("yes")["accuracy"](totals) == 50.0


def test_probabilities_on_numbers_worked_out_by_hand():
    found = of_probabilities(["yes", "no", "yes", "no"], [0.9, 0.8, 0.7, 0.1])
    assert found["auroc"] == 0.75  # 3 of the 4 pairs are in order
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.09 + 0.01) / 4)
    assert found["ece"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.1) / 4)


def test_equal_probabilities_tell_nothing():
    found = of_probabilities(["yes", "no"], [0.5, 0.5])
    assert found["auroc"] == 0.5
    assert found["average_precision"] == 0.5
    assert math.isnan(of_probabilities(["no"], [0.5])["auroc"])
