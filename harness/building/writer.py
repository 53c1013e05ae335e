"""Write captions that name more, or other, objects than a caption does: by rule, as edits of its noun phrases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations
from typing import Protocol

from harness.building.lexicon import Lexicon, Mention, article, listed, with_article

APPENDED = (
    "{said} next to {things}",
    "{said} near {things}",
    "{said} with {things} nearby",
    "{said} with {things} in the background",
    "{said}, {things} close by",
    "{said} beside {things}",
    "{said}, and there is {things}",
)
"""How what is also there is told; none says more than that it is there."""
_BEFORE = re.compile(r"\ban? $", re.IGNORECASE)
_TAILS = ("nearby", "in the background", "close by")


class Writer(Protocol):
    """Writes candidates; which of them is right, and which is taken, is decided elsewhere."""

    @property
    def plenty(self) -> bool:
        """Whether candidates cost nothing, so that many may be asked for."""

    def insert(self, caption: str, names: Sequence[str]) -> list[str]:
        """Captions that also name each of these objects."""

    def replace(self, caption: str, names: Sequence[str]) -> list[str]:
        """Captions in which these objects stand where others did, as far as there is room."""

    def alter(self, caption: str, without: Sequence[str], instead: Sequence[str]) -> list[str]:
        """Captions that name none of ``without``, but one or more of ``instead``."""


class RuleWriter:
    """Edits noun phrases: adds some at the end, or puts one in another's place, with its article and number."""

    plenty = True

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def insert(self, caption: str, names: Sequence[str]) -> list[str]:
        """Each way of appending the objects, in two orders; none in words that the caption has already."""
        said, end = _open(caption)
        orders = list(dict.fromkeys((tuple(names), tuple(reversed(names)))))
        things = [listed([with_article(self._lexicon.words[name][0]) for name in order]) for order in orders]
        forms = [form for form in APPENDED if not _again(form, said)] or APPENDED
        return [form.format(said=said, things=one) + end for one in things for form in forms]

    def replace(self, caption: str, names: Sequence[str]) -> list[str]:
        """Each way of putting the objects in the place of others, those left over appended."""
        free = [mention for mention in self._lexicon.mentions(caption) if mention.free]
        found = []
        for mention in free:
            for first in names:
                if self._lexicon.goes(mention, first):
                    edited = self._put(caption, [(mention, first)])
                    rest = [name for name in names if name != first]
                    found += self.insert(edited, rest) if rest else [edited]
        if len(free) >= 2 and len(names) >= 2:
            for pair in list(permutations(free, 2))[:4]:
                both = list(zip(pair, names[:2], strict=True))
                if all(self._lexicon.goes(*one) for one in both):
                    edited = self._put(caption, both)
                    found += self.insert(edited, names[2:]) if names[2:] else [edited]
        return found

    def alter(self, caption: str, without: Sequence[str], instead: Sequence[str]) -> list[str]:
        """Each object of ``instead`` in turn where those of ``without`` were, or else in another's place, or added."""
        mentions = self._lexicon.mentions(caption)
        gone = [mention for mention in mentions if mention.name in without]
        if gone:
            orders = [[*instead[n:], *instead[:n]] for n in range(len(instead))]
            return list(
                dict.fromkeys(self._put(caption, swaps) for order in orders if (swaps := self._swaps(gone, order)))
            )
        free = [mention for mention in mentions if mention.free]
        put = [self._put(caption, [(one, name)]) for name in instead for one in free if self._lexicon.goes(one, name)]
        return put or [text for name in instead for text in self.insert(caption, [name])]

    def _swaps(self, gone: Sequence[Mention], order: Sequence[str]) -> list[tuple[Mention, str]]:
        """For each object that goes the first one that may stand there, else the first; none where they are too few."""
        swap: dict[str, str] = {}
        for mention in gone:
            if mention.name not in swap:
                left = [name for name in order if name not in swap.values()]
                fit = [name for name in left if self._lexicon.goes(mention, name)]
                if not left:
                    return []
                swap[mention.name] = (fit or left)[0]
        return [(mention, swap[mention.name]) for mention in gone]

    def _put(self, caption: str, swaps: Sequence[tuple[Mention, str]]) -> str:
        for mention, name in sorted(swaps, key=lambda swap: -swap[0].start):
            begin = mention.phrase if mention.free else mention.start
            said = self._lexicon.standing_in(mention, name) if mention.free else self._lexicon.words[name][0]
            if not mention.free and (before := _BEFORE.search(caption[:begin])):
                # part of a longer name ("an umbrella stand"): the word alone is exchanged, and the article fits it
                begin, said = before.start(), f"{article(said)} {said}"
            if begin == 0:
                said = said[0].upper() + said[1:] if caption[0].isupper() else said
            caption = caption[:begin] + said + caption[mention.end :]
        return caption


def _again(form: str, said: str) -> bool:
    """Whether the caption has the words already by which this form joins its objects to it: no two of them in a row."""
    tail = form.rpartition("{things}")[2].strip()
    joint = form.partition("{said}")[2].partition("{things}")[0].strip(" ,")
    return any(other in said for other in _TAILS) if tail else joint in said


def _open(caption: str) -> tuple[str, str]:
    """The caption without what ends it, and that."""
    said = caption.rstrip()
    end = said[len(said.rstrip(" .!,;:")) :].strip(" ,;:")
    return said.rstrip(" .!,;:"), end[:1]
