"""Write captions that name more, or other, objects than a caption does: by rule, as edits of its noun phrases."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Protocol

from harness.building.lexicon import Lexicon, Mention, listed, with_article

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
        """Each way of appending the objects, in two orders."""
        said, end = _open(caption)
        orders = list(dict.fromkeys((tuple(names), tuple(reversed(names)))))
        things = [listed([with_article(self._lexicon.words[name][0]) for name in order]) for order in orders]
        return [form.format(said=said, things=one) + end for one in things for form in APPENDED]

    def replace(self, caption: str, names: Sequence[str]) -> list[str]:
        """Each way of putting the objects in the place of others, those left over appended."""
        free = [mention for mention in self._lexicon.mentions(caption) if mention.free]
        found = []
        for mention in free:
            for first in names:
                if self._goes(mention, first):
                    edited = self._put(caption, [(mention, first)])
                    rest = [name for name in names if name != first]
                    found += self.insert(edited, rest) if rest else [edited]
        if len(free) >= 2 and len(names) >= 2:
            for pair in list(permutations(free, 2))[:4]:
                edited = self._put(caption, list(zip(pair, names[:2], strict=True)))
                found += self.insert(edited, names[2:]) if names[2:] else [edited]
        return found

    def alter(self, caption: str, without: Sequence[str], instead: Sequence[str]) -> list[str]:
        """Each object of ``instead`` in turn where those of ``without`` were, or else in another's place, or added."""
        mentions = self._lexicon.mentions(caption)
        gone = [mention for mention in mentions if mention.name in without]
        if gone:
            named = list(dict.fromkeys(mention.name for mention in gone))
            orders = [[*instead[n:], *instead[:n]] for n in range(len(instead))]
            swaps = [dict(zip(named, order, strict=False)) for order in orders if len(order) >= len(named)]
            return [self._put(caption, [(one, swap[one.name]) for one in gone]) for swap in swaps]
        free = [mention for mention in mentions if mention.free]
        if free:
            return [self._put(caption, [(one, name)]) for name in instead for one in free if self._goes(one, name)]
        return [text for name in instead for text in self.insert(caption, [name])]

    def _goes(self, mention: Mention, name: str) -> bool:
        """Whether it may stand there: not a thing where a person acts, where it is known what is a person."""
        kin = self._lexicon.kin
        person = {kin.get(mention.name), kin.get(name)} & {"person"}
        return not person or kin.get(mention.name) == kin.get(name)

    def _put(self, caption: str, swaps: Sequence[tuple[Mention, str]]) -> str:
        for mention, name in sorted(swaps, key=lambda swap: -swap[0].start):
            # part of a longer name ("bicycle riders"): the bare word alone is exchanged
            begin = mention.phrase if mention.free else mention.start
            said = self._lexicon.standing_in(mention, name) if mention.free else self._lexicon.words[name][0]
            if begin == 0:
                said = said[0].upper() + said[1:] if caption[0].isupper() else said
            caption = caption[:begin] + said + caption[mention.end :]
        return caption


def _open(caption: str) -> tuple[str, str]:
    """The caption without what ends it, and that."""
    said = caption.rstrip()
    end = said[len(said.rstrip(" .!")) :].strip()
    return said.rstrip(" .!"), end[:1]
