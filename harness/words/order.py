"""Captions with their words in another order, as the authors of ARO draw them (arXiv 2210.01936)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.words import tagging

Words = Callable[[str], Sequence[tuple[str, str]]]
"""A text's tokens with their tags of the Penn Treebank."""
NOUNS = frozenset({"NN", "NNS", "NNP", "NNPS"})
ADJECTIVES = frozenset({"JJ", "JJR", "JJS"})
MOST_WORDS = 30
SEED = 1
"""What the authors' main_aro.py seeds both generators with (mertyg/vision-language-models-are-bows @ 81fdd20)."""


class Shuffler:
    """Called with a caption: four of other order, from the two generators that the authors seed, in their sequence.

    Nouns among themselves and adjectives among themselves; every word that is neither; the words within each three; the
    threes. ``tagged`` finds nouns and adjectives (the authors: spaCy's en_core_web_sm), ``tokens`` the words of the
    threes (NLTK's). One shuffler is for one pass over a data set: what it draws depends on what it drew before.
    """

    def __init__(self, tagged: Words, tokens: Callable[[str], Sequence[str]]) -> None:
        self._tagged, self._tokens = tagged, tokens
        self._numpy, self._python = np.random.RandomState(SEED), random.Random(SEED)

    def __call__(self, caption: str) -> tuple[str, ...]:
        """The four, cleaned as the true caption is."""
        ways = (self._nouns_and_adjectives, self._all_but_these, self._within_threes, self._threes)
        return tuple(cleaned(way(caption)) for way in ways)

    def _nouns_and_adjectives(self, caption: str) -> str:
        words, tags = _apart(self._tagged(caption))
        for kind in (NOUNS, ADJECTIVES):
            at = [n for n, tag in enumerate(tags) if tag in kind]
            words[at] = self._numpy.permutation(words[at])
        return " ".join(words)

    def _all_but_these(self, caption: str) -> str:
        words, tags = _apart(self._tagged(caption))
        at = [n for n, tag in enumerate(tags) if tag not in NOUNS | ADJECTIVES]
        words[at] = self._numpy.permutation(words[at])
        return " ".join(words)

    def _within_threes(self, caption: str) -> str:
        threes = _threes(self._tokens(caption))
        for three in threes:
            self._python.shuffle(three)
        return " ".join(word for three in threes for word in three)

    def _threes(self, caption: str) -> str:
        threes = _threes(self._tokens(caption))
        self._python.shuffle(threes)
        return " ".join(word for three in threes for word in three)


def _apart(tagged: Sequence[tuple[str, str]]) -> tuple[Any, list[str]]:
    return np.array([word for word, _ in tagged], dtype=object), [tag for _, tag in tagged]


def _threes(words: Sequence[str]) -> list[list[str]]:
    return [list(words[n : n + 3]) for n in range(0, len(words), 3)]


def cleaned(caption: str) -> str:
    """The caption as ARO asks it: lower case, without some punctuation, of 30 words at most (its pre_caption)."""
    plain = re.sub(r"\s{2,}", " ", re.sub(r"([.!\"()*#:;~])", " ", caption.lower()))
    return " ".join(plain.rstrip("\n").strip(" ").split(" ")[:MOST_WORDS])


def shuffler(tagger: str) -> Shuffler:
    """A shuffler by the tagger of this name: ``nltk``, or ``spacy:MODEL`` for an installed model."""
    if tagger == "nltk":
        return Shuffler(tagging.tagged, _nltk_tokens)
    if tagger.startswith("spacy:"):
        return Shuffler(_spacy(tagger.removeprefix("spacy:")), _nltk_tokens)
    raise UsageError(f"no tagger is called '{tagger}'; there is nltk, and spacy:MODEL for an installed model")


def of_lists(nouns: Collection[str], adjectives: Collection[str]) -> Shuffler:
    """A shuffler for a world whose nouns and adjectives are listed."""

    def tagged(text: str) -> list[tuple[str, str]]:
        kinds = (("NN", nouns), ("JJ", adjectives))
        return [(word, next((tag for tag, kind in kinds if word in kind), "")) for word in _plain_tokens(text)]

    return Shuffler(tagged, _plain_tokens)


def _plain_tokens(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def _nltk_tokens(text: str) -> list[str]:
    return [word for word, _ in tagging.tagged(text)]


def _spacy(name: str) -> Words:
    try:
        import spacy

        model: Any = spacy.load(name)
    except (ImportError, OSError) as error:
        raise UsageError(f"spaCy or its model '{name}' is not installed; nltk needs neither") from error
    return cache(lambda text: [(token.text, token.tag_) for token in model(text)])
