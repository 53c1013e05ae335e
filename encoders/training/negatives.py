"""Which hallucinated captions a row brings to a step."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from encoders.training.dataset import Pair
from encoders.training.hard_negatives import Hard

if TYPE_CHECKING:
    from encoders.training.settings import Training

KEEPS = frozenset(
    {"a", "an", "the", "of", "in", "on", "at", "and", "or", "with", "to", "by", "for", "from", "is", "are", "there"}
)


def captions(pair: Pair, how: str, most: int, key: str, hard: Hard | None = None) -> list[str]:
    """The true caption, then at most this many negatives, drawn by the key: hallucinated, swapped or none.

    With a list of hard negatives, hallucinated ones are drawn in proportion to their weights.
    """
    rng = Random(key)
    true, *false = pair.captions
    if how == "none" or most == 0:
        return [true]
    if how == "swapped":
        return [true, *dict.fromkeys(text for _ in range(most) if (text := swapped(true, rng)) != true)]
    if len(false) <= most:
        return [true, *false]
    return [true, *(hard.drawn(true, false, most, rng) if hard else rng.sample(false, most))]


def lacking(rows: Sequence[Pair], recipe: Training) -> int:
    """How many of these rows have no negative to bring: words are to be swapped, and the caption has no two."""
    if recipe.negatives != "swapped":
        return 0
    return sum(swapped(pair.captions[0], Random(0)) == pair.captions[0] for pair in rows)


def swapped(caption: str, rng: Random) -> str:
    """The caption with two of its content words in each other's place; itself where it has no two different ones."""
    words = caption.split()
    places = [n for n, word in enumerate(words) if word.strip(",.;:!?\"'").lower() not in KEEPS]
    choices = [(a, b) for a in places for b in places if a < b and _bare(words[a]) != _bare(words[b])]
    if not choices:
        return caption
    a, b = rng.choice(choices)
    one, other = _bare(words[a]), _bare(words[b])
    words[a], words[b] = words[a].replace(one, other), words[b].replace(other, one)
    return " ".join(words)


def _bare(word: str) -> str:
    return word.strip(",.;:!?\"'")
