"""Units that are right only as a whole: joined over answers, dropped where one is missing."""

from __future__ import annotations

from harness.records import Record
from harness.tallies import paired_tallies, tally
from harness.types import Answer, Failure
from harness.units import flat, together


def record(id: str, image: str, *parts: dict[str, float], reply=None) -> Record:
    counts = {"n": 1.0}
    for part in parts:
        counts |= part
    return Record(id, image, "", "", "", reply or Answer("x"), counts)


def test_flat_counts_are_named_by_kind_and_condition_and_units_apart():
    counts = {
        "n": 1.0,
        **together("pair", "u/1", 2, a=1, b=-2.5),
        **together("pair", "v", 2, a=0),
        **together("q", "w", 1, c=1),
    }
    named = {"n": 1.0, "pair.a": 1.0, "pair.b": -2.5, "pair#2.a": 0.0, "q.c": 1.0}
    assert flat(counts) == (named, {"pair": "u/1", "pair#2": "v", "q": "w"})


def test_a_unit_is_right_where_every_condition_is_above_nought():
    records = [
        record("a", "1", together("pair", "u", 2, a=1), together("pair", "v", 2, a=1)),
        record("b", "2", together("pair", "u", 2, b=1), together("pair", "v", 2, b=0)),
    ]
    totals = tally(records)[""].totals()
    assert (totals["n_pair"], totals["right_pair"], totals["n"]) == (2, 1, 2)


def test_values_of_one_condition_are_added_up_and_a_tie_is_not_right():
    sides = [(0.3, -0.3, 0), (0.3, -0.2, 1), (0.2, -0.3, 0)]
    for left, right, expected in sides:
        records = [record("a", "1", together("p", "u", 2, c=left)), record("b", "2", together("p", "u", 2, c=right))]
        assert tally(records)[""].totals()["right_p"] == expected


def test_a_unit_without_one_of_its_answers_counts_nowhere():
    failed = record("b", "2", together("p", "u", 2, b=1), reply=Failure("damaged"))
    records = [record("a", "1", together("p", "u", 2, a=1), together("q", "w", 1, a=1)), failed]
    totals = tally(records)[""].totals()
    assert "n_p" not in totals
    assert totals["n_q"] == 1


def test_a_unit_stands_on_the_image_of_its_first_answer_so_that_two_runs_pair():
    base = [record("a", "1", together("p", "u", 2, a=1)), record("b", "2", together("p", "u", 2, b=1))]
    other = [record("b", "2", together("p", "u", 2, b=0)), record("a", "1", together("p", "u", 2, a=1))]
    left, right = paired_tallies(base, other)[""]
    assert list(left.counts["right_p"]) == [1, 0]
    assert list(right.counts["right_p"]) == [0, 0]
    assert list(left.counts["n_p"]) == list(right.counts["n_p"])
