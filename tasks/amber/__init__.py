"""AMBER: captions and yes-no questions about 1,004 images, counted as the official script counts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from harness import digest, yes_no
from harness.errors import UsageError
from harness.images import find
from harness.metrics import Metric
from harness.registry import task
from harness.rows import Row, distinct, object_of, rows, settings_of, text_of
from harness.types import Answer, Counts, Sample, Task
from tasks.amber import measures, vocabulary
from tasks.amber.rules import AnnotatedImage, Language, official, strict
from tasks.amber.vocabulary import Nouns, Synonyms

RULES = ("official", "strict")
WORDS = ("annotations.json", "relation.json", "safe_words.txt")
GROUPS = {
    "generative": "generative",
    **{
        f"discriminative-attribute-{kind}": f"discriminative/attribute/{kind}" for kind in ("state", "number", "action")
    },
    "discriminative-hallucination": "discriminative/existence",
    "discriminative-relation": "discriminative/relation",
    "relation": "discriminative/relation",
}


@dataclass(frozen=True, slots=True)
class Note:
    """What AMBER's annotation says of a question: its group, and the objects there and the likely inventions.

    A yes-no question has its answer as the one truth.
    """

    group: str
    truth: tuple[str, ...]
    hallu: tuple[str, ...] = ()


def _note(row: Row) -> Note:
    group = GROUPS[row.one_of("type", GROUPS)]
    if group != "generative":
        return Note(group, (row.yes_no("truth"),))
    return Note(group, tuple(row.texts("truth")), tuple(row.texts("hallu")))


@task("amber")
class Amber(Task):
    """Captions (CHAIR, Cover, Hal, Cog) and yes-no questions on existence, attributes and relations (arXiv 2311.07397).

    ``rules`` is official (what inference.py prints, to the digit) or strict; ``synonyms`` names the table of words that
    pass for one another, or its file; ``nouns`` is nltk or vocabulary. ``amber/reading.json`` may set the last two.
    """

    mode, headline = "generate", "AMBER"
    metrics: ClassVar[Mapping[str, Metric]] = {
        **measures.whole("official"),
        **measures.captions("official"),
        **measures.questions("official", ""),
    }
    summary = (
        *(("generative", name) for name in ("CHAIR", "Cover", "Hal", "Cog")),
        *(("discriminative", name) for name in ("accuracy", "f1", "balanced_accuracy")),
        ("", "AMBER"),
    )
    rule_sets: ClassVar[tuple[str, ...]] = RULES
    positive: ClassVar[str] = "no"

    def __init__(
        self, data: Path, rules: str = "official", synonyms: str | None = None, nouns: str | None = None
    ) -> None:
        super().__init__(data)
        if rules not in RULES:
            raise UsageError(f"amber has the rules {' and '.join(RULES)}, not '{rules}'")
        if synonyms:
            vocabulary.synonyms(synonyms)
        self._rules = rules
        self._read = yes_no.READINGS["exact" if rules == "official" else "first-word"]
        self._asked_for = {"synonyms": synonyms, "nouns": nouns}

    @property
    def root(self) -> Path:
        """Where AMBER's files lie."""
        return self.data / "amber"

    @cached_property
    def _reading(self) -> dict[str, str]:
        known = {"synonyms": vocabulary.PACKAGED, "nouns": vocabulary.NOUNS}
        row = settings_of(self.root / "reading.json", known)
        own = {key: row.one_of(key, known[key]) for key in row.fields}
        asked = {key: value for key, value in self._asked_for.items() if value}
        return {"synonyms": "md-3.7.1", "nouns": "nltk"} | own | asked

    @cached_property
    def synonyms(self) -> Synonyms:
        """The table of words that pass for one another."""
        return vocabulary.synonyms(self._reading["synonyms"])

    @cached_property
    def _annotations(self) -> dict[str, Note]:
        every = rows(self.root / "annotations.json")
        distinct(every, "id")
        return {row.id("id"): _note(row) for row in every}

    @cached_property
    def _language(self) -> Language:
        safe, path = self.root / "safe_words.txt", self.root / "relation.json"
        skipped = frozenset(text_of(safe).splitlines()) if safe.is_file() else frozenset()
        relation = Row(path, 1, object_of(path))
        if not relation.fields:
            raise relation.wrong("holds no word; right would be AMBER's words, each with a list of those that imply it")
        return Language({word: relation.texts(word) for word in relation.fields}, skipped, self.synonyms)

    @cached_property
    def _nouns(self) -> Nouns:
        return Nouns(self._language.vocabulary(), self._reading["nouns"], fold_case=self._rules == "strict")

    def samples(self) -> Iterator[Sample]:
        """Every caption and every question, in the order of the query file."""
        folders = (self.root / "image", self.root / "images", self.data / "images" / "amber")
        images = cache(lambda name: find(name, *folders))
        for row in self._queries():
            id, image, query = row.id("id"), images(row.file_name("image")), row.text("query")
            note = self._annotations.get(id)
            if note is None:
                raise row.wrong(f"'id' {id} is not in annotations.json")
            captioned = note.group == "generative"
            if captioned and (strange := {*note.truth, *note.hallu} - self._language.association.keys()):
                raise row.wrong(f"annotations.json names '{min(strange)}' for it, which relation.json does not know")
            target = ", ".join(note.truth) if captioned else note.truth[0]
            yield Sample(id, image, target, prompt=query, group=note.group, tokens=512 if captioned else 8)

    def _queries(self) -> Iterator[Row]:
        folder = self.root / "query"
        whole = folder / "query_all.json"
        parts = [folder / f"query_{part}.json" for part in ("generative", "discriminative")]
        every = [row for path in ([whole] if whole.is_file() else parts) for row in rows(path)]
        distinct(every, "id")
        return iter(every)

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """A caption's nouns against the annotation, or a question's yes or no against the truth."""
        assert answer.text is not None, "AMBER asks for words"
        if sample.group != "generative":
            return yes_no.counts(sample.target, self._read(answer.text))
        note = self._annotations[sample.id]
        counting = official if self._rules == "official" else strict
        return counting(AnnotatedImage(note.truth, note.hallu), self._nouns(answer.text), self._language)

    def metrics_of(self, group: str) -> Mapping[str, Metric]:
        """The AMBER Score of the whole; the captions' own metrics; the questions' own."""
        if not group:
            return measures.whole(self._rules)
        if group == "generative":
            return measures.captions(self._rules)
        return measures.questions(self._rules, group)

    def rules(self) -> Mapping[str, Any]:
        """The rule set, the synonym table by name and digest, and how nouns are found."""
        return {
            "version": self.version,
            "rules": self._rules,
            "synonyms": self.synonyms.name,
            "synonyms_digest": self.synonyms.digest(),
            "nouns": self._reading["nouns"],
            "data": digest.of_json(
                [digest.of_file(self.root / name) for name in WORDS if (self.root / name).is_file()]
            ),
        }

    def floors(self) -> Mapping[str, Answer]:
        """What always saying yes or no scores."""
        return {"always-yes": Answer("Yes"), "always-no": Answer("No")}
