"""Captions that are edited by rule: which objects they name, and that they read as English."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.building.lexicon import Lexicon, plural, with_article
from harness.building.writer import RuleWriter
from harness.errors import BrokenDataError

WORDS = Lexicon(
    {
        "person": ["man", "woman", "people"], "horse": [], "cup": ["mug"], "dining table": ["table"], "car": [],
        "umbrella": [], "bus": [], "knife": [], "dog": ["puppy"], "skis": [], "tv": [], "kite": [],
    },
    {"person": "person", "horse": "animal", "dog": "animal", "car": "vehicle", "bus": "vehicle"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A man riding a horse.", {"person", "horse"}),
        ("Two buses and three knives on a table", {"bus", "knife", "dining table"}),
        ("people with umbrellas", {"person", "umbrella"}),
        ("A carpet and a cupboard", set()),
        ("the puppy's mug", {"cup"}),
        ("A DINING TABLE with a Mug", {"dining table", "cup"}),
    ],
)
def test_a_caption_names_what_its_words_and_their_plurals_name(text: str, named: set[str]) -> None:
    assert WORDS.named(text) == named


@pytest.mark.parametrize(
    ("word", "several"),
    [("bus", "buses"), ("knife", "knives"), ("person", "people"), ("pony", "ponies"), ("toy", "toys"),
     ("wine glass", "wine glasses"), ("policeman", "policemen"), ("sheep", "sheep"), ("shelf", "shelves"),
     ("cherry tomato", "cherry tomatoes")],
)  # fmt: skip
def test_several_of_a_thing(word: str, several: str) -> None:
    assert plural(word) == several


@pytest.mark.parametrize(
    ("caption", "without", "instead", "said"),
    [
        ("A man riding a horse.", ["horse"], ["umbrella"], "A man riding an umbrella."),
        ("A horse eats.", ["horse"], ["umbrella"], "An umbrella eats."),
        ("Two dogs near a red car.", ["dog"], ["knife"], "Two knives near a red car."),
        ("A cup on his table", ["dining table"], ["bus"], "A cup on his bus"),
        ("Several smiling car drivers", ["car"], ["bus"], "Several smiling bus drivers"),
        ("Under an umbrella stand", ["umbrella"], ["kite"], "Under a kite stand"),
        ("A car with a kite nearby", ["kite"], ["umbrella"], "A car with an umbrella nearby"),
        ("White ornate dog in a nice room", ["dog"], ["horse"], "White ornate horse in a nice room"),
        ("a white and black dog looking up", ["dog"], ["horse"], "a white and black horse looking up"),
        ("A very large old brown dog.", ["dog"], ["horse"], "A horse."),
        ("The cup is on a car", ["cup"], ["skis"], "The pair of skis is on a car"),
    ],
)
def test_another_object_takes_article_number_and_capital(
    caption: str, without: list[str], instead: list[str], said: str
) -> None:
    assert said in RuleWriter(WORDS).alter(caption, without, instead)


@pytest.mark.parametrize(
    ("word", "said"),
    [("oven", "an oven"), ("umbrella", "an umbrella"), ("unicycle", "a unicycle"), ("hourglass", "an hourglass"),
     ("Egg", "an Egg"), ("uninflated ball", "an uninflated ball"), ("euro coin", "a euro coin"),
     ("skis", "a pair of skis")],
)  # fmt: skip
def test_the_article_goes_by_the_sound(word: str, said: str) -> None:
    assert with_article(word) == said


ORDINARY = Lexicon({**WORDS.words, "broccoli": [], "scissors": [], "orange": [], "bowl": []}, {
    **WORDS.kin, "broccoli": "food", "orange": "food", "scissors": "indoor", "cup": "kitchen", "bowl": "kitchen",
    "knife": "kitchen", "dining table": "furniture", "tv": "electronic", "skis": "sports", "kite": "sports",
})  # fmt: skip
ARTICLES = "a|an|the|some|his|her|two|several"


@given(
    st.sets(st.sampled_from(ORDINARY.names), min_size=1, max_size=3),
    st.sampled_from(
        [
            "Two old dogs near a red car.", "White ornate cup on the dining table", "his orange is in an old bowl,",
            "a black and white dog next to a cup", "A long empty street with a horse in the background", "Three cups",
            "An umbrella stand, a bowl close by", "a knife nearby and a kite beneath a car",
        ]
    ),
)  # fmt: skip
def test_no_noun_has_two_articles_or_the_wrong_one_and_nothing_is_joined_twice_in_the_same_words(
    names: set[str], caption: str
) -> None:
    writer, wanted = RuleWriter(ORDINARY), sorted(names)
    before = ORDINARY.named(caption)
    instead = [name for name in ORDINARY.names if name not in names | before]
    texts = [*writer.insert(caption, wanted), *writer.replace(caption, wanted), *writer.alter(caption, wanted, instead)]
    for text in texts:
        assert not re.search(rf"\b({ARTICLES}) ({ARTICLES})\b", text, re.IGNORECASE), text
        assert not re.search(r"\b(a [aeio]|an [^aeiou]|white an?|white some)\b", text), text
        assert not re.search(r"(next to|near|beside)\b.*\b\1\b", text), text
        assert not re.search(r"\b(two|three|several) (broccoli|scissors|skis)\b", text, re.IGNORECASE), text
        assert ",," not in text.replace(" ", "") and not text.endswith(" "), text


def test_a_thing_stands_only_where_one_of_its_kind_did() -> None:
    writer = RuleWriter(ORDINARY)
    assert "A man rides a dog." in writer.replace("A man rides a horse.", ["dog"])
    assert not writer.replace("A man rides a horse.", ["bowl"])
    altered = writer.alter("A man rides a horse.", ["horse"], ["bowl", "car", "dog"])
    assert altered == ["A man rides a dog."]
    assert writer.alter("A man rides a horse.", ["horse"], ["bowl"]) == ["A man rides a bowl."]


@given(
    st.sets(st.sampled_from(WORDS.names), min_size=1, max_size=3),
    st.sampled_from(["A man on a horse", "Two dogs.", "A long empty street", "people at a table with a mug!"]),
)
def test_what_the_rules_insert_is_named_and_what_they_alter_is_gone(names: set[str], caption: str) -> None:
    writer, wanted = RuleWriter(WORDS), sorted(names)
    before = WORDS.named(caption)
    assert all(names | before == WORDS.named(text) for text in writer.insert(caption, wanted))
    assert all(names <= WORDS.named(text) for text in writer.replace(caption, wanted))
    instead = [name for name in WORDS.names if name not in names | before][:5]
    altered = writer.alter(caption, wanted, instead)
    assert altered and all(set(instead) & WORDS.named(text) for text in altered)
    if len(before & names) <= len(instead):
        assert all(not names & WORDS.named(text) for text in altered)


@given(
    st.sampled_from(["café", "猫", "t-shirt", "3D printer", "traffic light (red)", "Größe", "women's shoe", "IKEA bag"])
)
def test_an_object_of_any_letters_is_named_where_it_stands(name: str) -> None:
    lexicon = Lexicon({name: [], "horse": []})
    for text in (f"A man with a {name}.", f"a horse and {name}, close by", name, name.upper()):
        assert name in lexicon.named(text)
        assert [one.name for one in lexicon.mentions(text) if one.name == name]
    assert all(name in lexicon.named(text) for text in RuleWriter(lexicon).insert("A field.", [name]))
    assert lexicon.named("nothing of it") == set()


@pytest.mark.parametrize("name", ["cup, red", "", " ", "?!"])
def test_a_name_that_rows_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(BrokenDataError, match="right would be words without a comma"):
        Lexicon({name: [], "horse": []})
