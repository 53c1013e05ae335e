"""How many tokens a model reads for questions: what the questions about one picture share is counted once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from harness.abilities import ShowsIds
from harness.types import LVLM, Asked, Sample


def tokens_read(lvlm: LVLM | None, shown: Asked) -> Callable[[Iterable[Sequence[Sample]]], int]:
    """A count of what groups of samples, each on one picture, make this LVLM read; 0 where it shows no token ids.

    Every picture is taken to become as many tokens as the one that is ``shown``.
    """

    @functools.cache
    def ids(prompt: str, seen: bool) -> tuple[int, ...]:
        assert isinstance(lvlm, ShowsIds)
        sample = Sample("", None, "", prompt=prompt)
        return tuple(lvlm.prompt_ids(Asked(shown.image if seen else None, (sample,))) or ())

    def counted(groups: Iterable[Sequence[Sample]]) -> int:
        return sum(tree_size([ids(one.prompt, one.image is not None) for one in group]) for group in groups)

    return counted if isinstance(lvlm, ShowsIds) else lambda groups: 0


def tree_size(prompts: Iterable[tuple[int, ...]]) -> int:
    """How many tokens these prompts are as a tree, in which what they begin with in common stands once."""
    ordered = sorted(set(prompts))
    return sum(map(len, ordered)) - sum(_common(one, other) for one, other in pairwise(ordered))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))
