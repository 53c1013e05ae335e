"""ARO's captions in another order: the draws are those of its authors' code, run here from its definition."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness.errors import UsageError
from harness.words import order
from harness.words.order import cleaned, of_lists, shuffler

CAPTIONS = [
    "A man with a red helmet on a small moped on a dirt road.",
    "Two dogs (one black; one white) play!",
    "A cat.",
    "red",
    "The old woman in the blue coat holds a big green umbrella over her two small children near the wet street, "
    "while a bus passes and a dog runs after it.",
]
NOUNS = {
    "man",
    "helmet",
    "moped",
    "road",
    "dogs",
    "cat",
    "woman",
    "coat",
    "umbrella",
    "children",
    "street",
    "bus",
    "dog",
}
ADJECTIVES = {"red", "small", "black", "white", "old", "blue", "big", "green", "wet"}


def trigrams(sentence):
    found, one = [], []
    for i in range(len(sentence)):
        one.append(sentence[i])
        if i % 3 == 2:
            found.append(one[:])
            one = []
    return [*found, one] if one else found


def authors(captions, tagged, tokens):
    """TextShuffler of dataset_zoo/perturbations.py, as COCO_Order calls it after seed_all(1)."""
    random.seed(1)
    np.random.seed(1)

    def nouns_and_adj(ex):
        text = np.array([word for word, _ in tagged(ex)])
        tags = [tag for _, tag in tagged(ex)]
        for kind in (["NN", "NNS", "NNP", "NNPS"], ["JJ", "JJR", "JJS"]):
            at = [i for i, tag in enumerate(tags) if tag in kind]
            text[at] = np.random.permutation(text[at])
        return " ".join(text)

    def allbut(ex):
        text = np.array([word for word, _ in tagged(ex)])
        at = [i for i, (_, tag) in enumerate(tagged(ex)) if tag in ["NN", "NNS", "NNP", "NNPS", "JJ", "JJR", "JJS"]]
        rest = np.ones(text.shape[0])
        rest[at] = 0
        rest = rest.astype(bool)
        text[rest] = np.random.permutation(text[rest])
        return " ".join(text)

    def within(ex):
        found = trigrams(tokens(ex))
        for one in found:
            random.shuffle(one)
        return " ".join(" ".join(one) for one in found)

    def whole(ex):
        found = trigrams(tokens(ex))
        random.shuffle(found)
        return " ".join(" ".join(one) for one in found)

    return [tuple(cleaned(way(ex)) for way in (nouns_and_adj, allbut, within, whole)) for ex in captions]


def test_four_orders_of_each_caption_are_drawn_as_the_authors_code_draws_them(monkeypatch):
    ours = of_lists(NOUNS, ADJECTIVES)
    state = random.getstate(), np.random.get_state()
    found = [ours(caption) for caption in CAPTIONS * 3]
    assert found == authors(CAPTIONS * 3, ours._tagged, order._plain_tokens)
    random.setstate(state[0])
    np.random.set_state(state[1])
    assert found[0] != found[len(CAPTIONS)], "the second pass goes on where the first stopped"


def test_with_nltk_they_are_the_same_again(nltk_data):
    ours = shuffler("nltk")
    assert [ours(caption) for caption in CAPTIONS] == authors(CAPTIONS, ours._tagged, order._nltk_tokens)


def test_a_caption_is_cleaned_and_cut_as_aro_cuts_it():
    assert cleaned("A cat;  (on) a MAT!\n") == "a cat on a mat"
    assert len(cleaned("word " * 40).split()) == 30


def test_an_unknown_tagger_is_named():
    with pytest.raises(UsageError, match="no tagger is called 'brill'; there is nltk, and spacy:MODEL"):
        shuffler("brill")
    with pytest.raises(UsageError, match="spaCy or its model 'nothing' is not installed"):
        shuffler("spacy:nothing")
