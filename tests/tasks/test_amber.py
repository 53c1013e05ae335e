"""AMBER's counting: accidents of the official rules, the strict rules beside them, and the micro world's own."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import micro
from harness.errors import DataError, UsageError
from harness.types import Answer
from tasks.amber import Amber
from tasks.amber.rules import AnnotatedImage, Language, official, strict
from tasks.amber.vocabulary import Nouns, Synonyms, synonyms

ASSOCIATION = {
    "sky": [],
    "cloud": [],
    "person": ["people", "man"],
    "man": ["person"],
    "tree": ["forest", "bush"],
    "forest": ["tree"],
    "dog": [],
    "sofa": [],
    "couch": [],
    "orange": [],
}
LANGUAGE = Language(
    ASSOCIATION, frozenset({"orange"}), Synonyms("test", frozenset({("couch", "sofa"), ("dog", "sofa")}))
)


@pytest.mark.parametrize(
    ("truth", "hallu", "nouns", "by_official", "by_strict"),
    [
        # covered, trapped, invented, nouns counted
        (["sky"], ["dog"], ["sky"], (1, 0, 0, 1), (1, 0, 0, 1)),
        (["sky"], ["dog"], ["dog"], (0, 1, 1, 1), (0, 1, 1, 1)),
        (["sky"], ["dog"], ["cloud", "cloud"], (0, 0, 2, 2), (0, 0, 2, 2)),
        # a safe word is skipped, and stays in the official denominator only
        (["sky"], ["dog"], ["orange"], (0, 0, 0, 1), (0, 0, 0, 0)),
        # associations are searched first: "tree" credits the forest's slot, and the tree's own is never reached
        (["tree", "forest"], ["dog"], ["tree"], (1, 0, 0, 1), (1, 0, 0, 1)),
        (["tree", "forest"], ["dog"], ["tree", "forest"], (2, 0, 0, 2), (2, 0, 0, 2)),
        (["man", "person"], [], ["man", "man"], (1, 0, 0, 2), (1, 0, 0, 2)),
        # the same object twice in the truth: one name reaches one slot, or both
        (["dog", "dog"], [], ["dog"], (1, 0, 0, 1), (2, 0, 0, 1)),
        # a synonym of something true excuses a noun, but officially it has sprung the trap before
        (["sofa"], ["couch"], ["couch"], (1, 1, 0, 1), (1, 0, 0, 1)),
        # a noun found among the traps springs a second one by its synonym
        (["sky"], ["sofa", "dog"], ["dog"], (0, 2, 1, 1), (0, 1, 1, 1)),
        (["sky"], [], [], (0, 0, 0, 0), (0, 0, 0, 0)),
    ],
)
def test_captions_are_counted_by_the_table(truth, hallu, nouns, by_official, by_strict):
    scene = AnnotatedImage(tuple(truth), tuple(hallu))
    for rules, expected in ((official, by_official), (strict, by_strict)):
        found = rules(scene, nouns, LANGUAGE)
        assert (found["covered"], found["trapped"], found["invented"], found["nouns"]) == expected, rules.__name__
        assert found["hallucinated"] == (found["invented"] > 0)
        assert (found["slots"], found["traps"], found["captions"]) == (len(truth), len(hallu), 1)


WORDS = st.sampled_from(sorted(ASSOCIATION))


@settings(deadline=None)
@given(st.lists(WORDS, unique=True, max_size=4), st.lists(WORDS, unique=True, max_size=4), st.lists(WORDS, max_size=8))
def test_no_count_exceeds_its_denominator_and_order_does_not_matter(truth, hallu, nouns):
    scene = AnnotatedImage(tuple(truth), tuple(hallu))
    for rules in (official, strict):
        found = rules(scene, nouns, LANGUAGE)
        assert found == rules(scene, nouns[::-1], LANGUAGE)
        assert 0 <= found["invented"] <= found["nouns"] <= len(nouns)
        assert found["covered"] <= found["slots"] and found["trapped"] <= found["traps"]


@settings(deadline=None)
@given(st.lists(WORDS, unique=True, min_size=1, max_size=5))
def test_naming_exactly_the_truth_is_perfect_by_strict_rules(truth):
    found = strict(AnnotatedImage(tuple(truth), ()), [word for word in truth if word not in LANGUAGE.safe], LANGUAGE)
    assert found["invented"] == 0
    assert found["covered"] == len([word for word in truth if word not in LANGUAGE.safe])


@settings(deadline=None)
@given(st.text())
def test_any_text_has_nouns_of_the_vocabulary_or_none(text):
    nouns = Nouns(ASSOCIATION, "vocabulary", fold_case=False)
    assert set(nouns(text)) <= set(ASSOCIATION)


def test_the_micro_worlds_nouns_are_its_vocabulary_in_any_form():
    nouns = Nouns(["dog", "bus"], "vocabulary", fold_case=False)
    assert nouns("Two dogs, a DOG and three buses; no hotdog.") == ["dog", "dog", "bus"]


@pytest.mark.parametrize(
    ("caption", "by_official", "by_strict"),
    [
        ("A dog sits by a tree.", ["dog", "tree"], ["dog", "tree"]),
        ("Dogs run.", [], ["dog"]),  # a capital hides a noun from the official script
        ("There are trees.", ["tree"], ["tree"]),
        ("Nothing of interest.", [], []),
        ("", [], []),
    ],
)
def test_real_words_are_found_by_the_tagger(nltk_data, caption, by_official, by_strict):
    for fold, expected in ((False, by_official), (True, by_strict)):
        assert Nouns(["dog", "tree", "sky"], "nltk", fold_case=fold)(caption) == expected


def test_a_vocabulary_that_the_packaged_forms_do_not_know_is_refused():
    with pytest.raises(DataError, match="holds 1 words \\('zorb' the first\\)"):
        Nouns(["dog", "zorb"], "nltk", fold_case=False)


def test_tables_of_synonyms_have_names_and_digests(tmp_path):
    sizes = {name: len(synonyms(name).pairs) for name in ("md-3.7.1", "certain", "none")}
    assert sizes == {"md-3.7.1": 87, "certain": 20, "none": 0}
    assert len({synonyms(name).digest() for name in sizes}) == 3
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"name": "own", "pairs": [["cat", "dog", 0.9, True]]}))
    assert synonyms(str(own)).of("cat") == {"cat", "dog"}
    own.write_text("[]")
    with pytest.raises(UsageError, match="is no synonym table"):
        synonyms(str(own))


def test_synonyms_are_in_the_rules_and_so_in_every_record():
    one, other = Amber(micro(), synonyms="certain").rules(), Amber(micro()).rules()
    assert (one["synonyms"], other["synonyms"]) == ("certain", "none")
    assert one["synonyms_digest"] != other["synonyms_digest"]


def test_questions_and_captions_are_grouped_by_dimension_and_ids_are_unique():
    samples = list(Amber(micro()).samples())
    assert len({sample.id for sample in samples}) == len(samples)
    assert {sample.group for sample in samples} == {
        "generative",
        "discriminative/existence",
        "discriminative/relation",
        *(f"discriminative/attribute/{kind}" for kind in ("state", "number", "action")),
    }
    assert {sample.prompt for sample in samples if sample.group == "generative"} == {"Describe this image."}


def test_amber_holds_what_its_authors_say(shared):
    samples = list(Amber(shared / "data").samples())
    count = {}
    for sample in samples:
        count[sample.group] = count.get(sample.group, 0) + 1
    assert count == {
        "generative": 1004,
        "discriminative/attribute/state": 4764,
        "discriminative/attribute/number": 2072,
        "discriminative/attribute/action": 792,
        "discriminative/existence": 4924,
        "discriminative/relation": 1664,
    }
    assert samples[1004].prompt == "Is the sky sunny in this image?"
    assert sum(sample.target == "no" for sample in samples) == 9427


def test_official_numbers_carry_the_scripts_constants_and_rounding_and_strict_ones_do_not():
    task, plain = Amber(micro()), Amber(micro(), rules="strict")
    lone = {"n": 1, "right": 1, "yes": 1, "no": 0, "said_yes": 1, "said_no": 0, "right_yes": 1, "right_no": 0}
    attribute = "discriminative/attribute"
    assert task.metrics_of(attribute)["accuracy"](lone) == 99.7  # 1 / 1.003
    assert task.metrics_of(attribute)["precision"](lone) == 0.0
    assert plain.metrics_of(attribute)["accuracy"](lone) == 100.0
    assert plain.metrics_of(attribute)["precision"](lone) != plain.metrics_of(attribute)["precision"](lone)  # nan


def test_other_rules_and_files_are_told(tmp_path):
    with pytest.raises(UsageError, match="amber has the rules official and strict, not 'kind'"):
        Amber(tmp_path, rules="kind")
    with pytest.raises(DataError, match="is missing"):
        next(iter(Amber(tmp_path).samples()))


def test_an_answer_is_counted_by_its_words():
    task = Amber(micro())
    sample = next(s for s in task.samples() if s.target == "no")
    assert task.count(sample, Answer("No"))["right"] == 1
    assert task.count(sample, Answer("No."))["right"] == 0
    assert Amber(micro(), rules="strict").count(sample, Answer("No."))["right"] == 1
