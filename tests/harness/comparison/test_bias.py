"""Sight or bias: the reading of planted changes, and of the paper's printed numbers."""

from __future__ import annotations

import json

import pytest
from scipy.special import ndtr

from harness import yes_no
from harness.comparison import bias, published_arithmetic
from harness.comparison.bias import Reading
from harness.stats import Difference

UP, DOWN, STILL = Difference(2, 1, 3, 0.001), Difference(-2, -3, -1, 0.001), Difference(0.2, -1, 1.4, 0.7)


def totals(d: float, c: float, yes: int = 4000, no: int = 8000) -> dict[str, float]:
    hits, rejections = yes * float(ndtr(d / 2 - c)), no * float(ndtr(d / 2 + c))
    said = hits + no - rejections
    return {
        "n": yes + no, "yes": yes, "no": no, "right_yes": hits, "right_no": rejections, "said_yes": said,
        "said_no": yes + no - said, "right": hits + rejections,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"accuracy": UP, "balanced_accuracy": STILL, "yes_ratio": DOWN}, "bias"),
        ({"accuracy": UP, "balanced_accuracy": DOWN, "yes_ratio": DOWN}, "bias"),
        ({"accuracy": STILL, "f1": UP, "balanced_accuracy": STILL, "yes_ratio": UP}, "bias"),
        ({"accuracy": UP, "balanced_accuracy": UP, "d_prime": STILL, "yes_ratio": DOWN}, "criterion"),
        ({"accuracy": UP, "balanced_accuracy": UP, "d_prime": STILL, "AUROC": UP, "yes_ratio": DOWN}, "both"),
        ({"accuracy": UP, "balanced_accuracy": UP, "d_prime": UP, "yes_ratio": DOWN}, "both"),
        ({"accuracy": UP, "balanced_accuracy": UP, "d_prime": UP, "yes_ratio": STILL}, "sight"),
        ({"accuracy": STILL, "balanced_accuracy": STILL, "yes_ratio": STILL}, "none"),
    ],
)
def test_a_change_is_called_what_it_is(changes: dict[str, Difference], kind: str) -> None:
    reading = bias.read(changes, totals(1.5, 0), totals(1.6, 0.2))
    assert reading.kind == kind
    assert reading.flagged == (kind in ("bias", "criterion"))


def test_questions_that_are_all_no_cannot_tell() -> None:
    reading = bias.read({"accuracy": UP}, totals(1, 0, yes=0), totals(1, 1, yes=0))
    assert reading.kind == "one-sided"
    assert "cannot be told apart" in reading.sentence()


def test_accuracy_splits_into_criterion_and_sight() -> None:
    by_bias, by_sight = bias.split(totals(1.5, -0.5), totals(1.5, 0.3))
    assert by_sight == pytest.approx(0, abs=0.01)
    assert by_bias > 1
    by_bias, by_sight = bias.split(totals(1.0, 0.1), totals(2.0, 0.1))
    assert by_bias == pytest.approx(0, abs=0.01)
    assert by_sight > 5


def test_the_two_shares_add_up_to_the_change() -> None:
    before, after = totals(1.2, -0.4), totals(1.7, 0.3)
    change = 100 * (after["right"] - before["right"]) / 12_000
    assert sum(bias.split(before, after)) == pytest.approx(change, abs=0.02)


def test_a_sentence_says_where_discrimination_went() -> None:
    assert "falls" in Reading("bias", 1.0, -1.0, -1).sentence()
    assert "ranks presence better" in Reading("none", 0.0, 0.0, 0, 1).sentence()


def test_the_paper_s_amber_gain_is_a_shift_of_bias() -> None:
    base, tuned = next(published_arithmetic.pairs())
    assert (base.precision, base.recall, tuned.precision, tuned.recall) == (93.9, 65.6, 85.5, 84.4)
    values = {name: [round(one.value(name)[0], 1) for one in (base, tuned)] for name in published_arithmetic.SHOWN}
    assert values["recall_no"] == [65.6, 84.4]
    assert values["recall_yes"] == [91.6, 71.8]
    assert values["balanced_accuracy"] == [78.6, 78.1]
    assert published_arithmetic.reading(base, tuned)["reading"] == "bias"


def test_printed_numbers_are_those_of_the_paper(shared) -> None:  # type: ignore[no-untyped-def]
    tables = json.loads((shared / "data" / "published" / "arxiv_2410.03176_tables.json").read_text())
    amber = tables["table6_amber"]
    found = list(published_arithmetic.pairs())
    for (base, tuned), at in zip(found[:2], (0, 2), strict=True):
        for one, column in ((base, at), (tuned, at + 1)):
            printed = (amber["precision"][column], amber["recall"][column], amber["accuracy"][column])
            assert (one.precision, one.recall, one.accuracy) == printed
    pope = tables["table4_expanded_pope"]
    for (base, tuned), (source, at) in zip(
        found[2:], [(s, at) for s in ("COCO", "Flickr30K", "NoCaps") for at in (0, 2)], strict=True
    ):
        for one, column in ((base, at), (tuned, at + 1)):
            assert (one.precision, one.recall) == (pope[source]["P"][column], pope[source]["R"][column])
            assert one.accuracy == pope[source]["acc"][column]


def test_rebuilt_totals_give_back_what_was_printed() -> None:
    for pair in published_arithmetic.pairs():
        for one in pair:
            metrics = yes_no.answer_metrics(one.positive)  # type: ignore[arg-type]
            assert metrics["precision"](one.totals()) == pytest.approx(one.precision)
            assert metrics["recall"](one.totals()) == pytest.approx(one.recall)
            low, high = one.value("balanced_accuracy")[1:]
            assert low < high < low + 1


def test_published_rows_carry_their_reading() -> None:
    rows = published_arithmetic.table()
    assert all(len(row) == len(published_arithmetic.HEAD) for row in rows)
    assert rows[0][4] == "78.6 → 78.1"
    assert rows[0][-1] == "bias"
