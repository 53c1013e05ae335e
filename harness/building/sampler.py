"""Sample what is absent: three random, three popular and three adversarial objects an image, and every subset of them.

The published scheme (arXiv 2410.03176, and the annotations published with it): each of the first three objects of an
image brings one absent object of each kind with it. Popular ones are the commonest of all; an adversarial one is the
one seen oftenest together with the object that brings it, as POPE samples them. Seven captions a kind insert the
subsets of the three; six leave out, or alter, one or two of the three present ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INSERTED = ("random", "popular", "adversarial")
LEADS = 3
AT_ONCE = 10_000
"""Images sampled together: of an open vocabulary's thousands of names, more would need gigabytes."""


@dataclass(frozen=True, slots=True)
class Absent:
    """What is sampled for one image: its lead objects, and of each kind the absent object that each brings."""

    leads: tuple[str, ...]
    by_kind: Mapping[str, tuple[str, ...]]


def subsets(names: Sequence[str], whole: bool) -> list[tuple[str, ...]]:
    """One by one, then in pairs (1 2, 2 3, 1 3), and the three of them where ``whole``: the published order.

    Of two names without ``whole`` each alone; of one nothing, as nothing would be left.
    """
    if not whole and len(names) <= 1:
        return []
    single: list[tuple[str, ...]] = [(name,) for name in names]
    if len(names) < LEADS:
        return single
    one, two, three = names[:LEADS]
    return [*single[:LEADS], (one, two), (two, three), (one, three), *([(one, two, three)] if whole else [])]


def sample(present: Sequence[Sequence[str]], names: Sequence[str], seed: int) -> list[Absent]:
    """What is absent of each image, given the objects present in each; the same for the same seed.

    ``names`` are all objects; at least three must be absent everywhere, or that image gets fewer.
    """
    place = {name: n for n, name in enumerate(names)}
    here = np.zeros((len(present), len(names)), bool)
    for n, things in enumerate(present):
        here[n, [place[thing] for thing in things]] = True
    # equally common ones by their order among the names, so that nothing depends on how an array is sorted
    common = np.argsort(np.argsort(-here.sum(0), kind="stable"), kind="stable")
    parts = [slice(at, at + AT_ONCE) for at in range(0, len(present), AT_ONCE)]
    together = np.zeros((len(names), len(names)))
    for part in parts:
        together += here[part].T.astype(float) @ here[part].astype(float)
    rng = np.random.default_rng(seed)
    told = []
    for part in parts:
        own = [[place[thing] for thing in things[:LEADS]] for things in present[part]]
        chosen = _chosen(here[part], together, common, own, rng)
        for n, things in enumerate(present[part]):
            by_kind = {kind: tuple(names[i] for i in chosen[kind][n] if i >= 0) for kind in INSERTED}
            told.append(Absent(tuple(things[:LEADS]), by_kind))
    return told


def _chosen(
    here: NDArray[np.bool_],
    together: NDArray[np.float64],
    common: NDArray[np.int64],
    leads: Sequence[Sequence[int]],
    rng: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Of each kind the three places among the names for each of these images."""
    keys = {"random": rng.random(here.shape), "popular": np.broadcast_to(common.astype(float), here.shape)}
    found = {kind: _least(np.where(here, np.inf, key)) for kind, key in keys.items()}
    return found | {"adversarial": _with_each(here, together, common, leads)}


def _least(key: NDArray[np.float64]) -> NDArray[np.int64]:
    """The three smallest of each row in order; -1 for what is not to be had."""
    order = np.argsort(key, axis=1, kind="stable")[:, :LEADS]
    return np.where(np.isinf(np.take_along_axis(key, order, 1)), -1, order)


def _with_each(
    here: NDArray[np.bool_], together: NDArray[np.float64], common: NDArray[np.int64], leads: Sequence[Sequence[int]]
) -> NDArray[np.int64]:
    """For each lead in turn the absent object, not taken yet, that is oftenest seen with it; then the commoner one."""
    taken, rows = here.copy(), np.arange(len(here))
    chosen = np.full((len(here), LEADS), -1)
    for turn in range(LEADS):
        # an image with fewer leads goes round among those it has
        lead = np.array([own[turn % len(own)] if own else 0 for own in leads])
        key = together[lead] * float(here.shape[1] + 1) - common
        best = np.where(taken, -np.inf, key).argmax(1)
        free = ~taken[rows, best]
        chosen[free, turn] = best[free]
        taken[rows[free], best[free]] = True
    return chosen


def statistics(annotations: Iterable[Mapping[str, object]]) -> dict[str, dict[str, int]]:
    """Captions of each kind by the number of objects they insert, or leave out: ``{"random": {"1": 300, …}, …}``."""
    found: dict[str, Counter[str]] = {}
    for row in annotations:
        for kind in (*INSERTED, "delete"):
            told = row.get(f"{kind}_samples")
            sizes = (str(len(key.split(", "))) for key in (told if isinstance(told, dict) else {}))
            found.setdefault(kind, Counter()).update(sizes)
    return {kind: dict(sorted(counts.items())) for kind, counts in found.items()}
