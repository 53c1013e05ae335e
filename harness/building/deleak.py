"""Choose among candidates so that scorers which see no image find the true caption no oftener than by chance.

Each row is given, by lot, the rank that its true caption is to have under the text-only scorer, as the most typical
caption of its row, and by length; every round the scorers are fitted anew to what is chosen, and rows move to the
candidate nearest to their ranks. A target of last place instead would only teach the next scorer the opposite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import artefacts
from harness.building.drafts import Draft
from harness.types import Sample

ROUNDS = 12
STAYS = 0.3
"""The share of rows that stay as they are in a round."""
WON = 8.0
"""What it costs, in ranks, that a scorer finds the true caption in a row where it is not to."""


@dataclass
class Choice:
    """The captions chosen for one draft."""

    draft: Draft
    positive: str
    negatives: list[str]

    def sample(self) -> Sample:
        """The row as a scorer of texts sees it."""
        name = self.draft.picture.name
        return Sample(name, Path(name), "0", texts=(self.positive, *self.negatives))


@dataclass(frozen=True)
class Leak:
    """How often each scorer that sees no image finds the true caption (%), chance, and where chance ends (95 %)."""

    rows: int
    chance: float
    limit: float
    shares: dict[str, float]

    @property
    def near_chance(self) -> bool:
        """Whether no scorer finds it oftener than chance would."""
        return all(share <= self.limit for share in self.shares.values())

    def said(self) -> str:
        """One line for the card."""
        told = ", ".join(f"{name} {share:.1f}" for name, share in self.shares.items())
        found = "near chance" if self.near_chance else "NOT at chance: it cannot be brought there with these captions"
        return f"{told} % (chance {self.chance:.1f}, 95 % of it up to {self.limit:.1f}; {self.rows} rows): {found}"


def choose(drafts: Sequence[Draft], seed: int, rounds: int = ROUNDS) -> tuple[list[Choice], Leak]:
    """The captions of each row, and what they still tell a reader of texts alone."""
    rng = Random(f"choose/{seed}")
    choices = [Choice(one, rng.choice(one.positives), []) for one in drafts]
    for one in choices:
        _draw_negatives(one, rng, range(len(one.draft.slots)))
    targets = _targets(choices, rng)
    best, kept = measure(choices), [(one.positive, list(one.negatives)) for one in choices]
    for turn in range(rounds):
        if best.near_chance:
            break
        _move(choices, targets, rng, turn)
        found = measure(choices)
        if _excess(found) < _excess(best):
            best, kept = found, [(one.positive, list(one.negatives)) for one in choices]
    for one, (positive, negatives) in zip(choices, kept, strict=True):
        one.positive, one.negatives = positive, negatives
    return choices, best


def measure(choices: Sequence[Choice]) -> Leak:
    """What every scorer makes of these rows; two text-only scorers of different folds, the better counts."""
    from scipy.stats import binom

    samples = [one.sample() for one in choices]
    found = {name: scorer(samples) for name, scorer in artefacts.SCORERS.items()}
    found["text-only, other folds"] = artefacts.text_only(samples, seed=1)
    shares = {
        name: 100 * float(np.mean([artefacts.right(s, x) for s, x in zip(samples, scores, strict=True)]))
        for name, scores in found.items()
    }
    chance = float(np.mean([1 / len(sample.texts) for sample in samples]))
    return Leak(len(samples), 100 * chance, 100 * float(binom.ppf(0.975, len(samples), chance)) / len(samples), shares)


def _excess(leak: Leak) -> float:
    return max(leak.shares.values())


def _draw_negatives(one: Choice, rng: Random, places: Sequence[int]) -> None:
    """Candidates drawn anew at these places, none equal to another caption of the row where that can be."""
    texts = one.negatives or [""] * len(one.draft.slots)
    for place in places:
        taken = {text.casefold() for n, text in enumerate(texts) if n != place} | {one.positive.casefold()}
        candidates = one.draft.slots[place].candidates
        free = [text for text in candidates if text.casefold() not in taken]
        texts[place] = rng.choice(free or candidates)
    one.negatives = texts


def _targets(choices: Sequence[Choice], rng: Random) -> NDArray[np.int64]:
    """A rank for each row and scorer, every rank as often as the others, in a random order for each scorer."""
    columns = []
    for _ in range(3):
        order = rng.sample(range(len(choices)), len(choices))
        size = [len(one.draft.slots) + 1 for one in choices]
        # first place is nobody's aim: as many come there by chance
        columns.append([max(1, place * size[n] // len(choices)) for n, place in enumerate(order)])
    return np.array(columns).T


def _move(choices: Sequence[Choice], targets: NDArray[np.int64], rng: Random, turn: int) -> None:
    """One round: some rows take another true caption, and rows that are still found other negatives."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    every = [text for one in choices for text in (one.positive, *one.negatives)]
    words = TfidfVectorizer(token_pattern=artefacts.WORD).fit(every)
    fold = artefacts.folds([one.draft.picture.name for one in choices], 100 + turn)
    for k in range(artefacts.FOLDS):
        seen = [one.sample() for n, one in enumerate(choices) if fold[n] != k]
        # all rows at once would swing from one side to the other
        moved = [n for n in range(len(choices)) if fold[n] == k and rng.random() >= STAYS]
        if not moved or not seen:
            continue
        read = _read([choices[n] for n in moved], artefacts.reader(seen), words)
        for n, ranks in zip(moved, read, strict=True):
            _settle(choices[n], ranks, targets[n], rng)


def _read(choices: Sequence[Choice], reader: artefacts.Reader, words: Any) -> Iterator[NDArray[np.int64]]:
    """For each row the ranks that its true captions would have: by the reader, as the typical one, by length."""
    texts = [text for one in choices for text in (*one.negatives, *one.draft.positives)]
    score, table, length = reader(texts), words.transform(texts), artefacts.lengths(texts)[:, 1]
    at = 0
    for one in choices:
        last, end = at + len(one.negatives), at + len(one.negatives) + len(one.draft.positives)
        yield np.array(
            [
                _ranks(score[at:last], score[last:end]),
                _typical(table[at:last], table[last:end]),
                _ranks(-length[at:last], -length[last:end]),
            ]
        ).T
        at = end


def _settle(one: Choice, ranks: NDArray[np.int64], target: NDArray[np.int64], rng: Random) -> None:
    """The true caption whose ranks are nearest to the row's aim; where it would still be found, other negatives."""
    candidates = one.draft.positives
    last = len(one.negatives)
    won = (ranks[:, 0] == 0) & (target[0] != 0)
    typical = (ranks[:, 1] == 0) & (target[1] != 0)
    extreme = ((ranks[:, 2] == 0) & (target[2] != 0)) | ((ranks[:, 2] == last) & (target[2] != last))
    cost = np.abs(ranks - target) @ np.array([1.0, 1.0, 0.5]) + WON * (won * 1.0 + typical * 1.0 + extreme * 1.0)
    best = int(cost.argmin())
    taken = {text.casefold() for text in one.negatives}
    if candidates[best].casefold() not in taken:
        one.positive = candidates[best]
    if won[best] or typical[best] or extreme[best]:
        places = rng.sample(range(last), last // 3)
        _draw_negatives(one, rng, places)


def _ranks(rivals: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many rivals are as high or higher."""
    return (rivals[None, :] >= own[:, None]).sum(1)  # type: ignore[no-any-return]


def _typical(theirs: Any, own: Any) -> NDArray[np.int64]:
    """The rank of each candidate by its mean likeness to the row's other captions."""
    among = np.asarray((theirs @ theirs.T).todense())
    across = np.asarray((own @ theirs.T).todense())
    rivals = among.sum(1) - np.diagonal(among) + across
    return (np.round(rivals, 9) >= np.round(across.sum(1), 9)[:, None]).sum(1)  # type: ignore[no-any-return]
