"""What one caption adds to AMBER's totals, by the official script's rules and by strict ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.amber.vocabulary import Synonyms

KEYS = ("captions", "nouns", "invented", "hallucinated", "slots", "covered", "traps", "trapped")


@dataclass(frozen=True)
class Language:
    """What the words mean to each other: associations (relation.json), safe words, and the synonym table."""

    association: Mapping[str, Sequence[str]]
    safe: frozenset[str]
    synonyms: Synonyms

    def vocabulary(self) -> frozenset[str]:
        """Every word an association knows."""
        return frozenset(self.association) | {word for words in self.association.values() for word in words}


@dataclass(frozen=True)
class AnnotatedImage:
    """An image's annotation: what is there, and what a model is likely to invent. The n-th word is slot n."""

    truth: tuple[str, ...]
    hallu: tuple[str, ...]


def official(scene: AnnotatedImage, nouns: Sequence[str], language: Language) -> dict[str, int]:
    """The counts of inference.py, accident for accident (docs/metrics.md lists them)."""
    truth, hallu = _Searched(scene.truth, language), _Searched(scene.hallu, language)
    covered: set[int] = set()
    trapped: set[int] = set()
    invented = 0
    for noun in nouns:
        if noun in language.safe:  # skipped, but it stays in the denominator
            continue
        if noun in truth.first:
            covered.add(truth.first[noun])
            continue
        if noun in hallu.first:
            trapped.add(hallu.first[noun])
        # no `continue` here: a noun that was just found among the traps may spring a second one,
        trapped |= hallu.first_like(noun)
        # and may still be excused by what is there
        excuse = truth.first_like(noun)
        covered |= excuse
        invented += not excuse
    return _counts(scene, len(nouns), invented, covered, trapped)


class _Searched:
    """The list that the script searches: the associations of every slot, then the slots' own words."""

    def __init__(self, words: Sequence[str], language: Language) -> None:
        by_association = [(other, slot) for slot, word in enumerate(words) for other in language.association[word]]
        self._list = by_association + [(word, slot) for slot, word in enumerate(words)]
        self._synonyms = language.synonyms
        self.first: dict[str, int] = {}
        for word, slot in self._list:
            self.first.setdefault(word, slot)

    def first_like(self, noun: str) -> set[int]:
        """The slot of the first word that passes for this noun, as a set of one or none."""
        like = self._synonyms.of(noun)
        return next(({slot} for word, slot in self._list if word in like), set())


def strict(scene: AnnotatedImage, nouns: Sequence[str], language: Language) -> dict[str, int]:
    """The same definitions without the accidents.

    A noun stands for the slots of its own word; where there are none, for those it is associated with; else for those
    a synonym reaches. What stands for something true is never invented and springs no trap. Safe words count nowhere.
    """
    counted = [noun for noun in nouns if noun not in language.safe]
    covered: set[int] = set()
    trapped: set[int] = set()
    invented = 0
    for noun in counted:
        true = _slots(noun, scene.truth, language)
        covered |= true
        if not true:
            invented += 1
            trapped |= _slots(noun, scene.hallu, language)
    return _counts(scene, len(counted), invented, covered, trapped)


def _slots(noun: str, words: Sequence[str], language: Language) -> set[int]:
    """The slots this noun stands for."""

    def where(slots: Iterable[int], same: frozenset[str]) -> set[int]:
        return {slot for slot in slots if same & {words[slot], *language.association[words[slot]]}}

    own = {slot for slot, word in enumerate(words) if word == noun}
    every = range(len(words))
    return own or where(every, frozenset((noun,))) or where(every, language.synonyms.of(noun))


def _counts(scene: AnnotatedImage, nouns: int, invented: int, covered: set[int], trapped: set[int]) -> dict[str, int]:
    return {
        "captions": 1,
        "nouns": nouns,
        "invented": invented,
        "hallucinated": int(invented > 0),
        "slots": len(scene.truth),
        "covered": len(covered),
        "traps": len(scene.hallu),
        "trapped": len(trapped),
    }
