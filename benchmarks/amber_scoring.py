"""Scoring AMBER's captions: the official script's way, a comparison of word vectors at a time, beside the table's.

Needs AMBER's files (``OHD_BENCH_DATA``) and NLTK's data. With spaCy and a model installed (``OHD_BENCH_SPACY``, else
en_core_web_lg or _md) the reference asks that model, as the script does; without, it asks a dictionary, which costs
next to nothing, and the ratio is a lower bound.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Similar = Callable[[str, str], bool]

SHARED = Path(os.environ.get("OHD_BENCH_SHARED", Path(__file__).parents[2] / "shared"))


def rows(quick: bool) -> Iterator[dict[str, Any]]:
    """The ratio of CPU seconds on the same captions, whether every count is equal, and the whole task's seconds."""
    data = Path(os.environ.get("OHD_BENCH_DATA", SHARED / "data"))
    if not (data / "amber" / "annotations.json").is_file():
        print(f"amber-scoring: no amber/ in {data}; set OHD_BENCH_DATA", file=sys.stderr)
        return
    if (SHARED / "data" / "nltk_data").is_dir():
        os.environ.setdefault("NLTK_DATA", str(SHARED / "data" / "nltk_data"))
    from tasks.amber import Amber

    answers, real = _answers(data)
    captions = [row for row in answers if row["id"] <= 1004][: 20 if quick else 100]
    similar, whose = _similar()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["OHD_BENCH_CACHE"] = cache
        _by_script(data, captions[:1], similar)  # loads the tagger and WordNet, for both
        task = Amber(data)
        samples = {sample.id: sample for sample in task.samples()}
        _by_table(task, samples, [{"id": 1, "response": "A dog."}])
        ours, counts = _seconds(lambda: _by_table(task, samples, captions))
        reference, expected = _seconds(lambda: _by_script(data, captions, similar))
        first, again = (_command(data, answers, cache) for _ in range(2))
    yield {
        "name": "amber-scoring",
        "ratio": reference / ours,
        "equal": counts == expected,
        "detail": {
            "captions": len(captions),
            "reference": whose,
            "reference_s": reference,
            "table_s": ours,
            "answers": f"{len(answers)} {real}",
            "whole_command_cpu_s": first,
            "again_cpu_s": again,
        },
    }


def _answers(data: Path) -> tuple[list[dict[str, Any]], str]:
    """Real answers where the data holds some (``amber/responses``), else what the annotations say."""
    real = sorted((data / "amber" / "responses").glob("*.json"))
    if real:
        return json.loads(real[0].read_text(encoding="utf-8")), f"of {real[0].stem}"
    notes = json.loads((data / "amber" / "annotations.json").read_text(encoding="utf-8"))
    said = [f"A {' and a '.join(n['truth'])}." if isinstance(n["truth"], list) else n["truth"].title() for n in notes]
    return [{"id": n["id"], "response": text} for n, text in zip(notes, said, strict=True)], "made of the truth"


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def _command(data: Path, answers: list[dict[str, Any]], cache: str) -> float:
    """CPU seconds of the whole command, start included."""
    path = Path(cache) / "answers.json"
    path.write_text(json.dumps(answers), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "from harness.cli import main; main()"
    words = [sys.executable, "-c", code, "score", "amber", str(path), "--data", str(data), "--json"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _by_table(task: Any, samples: Any, captions: list[dict[str, Any]]) -> list[dict[str, float]]:
    from harness.types import Answer

    return [dict(task.count(samples[str(row["id"])], Answer(row["response"]))) for row in captions]


def _similar() -> tuple[Similar, str]:
    """The script's test of two words: by an installed spaCy model; else at the cost of what there is of spaCy."""
    from tasks.amber.vocabulary import synonyms

    table = synonyms("md-3.7.1")
    try:
        import spacy
    except ImportError:
        return lambda a, b: b in table.of(a), "the script's loops without spaCy (a lower bound)"
    for name in filter(None, (os.environ.get("OHD_BENCH_SPACY"), "en_core_web_lg", "en_core_web_md")):
        if spacy.util.is_package(name):
            return _by_vectors(spacy.load(name)), f"spaCy {name}"
    compare = _by_vectors(_blank(spacy))
    return lambda a, b: compare(a, b) * 0 or b in table.of(a), "spaCy's tokenizer without a model (a lower bound)"


def _blank(spacy: Any) -> Any:
    """An English pipeline that only splits words, every word the same vector."""
    language = spacy.blank("en")
    from tasks.amber.vocabulary import known_words

    for word in known_words():
        language.vocab.set_vector(word, np.ones(300, np.float32))
    return language


def _by_vectors(language: Any) -> Similar:
    return lambda a, b: language(a).similarity(language(b)) > 0.8


def _by_script(data: Path, captions: list[dict[str, Any]], similar: Similar) -> list[dict[str, float]]:
    """The same counts by the script's loops: lists searched word by word, nouns lemmatised by WordNet."""
    import nltk
    from nltk.stem import WordNetLemmatizer

    association = json.loads((data / "amber" / "relation.json").read_text(encoding="utf-8"))
    vocabulary = [word for key, others in association.items() for word in (key, *others)]
    safe = (data / "amber" / "safe_words.txt").read_text(encoding="utf-8").splitlines()
    notes = {n["id"]: n for n in json.loads((data / "amber" / "annotations.json").read_text(encoding="utf-8"))}
    found = []
    for row in captions:
        lemma = WordNetLemmatizer().lemmatize
        tagged = nltk.pos_tag(nltk.word_tokenize(row["response"]))
        nouns = [noun for noun in (lemma(w) for w, tag in tagged if tag.startswith("NN")) if noun in vocabulary]
        found.append(_scanned(notes[row["id"]], nouns, association, (safe, similar)))
    return found


def _scanned(note: dict[str, Any], nouns: list[str], association: dict[str, list[str]], words: Any) -> dict[str, float]:
    safe, similar = words
    truth, hallu = (
        [(o, i) for i, w in enumerate(note[part]) for o in association[w]] + [(w, i) for i, w in enumerate(note[part])]
        for part in ("truth", "hallu")
    )
    covered: set[int] = set()
    trapped: set[int] = set()
    invented = 0
    for noun in (noun for noun in nouns if noun not in safe):
        if hit := next(((i,) for word, i in truth if word == noun), ()):
            covered.update(hit)
            continue
        trapped.update(next(((i,) for word, i in hallu if word == noun), ()))
        trapped.update(next(((i,) for word, i in hallu if similar(noun, word)), ()))
        excuse = next(((i,) for word, i in truth if similar(noun, word)), ())
        covered.update(excuse)
        invented += not excuse
    return {
        "captions": 1,
        "nouns": len(nouns),
        "invented": invented,
        "hallucinated": int(invented > 0),
        "slots": len(note["truth"]),
        "covered": len(covered),
        "traps": len(note["hallu"]),
        "trapped": len(trapped),
    }
