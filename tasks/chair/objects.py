"""The COCO objects that a caption names, by the two published ways of finding them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import BrokenDataError
from harness.rows import object_of, shown
from harness.words import tagging


class Vocabulary:
    """COCO's 80 objects with their synonyms, and the pairs of words that are read as one."""

    def __init__(self, path: Path) -> None:
        table = object_of(path)
        self._object = {word: name for word, name in _words(path, table, "inverse_synonym_dict").items() if word}
        self._pairs = _words(path, table, "double_word_dict")
        self.names = frozenset(self._object.values())

    def objects(self, words: list[str]) -> list[str]:
        """The object of each word that names one, in order, repeats included."""
        read = self._paired(words)
        if "toilet" in read and "seat" in read:  # "the seat of the toilet" is no chair
            read = [word for word in read if word != "seat"]
        return [self._object[word] for word in read if word in self._object]

    def _paired(self, words: list[str]) -> list[str]:
        """The words with "fire hydrant" as one, and "baby bird" as bird."""
        read, i = [], 0
        while i < len(words):
            pair = " ".join(words[i : i + 2])
            read.append(self._pairs.get(pair, words[i]))
            i += 2 if pair in self._pairs else 1
        return read


def _words(path: Path, table: Mapping[str, Any], key: str) -> Mapping[str, str]:
    found = table.get(key)
    if not isinstance(found, dict) or not all(isinstance(word, str) for word in found.values()):
        raise BrokenDataError(f"{path}: '{key}' is {shown(found)}; right would be an object of words")
    return found


def by_lemma(caption: str) -> list[str]:
    """The caption's words as WordNet lemmas of their part of speech (the later, NLTK script)."""
    return tagging.lemmas(caption.lower())


def by_pattern(caption: str) -> list[str]:
    """The caption's words as Pattern singularises them (the original script): "bus" becomes "bu", and is not found."""
    return [_singular().get(token, token) for token, _ in tagging.tagged(caption.lower())]


@cache
def _singular() -> Mapping[str, str]:
    """What Pattern 3.6 makes of every form that is, or becomes, a word of CHAIR's vocabulary."""
    return json.loads(resources.files("tasks.chair").joinpath("singular.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]
