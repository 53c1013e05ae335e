"""CHAIR's words, counts and options."""

from __future__ import annotations

import json

import pytest

from harness.errors import DataError, UsageError
from harness.types import Answer
from tasks.chair import Chair, _finished

pytestmark = pytest.mark.usefixtures("nltk_data")


@pytest.fixture(scope="module")
def chair(shared):
    return Chair(shared / "data")


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("Two dogs chase a cat.", ["dog", "cat"]),
        ("A fire hydrant by the street.", ["fire hydrant"]),
        ("A baby elephant and a passenger train.", ["elephant", "train"]),
        ("The toilet seat is up.", ["toilet"]),
        ("The seat of the toilet is up.", ["toilet"]),
        ("A man wearing a bow tie rides a bus.", ["person", "tie", "bus"]),
        ("Children are sitting on benches.", ["person", "bench"]),
        ("Nothing.", []),
        ("", []),
    ],
)
def test_objects_are_found_in_captions(chair, caption, objects):
    from tasks.chair.objects import by_lemma

    assert chair._vocabulary.objects(by_lemma(caption)) == objects


def test_mentions_and_objects_are_counted_apart(chair):
    sample = chair.sample("74")  # bicycle, dog, person
    counted = chair.count(sample, Answer("A dog, a dog and a cat by a cat."))
    assert counted == {
        "captions": 1,
        "hallucinated": 1,
        "mentions": 4,
        "invented": 2,
        "objects": 3,
        "named": 2,
        "named_true": 1,
        "words": 10,
    }


def test_gold_captions_are_perfect_and_the_worst_are_all_invention(chair):
    found = {}
    for name, caption in {"gold": "A bicycle, a dog and a person.", "worst": "A giraffe in a bus."}.items():
        counted = chair.count(chair.sample("74"), Answer(caption))
        found[name] = {key: float(metric(counted)) for key, metric in chair.metrics.items()}
    assert [found["gold"][key] for key in ("CHAIRs", "CHAIRi", "recall", "f1")] == [0.0, 0.0, 100.0, 100.0]
    assert [found["worst"][key] for key in ("CHAIRs", "CHAIRi", "recall")] == [100.0, 100.0, 0.0]


def test_an_unfinished_sentence_may_be_dropped(shared):
    assert _finished('He said "yes." Then a giraf') == 'He said "yes."'
    assert _finished("A dog and a") == "A dog and a"
    assert _finished("It costs 3.50 in all. A") == "It costs 3.50 in all."
    dropped = Chair(shared / "data", unfinished="drop")
    assert dropped.count(dropped.sample("74"), Answer("A dog. Also a giraffe and"))["invented"] == 0


def test_what_changes_a_number_is_in_the_rules(shared, tmp_path):
    own = tmp_path / "ids.json"
    own.write_text("[74]")
    every = [
        Chair(shared / "data", **options).rules()
        for options in ({}, {"rules": "original"}, {"unfinished": "drop"}, {"images": str(own)})
    ]
    assert len({json.dumps(rules, sort_keys=True) for rules in every}) == 4


def test_five_hundred_images_are_asked_with_the_budget_asked_for(shared):
    samples = list(Chair(shared / "data", tokens="64").samples())
    assert len({sample.id for sample in samples}) == 500
    assert {sample.tokens for sample in samples} == {64}
    assert samples[0].image.name == "COCO_val2014_000000000042.jpg"


def test_words_that_chair_does_not_know_are_told(tmp_path):
    for options in ({"rules": "kind"}, {"tokens": "100"}, {"unfinished": "maybe"}):
        with pytest.raises(UsageError, match="chair does not know"):
            Chair(tmp_path, **options)
    with pytest.raises(UsageError, match="no list of images is called 'mine'"):
        next(iter(Chair(tmp_path, images="mine").samples()))
    with pytest.raises(DataError, match="is missing"):
        next(iter(Chair(tmp_path).samples()))
