"""The words AMBER compares: which forms a vocabulary word takes, and which words count as the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from harness import digest
from harness.errors import DataError, UsageError
from harness.words import tagging

PACKAGED = ("md-3.7.1", "certain", "none")
NOUNS = ("nltk", "vocabulary")

# NLTK's tokenizer takes these apart, so that a token need not be a word between two spaces.
_TAKEN_APART = {"cannot", "d'ye", "gimme", "gonna", "gotta", "lemme", "wanna", "more'n", "'tis", "'twas"}
_TAKEN_APART_WORDS = {part for word in _TAKEN_APART for part in re.findall(r"[^\W\d_]+", word)}


@dataclass(frozen=True)
class Synonyms:
    """Pairs of vocabulary words that AMBER's similarity test lets pass for one another; a name and a digest."""

    name: str
    pairs: frozenset[tuple[str, str]]
    like: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[str, set[str]] = {}
        for a, b in self.pairs:
            found.setdefault(a, {a}).add(b)
            found.setdefault(b, {b}).add(a)
        object.__setattr__(self, "like", {word: frozenset(others) for word, others in found.items()})

    def of(self, word: str) -> frozenset[str]:
        """The word itself and all that pass for it."""
        return self.like.get(word) or frozenset((word,))

    def digest(self) -> str:
        """SHA-256 over the pairs, the same whatever the table is called."""
        return digest.of_json(sorted(sorted(pair) for pair in self.pairs))


def synonyms(name: str) -> Synonyms:
    """The packaged table of this name, or the one in this file."""
    if name == "none":
        return Synonyms("none", frozenset())
    if name in PACKAGED:
        rows = json.loads(_packaged("md-3.7.1.json"))["pairs"]
        return Synonyms(name, frozenset((a, b) for a, b, _, certain in rows if certain or name != "certain"))
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"no synonym table is called '{name}'; there is {', '.join(PACKAGED)}, or a file's path")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return Synonyms(str(table["name"]), frozenset((str(row[0]), str(row[1])) for row in table["pairs"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{path} is no synonym table ({error!r}); `ohd-bench data synonyms` writes one") from error


def _packaged(name: str) -> str:
    return resources.files("tasks.amber").joinpath(name).read_text(encoding="utf-8")


@cache
def forms() -> dict[str, str]:
    """Every form (``dogs``) that WordNet 3.0's lemmatizer takes to a word of AMBER's vocabulary (``dog``)."""
    return {form: word for word, shapes in json.loads(_packaged("forms.json")).items() for form in shapes}


@cache
def known_words() -> frozenset[str]:
    """The vocabulary that ``forms`` was made for."""
    return frozenset(json.loads(_packaged("forms.json")))


class Nouns:
    """Finds the vocabulary's nouns in a text, in order, repeats included."""

    def __init__(self, vocabulary: Iterable[str], how: str, fold_case: bool) -> None:
        words = frozenset(vocabulary)
        if how not in NOUNS:
            raise UsageError(f"amber finds nouns by {' or '.join(NOUNS)}, not by '{how}'")
        self._by_tagger = how == "nltk"
        if self._by_tagger:
            self._forms = {form: word for form, word in forms().items() if word in words}
            _refuse_unknown(words)
        else:
            self._forms = {f"{word}{ending}": word for ending in ("es", "s", "") for word in sorted(words)}
        self._fold = fold_case or not self._by_tagger
        if self._fold:
            own = {word.lower(): word for word in words}
            self._forms = {form.lower(): word for form, word in self._forms.items()} | own
        self._parts = {p for form in self._forms for p in re.findall(r"[^\W\d_]+", form)} | _TAKEN_APART_WORDS

    def __call__(self, text: str) -> list[str]:
        """The vocabulary words that the text's nouns stand for."""
        words = set(re.findall(r"[^\W\d_]+", text.lower() if self._fold else text))
        if words.isdisjoint(self._parts):  # no form occurs in it: nothing to tag
            return []
        nouns = tagging.nouns(text) if self._by_tagger else re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", text)
        if self._fold:
            nouns = [noun.lower() for noun in nouns]
        return [self._forms[noun] for noun in nouns if noun in self._forms]


def _refuse_unknown(vocabulary: frozenset[str]) -> None:
    """The packaged forms are facts about AMBER's own vocabulary; another one needs ``nouns=vocabulary``."""
    unknown = sorted(vocabulary - known_words())
    if unknown:
        raise DataError(
            f"amber/relation.json holds {len(unknown)} words ('{unknown[0]}' the first) that AMBER @ 534babf does not; "
            'put {"nouns": "vocabulary"} into amber/reading.json, or take AMBER\'s file'
        )
