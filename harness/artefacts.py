"""What a data set of captions tells without its images: a text-only scorer, the medoid, length, duplicates."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import digest, sealed
from harness.data import cache_dir
from harness.types import Answer, Sample

TOKEN = r"\w+|[^\w\s]"  # noqa: S105
"""Words and marks: where a comma stands tells much."""
WORD = r"\w+"
CUT = 1 << 17
"""How many texts' tokens are held: a block of 500 rows with all that is tried for them."""
STRENGTH = 20.0
FOLDS = 5
SCORER = ("logistic", TOKEN, STRENGTH, FOLDS)
"""What the kept answers of the text-only scorer depend on, the texts aside."""
Scores = list[tuple[float, ...]]


@dataclass(frozen=True)
class Found:
    """What one group of samples lets a reader of texts alone do: shares of rows, and duplicates."""

    rows: int
    texts: float
    chance: float
    by_scorer: Mapping[str, float]
    duplicates: int
    true_twice: int


def text_only(samples: Sequence[Sample], seed: int = 0) -> Scores:
    """Scores of each sample's texts by a linear model of words, marks and length that never saw its image or its row.

    TF-IDF of one and two tokens, with length; logistic regression; cross-validated so that all rows of an image are
    held out together. Two texts that read the same score the same, so that ties can count against it.
    """
    fold = folds([str(s.image) for s in samples], seed)
    found: Scores = [(0.0,) * len(s.texts) for s in samples]
    for k in range(FOLDS):
        seen = [s for s, own in zip(samples, fold, strict=True) if own != k]
        held = [n for n, own in enumerate(fold) if own == k]
        if not held or not seen:  # of a single image there is nothing to learn from
            continue
        score = reader(seen)([text for n in held for text in samples[n].texts])
        for n, own in zip(held, _by_sample([samples[n] for n in held], score), strict=True):
            found[n] = own
    return found


Reader = Callable[[Sequence[str]], NDArray[np.float64]]
"""What scores texts without a picture: the higher, the more like a true caption."""


@lru_cache(maxsize=1)
def _parts() -> Callable[[str], tuple[str, ...]]:
    """A text as its single tokens and pairs of them; texts that are read again, fold after fold, are cut up once."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    cut = TfidfVectorizer(token_pattern=TOKEN, ngram_range=(1, 2)).build_analyzer()
    return lru_cache(maxsize=CUT)(lambda text: tuple(map(sys.intern, cut(text))))


def reader(samples: Sequence[Sample]) -> Reader:
    """The linear scorer that these samples teach."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    seen = [text for sample in samples for text in sample.texts]
    true = np.array([text == s.texts[int(s.target)] for s in samples for text in s.texts])
    if true.all() or not any(re.search(TOKEN, text.lower()) for text in seen):  # nothing to learn from
        return lambda texts: np.zeros(len(texts))
    length = lengths(seen)
    mean, spread = length.mean(0), length.std(0) + 1e-9
    words = TfidfVectorizer(analyzer=_parts())
    parts = [words.fit_transform(seen), csr_matrix((length - mean) / spread)]
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(hstack(parts).tocsr(), true)

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        rest = [words.transform(texts), csr_matrix((lengths(texts) - mean) / spread)]
        return np.asarray(model.decision_function(hstack(rest).tocsr()))

    return score


def lengths(texts: Sequence[str]) -> NDArray[np.float64]:
    """Words and characters of each text."""
    return np.array([[len(text.split()), len(text)] for text in texts], float)


def folds(images: Sequence[str], seed: int) -> NDArray[np.int64]:
    """A fold for each sample, the same for all of one image."""
    distinct = sorted(set(images))
    order = np.random.default_rng(seed).permutation(len(distinct))
    fold = {image: int(order[i]) % FOLDS for i, image in enumerate(distinct)}
    return np.array([fold[image] for image in images], np.int64)


def medoid(samples: Sequence[Sample]) -> Scores:
    """Each text's mean similarity (cosine of TF-IDF of words) to the other texts of its row."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [text for sample in samples for text in sample.texts]
    if not any(re.search(WORD, text) for text in texts):
        return [(0.0,) * len(sample.texts) for sample in samples]
    table = TfidfVectorizer(token_pattern=WORD).fit_transform(texts)
    score, at = np.zeros(len(texts)), 0
    for sample in samples:
        own = table[at : at + len(sample.texts)]
        alike = np.asarray((own @ own.T).todense())
        score[at : at + len(sample.texts)] = alike.sum(1) - np.diagonal(alike)
        at += len(sample.texts)
    return _by_sample(samples, np.round(score, 9))


def shortest(samples: Sequence[Sample]) -> Scores:
    """The fewest characters first."""
    return [tuple(-float(len(text)) for text in sample.texts) for sample in samples]


def longest(samples: Sequence[Sample]) -> Scores:
    """The most characters first."""
    return [tuple(float(len(text)) for text in sample.texts) for sample in samples]


def middling(samples: Sequence[Sample]) -> Scores:
    """The length nearest to the row's median first."""
    found = []
    for sample in samples:
        size = np.array([len(text) for text in sample.texts])
        found.append(tuple(float(x) for x in -np.abs(size - np.median(size))))
    return found


SCORERS: Mapping[str, Callable[[Sequence[Sample]], Scores]] = {
    "text-only (TF-IDF + length)": text_only,
    "medoid": medoid,
    "shortest": shortest,
    "longest": longest,
    "middle length": middling,
}


def _by_sample(samples: Sequence[Sample], score: NDArray[np.float64]) -> Scores:
    ends = np.cumsum([len(sample.texts) for sample in samples])
    return [tuple(float(x) for x in part) for part in np.split(score, ends[:-1])]


def right(sample: Sample, scores: Sequence[float]) -> bool:
    """Whether the true text is strictly first; a text equal to it is no rival."""
    true = sample.texts[int(sample.target)]
    own = scores[int(sample.target)]
    return all(own > score for score, text in zip(scores, sample.texts, strict=True) if text != true)


def examine(samples: Sequence[Sample]) -> dict[str, Found]:
    """By group (the whole last): how often each scorer that sees no image ranks the true text first.

    The scorer is fitted within each group, as each has a manner of its own; the whole is all groups' rows together.
    """
    groups = {group: [s for s in samples if s.group == group] for group in dict.fromkeys(s.group for s in samples)}
    hits = {
        group: {name: [right(s, x) for s, x in zip(own, scorer(own), strict=True)] for name, scorer in SCORERS.items()}
        for group, own in groups.items()
    }
    found = {group: _found(own, hits[group]) for group, own in groups.items()}
    together = {name: [hit for group in groups for hit in hits[group][name]] for name in SCORERS}
    return found | ({"all": _found([s for own in groups.values() for s in own], together)} if len(groups) > 1 else {})


def _found(samples: Sequence[Sample], hits: Mapping[str, Sequence[bool]]) -> Found:
    texts = [len(sample.texts) for sample in samples]
    return Found(
        len(samples),
        float(np.mean(texts)),
        float(np.mean([100 / n for n in texts])),
        {name: 100 * float(np.mean(values)) for name, values in hits.items()},
        sum(_repeats(sample) for sample in samples),
        sum(sample.texts.count(sample.texts[int(sample.target)]) > 1 for sample in samples),
    )


def _repeats(sample: Sample) -> bool:
    return len(set(sample.texts)) < len(sample.texts)


def misled(samples: Iterable[Sample]) -> set[str]:
    """The ids of the samples that the text-only scorer gets wrong: what is left needs a look at the picture."""
    every = list(samples)
    answers = floor(every)
    return {sample.id for sample in every if not right(sample, answers[sample.id].scores or ())}


def floor(samples: Sequence[Sample]) -> dict[str, Answer]:
    """The text-only scorer's answer to each sample, by id, to be counted as any model's; worked out once."""
    told = [[s.id, str(s.image.name if s.image else ""), s.texts, s.target, s.group] for s in samples]
    path = cache_dir() / "text-only" / f"{digest.of_json([SCORER, told])[:32]}.json"
    kept = sealed.recall(path)
    if kept is not None:
        return {id: Answer(scores=tuple(scores)) for id, scores in kept.items()}
    found: dict[str, Answer] = {}
    for group in dict.fromkeys(sample.group for sample in samples):
        own = [sample for sample in samples if sample.group == group]
        found |= {s.id: Answer(scores=x) for s, x in zip(own, text_only(own), strict=True)}
    sealed.keep(path, {id: answer.scores for id, answer in found.items()})
    return found


def as_json(found: Mapping[str, Found]) -> dict[str, Any]:
    """The findings as plain data."""
    return {
        group: {
            "rows": one.rows,
            "texts_per_row": one.texts,
            "chance": one.chance,
            "first_in_percent": dict(one.by_scorer),
            "rows_with_equal_texts": one.duplicates,
            "rows_with_true_text_twice": one.true_twice,
        }
        for group, one in found.items()
    }
