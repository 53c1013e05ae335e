"""An estimate asks whole images, evenly spread, and multiplies."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.asking.estimate import TimeEstimate, calibration, estimate
from harness.types import Answer, Asked, Sample

SAMPLES = [Sample(f"{i}-{n}", Path(f"{i}.png"), "yes") for i in range(100) for n in range(1 + i % 7)]


def test_calibration_takes_whole_images_from_everywhere():
    groups = calibration(SAMPLES, 32)
    assert 20 <= sum(map(len, groups)) <= 48
    assert all(len(group) == 1 + int(group[0].id.split("-")[0]) % 7 for group in groups)
    firsts = [int(group[0].id.split("-")[0]) for group in groups]
    assert firsts == sorted(set(firsts))
    assert firsts[-1] >= 80


def test_few_samples_are_all_taken():
    assert sum(map(len, calibration(SAMPLES[:5]))) == 5


def test_an_estimate_asks_no_more_than_its_part_and_speaks_for_all():
    count = [0]

    def ask(asked):
        for one in asked:
            for sample in one.samples:
                count[0] += 1
                yield sample, Answer("Yes")

    found = estimate(ask, SAMPLES, lambda group: Asked(None, tuple(group)))
    assert count[0] == found.samples + 1  # one to warm up
    assert (found.of_samples, found.of_images) == (len(SAMPLES), 100)
    assert found.seconds == pytest.approx(found.measured_s / found.samples * len(SAMPLES))


def test_the_line_is_in_words_a_user_reads():
    assert TimeEstimate(2.0, 32, 2, 14_216, 1_004).said().startswith("about 15 min for 14216 samples on 1004 images")
    assert TimeEstimate(0.1, 32, 2, 3_200, 226).said().startswith("about 10 s")


def test_what_came_back_with_no_reply_has_no_estimate_and_nothing_takes_no_time():
    assert math.isnan(TimeEstimate(0.1, 0, 1, 5, 2).seconds)
    assert TimeEstimate(0.1, 0, 1, 5, 2).record()["estimated_s"] is None  # NaN is no JSON
    assert TimeEstimate(0.0, 0, 0, 0, 0).seconds == 0.0
