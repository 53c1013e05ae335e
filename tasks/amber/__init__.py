"""AMBER: captions and yes-no questions about 1,004 images, counted as the official script counts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from harness import digest, yes_no
from harness.errors import DataError, UsageError
from harness.images import find
from harness.metrics import Metric
from harness.registry import task
from harness.rows import json_of, text_of
from harness.types import Answer, Counts, Sample, Task
from tasks.amber import measures, words
from tasks.amber.rules import Language, Scene, official, strict
from tasks.amber.words import Nouns, Synonyms

RULES = ("official", "strict")
WORDS = ("annotations.json", "relation.json", "safe_words.txt")
GROUPS = {
    "generative": "generative",
    "discriminative-hallucination": "discriminative/existence",
    "discriminative-relation": "discriminative/relation",
    "relation": "discriminative/relation",
}


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
            words.synonyms(synonyms)
        self._rules = rules
        self._read = yes_no.READINGS["exact" if rules == "official" else "first-word"]
        self._asked_for = {"synonyms": synonyms, "nouns": nouns}

    @property
    def root(self) -> Path:
        """Where AMBER's files lie."""
        return self.data / "amber"

    @cached_property
    def _reading(self) -> dict[str, str]:
        path = self.root / "reading.json"
        own = json_of(path) if path.is_file() else {}
        asked = {key: value for key, value in self._asked_for.items() if value}
        return {"synonyms": "md-3.7.1", "nouns": "nltk"} | own | asked

    @cached_property
    def synonyms(self) -> Synonyms:
        """The table of words that pass for one another."""
        return words.synonyms(self._reading["synonyms"])

    @cached_property
    def _annotations(self) -> dict[str, dict[str, Any]]:
        path = self.root / "annotations.json"
        try:
            return {str(row["id"]): row for row in json_of(path)}
        except (TypeError, KeyError) as error:
            raise DataError(f"{path} is not AMBER's list of annotations ({error!r})") from error

    @cached_property
    def _language(self) -> Language:
        safe = self.root / "safe_words.txt"
        skipped = frozenset(text_of(safe).splitlines()) if safe.is_file() else frozenset()
        return Language(json_of(self.root / "relation.json"), skipped, self.synonyms)

    @cached_property
    def _nouns(self) -> Nouns:
        return Nouns(self._language.vocabulary(), self._reading["nouns"], fold_case=self._rules == "strict")

    def samples(self) -> Iterator[Sample]:
        """Every caption and every question, in the order of the query file."""
        folders = (self.root / "image", self.root / "images", self.data / "images" / "amber")
        images = cache(lambda name: find(name, *folders))
        for row in self._queries():
            try:
                id, name, query = str(row["id"]), row["image"], row["query"]
                note = self._annotations[id]
                kind, truth = note["type"], note["truth"]
            except KeyError as error:
                raise DataError(f"{self.root}: query {row.get('id')} has no {error.args[0]!r}") from error
            image, group = images(name), GROUPS.get(kind, kind.replace("-", "/"))
            if group == "generative":
                yield Sample(id, image, ", ".join(truth), prompt=query, group=group, tokens=512)
            else:
                yield Sample(id, image, truth, prompt=query, group=group, tokens=8)

    def _queries(self) -> Iterator[dict[str, Any]]:
        folder = self.root / "query"
        every = folder / "query_all.json"
        names = (
            [every] if every.is_file() else [folder / f"query_{part}.json" for part in ("generative", "discriminative")]
        )
        for path in names:
            yield from json_of(path)

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """A caption's nouns against the annotation, or a question's yes or no against the truth."""
        assert answer.text is not None, "AMBER asks for words"
        if sample.group != "generative":
            return yes_no.counts(sample.target, self._read(answer.text))
        note = self._annotations[sample.id]
        scene = Scene(tuple(note["truth"]), tuple(note["hallu"]))
        counting = official if self._rules == "official" else strict
        return counting(scene, self._nouns(answer.text), self._language)

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
