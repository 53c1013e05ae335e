"""The common nouns of a caption, by a named tagger: what F-CLIPScore scores beside the caption."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from harness.errors import UsageError
from harness.words.tagging import tagged

Nouns = Callable[[str], tuple[str, ...]]


def by_nltk(text: str) -> tuple[str, ...]:
    """Tokens that NLTK tags NN or NNS; DataError where its data is absent."""
    return tuple(token for token, tag in tagged(text) if tag in ("NN", "NNS"))


def by_spacy(name: str) -> Nouns:
    """Tokens that an installed spaCy model tags NOUN, as F-CLIPScore's authors take them."""
    try:
        import spacy

        model: Any = spacy.load(name)
    except (ImportError, OSError) as error:
        raise UsageError(
            f"nouns=spacy:{name}: spaCy or this model of it is not installed; nouns=nltk needs neither"
        ) from error
    return cache(lambda text: tuple(token.text for token in model(text) if token.pos_ == "NOUN"))


def of_list(words: Iterable[str]) -> Nouns:
    """Words of the text that are on this list, in one case or another."""
    known = {word.casefold() for word in words}
    return lambda text: tuple(word for word in re.findall(r"\w+", text) if word.casefold() in known)


def tagger(name: str) -> Nouns:
    """The tagger of this name: ``nltk`` or ``spacy:MODEL``."""
    if name == "nltk":
        return by_nltk
    if name.startswith("spacy:") and len(name) > len("spacy:"):
        return by_spacy(name.removeprefix("spacy:"))
    raise UsageError(f"no tagger of nouns is called '{name}'; there is nltk, and spacy:MODEL for an installed model")
