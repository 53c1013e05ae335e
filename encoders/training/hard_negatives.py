"""Hard negatives from the last round: captions that invent what a model was found to invent are drawn oftener."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from harness import digest
from harness.rows import Row, rows


@dataclass(frozen=True, slots=True)
class Claim:
    """An object that is claimed where it is not, how much oftener than others, and what drags it along."""

    word: re.Pattern[str]
    drags: tuple[re.Pattern[str], ...]
    weight: float


class Hard:
    """The list that ``ohd-bench objects RUN --to FILE`` writes; DataError where a line is not of it."""

    def __init__(self, path: Path) -> None:
        every = rows(path)
        self.digest = digest.of_json([dict(row.fields) for row in every])
        self.claims = [_claim(row) for row in every]

    def weight(self, true: str, false: str) -> float:
        """The greatest weight of the objects that the false caption adds; 1 where none of them is on the list.

        An object counts beside what drags it along: where its ``drags`` name nothing in the true caption, it does not.
        """
        added = (claim for claim in self.claims if claim.word.search(false) and not claim.word.search(true))
        beside = (c.weight for c in added if not c.drags or any(drag.search(true) for drag in c.drags))
        return max(beside, default=1.0)

    def drawn(self, true: str, false: Sequence[str], most: int, rng: Random) -> list[str]:
        """At most this many of the false captions, without replacement, in proportion to their weights.

        Efraimidis and Spirakis 2006: the largest values of u^(1/w).
        """
        ranked = sorted(false, key=lambda text: rng.random() ** (1 / self.weight(true, text)), reverse=True)
        return ranked[:most]


def _claim(row: Row) -> Claim:
    """One line of what 'objects RUN --to' writes."""
    drags = tuple(_word(drag) for drag in row.texts("drags"))
    return Claim(_word(row.text("object")), drags, row.positive("weight"))


def _word(word: str) -> re.Pattern[str]:
    """The word and its plain plural, in any case."""
    return re.compile(rf"\b{re.escape(word)}(?:s|es)?\b", re.IGNORECASE)
