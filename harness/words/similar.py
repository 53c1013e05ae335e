"""Which words of AMBER's vocabulary a spaCy model holds for the same, as AMBER's scorer asks it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ModelError, UsageError
from harness.rows import json_of
from harness.store import write_json

THRESHOLD = 0.8


def table(model: str, relation: Path) -> dict[str, Any]:
    """The pairs whose similarity exceeds 0.8 in this installed model: name, source, threshold, pairs."""
    try:
        import spacy
    except ImportError as error:
        raise ModelError("this needs spaCy and a model of it: pip install spacy, spacy download NAME") from error
    try:
        language = spacy.load(model)
    except OSError as error:
        raise ModelError(f"spaCy has no model '{model}': spacy download {model}, or name a folder") from error
    if not language.vocab.vectors.size:
        raise ModelError(f"spaCy's {model} has no word vectors; the md and lg models have")
    known = json_of(relation)
    words = sorted({*known, *(word for others in known.values() for word in others)})
    version = language.meta.get("version", "")
    return {
        "name": "-".join(part for part in (language.meta.get("name", model), version) if part),
        "source": f"spaCy {language.meta.get('lang', '')}_{language.meta.get('name', model)} {version}",
        "threshold": THRESHOLD,
        "pairs": pairs(language, words),
    }


def pairs(language: Any, words: Sequence[str]) -> list[list[Any]]:
    """``[a, b, similarity, certain]`` of each pair above the threshold; certain: both have vectors of their own."""
    documents = [language(word) for word in words]
    rows = [language.vocab.vectors.find(key=language.vocab.strings[word]) for word in words]
    shared = {int(row) for row, times in zip(*np.unique(rows, return_counts=True), strict=True) if times > 1}
    found = []
    for (i, a), (j, b) in combinations(enumerate(documents), 2):
        if not a.vector_norm or not b.vector_norm:  # spaCy warns, and says 0
            continue
        similarity = float(a.similarity(b))
        if similarity > THRESHOLD:
            certain = rows[i] >= 0 and rows[j] >= 0 and rows[i] not in shared and rows[j] not in shared
            found.append([words[i], words[j], round(similarity, 6), bool(certain)])
    return found


def write(made: dict[str, Any], path: Path) -> None:
    """Keep the table as the file that ``--synonyms`` reads."""
    try:
        write_json(path, made)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    json.loads(path.read_text(encoding="utf-8"))
