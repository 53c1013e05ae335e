"""A seeded share is asked again alone, and flips are counted."""

from __future__ import annotations

import math
from pathlib import Path

from harness.asking.verify import alone, drawn, verify
from harness.types import Answer, Asked, Failure, Sample

SAMPLES = [Sample(str(n), Path("a.png"), "yes", prompt="Is it?") for n in range(400)]


def ask_again(answers):
    def ask(asked):
        for one in asked:
            assert len(one.samples) == 1  # alone
            yield one.samples[0], answers[one.samples[0].id]

    return ask


def test_the_share_is_seeded_and_about_as_large_as_asked():
    some = [s.id for s in SAMPLES if drawn(s, 0.1, 3)]
    assert some == [s.id for s in SAMPLES if drawn(s, 0.1, 3)]
    assert 20 <= len(some) <= 65
    assert some != [s.id for s in SAMPLES if drawn(s, 0.1, 4)]
    assert not any(drawn(s, 0, 3) for s in SAMPLES)
    assert all(drawn(s, 1, 3) for s in SAMPLES)


def test_flips_and_the_largest_move_of_p_yes_are_told():
    kept = {s.id: Answer("Yes", 0.75) for s in SAMPLES}
    again = kept | {"5": Answer("No", 0.25), "6": Answer("Yes", 0.625), "7": Failure("no memory")}
    verdict = verify(ask_again(again), kept, [Asked(None, tuple(SAMPLES))], 1.0, 0)
    assert verdict.asked == 400
    assert verdict.flipped == ("5", "7")
    assert verdict.p_yes_moved == 0.5
    assert verdict.record()["flip_rate"] == 2 / 400
    assert "2 of 400 answers flip when asked alone (0.5%" in verdict.said()


def test_rankings_flip_where_another_text_is_best():
    kept = {"1": Answer(scores=(0.1, 0.9)), "2": Answer(scores=(0.6, 0.4))}
    again = {"1": Answer(scores=(0.2, 0.8)), "2": Answer(scores=(0.4, 0.6))}
    verdict = verify(ask_again(again), kept, [Asked(None, tuple(SAMPLES[1:3]))], 1.0, 0)
    assert verdict.flipped == ("2",)


def test_samples_without_an_answer_are_not_verified():
    verdict = verify(ask_again({}), {}, [Asked(None, tuple(SAMPLES))], 1.0, 0)
    assert verdict.asked == 0
    assert math.isnan(verdict.flip_rate)
    assert verdict.record()["flip_rate"] is None
    assert "none" in verdict.said()


def test_an_lvlm_with_a_reference_way_is_asked_by_it():
    class Slow:
        def answers(self, asked):
            yield from ()

    class Fast(Slow):
        def one_by_one(self, asked):
            yield Sample("alone", None, ""), Answer("Yes")

    ask, way = alone(Fast())
    assert way == "alone by generate"
    assert [sample.id for sample, _ in ask([])] == ["alone"]
    assert alone(Slow())[1] == "alone"
