"""POPE: is this object in the image? Objects that are there, and absent ones sampled in three ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from harness import yes_no
from harness.errors import DataError, UsageError
from harness.images import find
from harness.metrics import Metric
from harness.registry import task
from harness.rows import json_of, rows
from harness.types import Answer, Counts, Sample, Task

SAMPLINGS = ("random", "popular", "adversarial")
SOURCES = {
    "coco": ("val2014", "coco", "coco/val2014"),
    "flickr": ("flickr30k", "flickr30k-images", "flickr"),
    "nocaps": ("nocaps", "open_images"),
}
SUFFIXES = {"plain": "", "llava": "\nAnswer the question using a single word or phrase."}
READ_AS = {"official": "official", "strict": "first-word"}


@task("pope")
class Pope(Task):
    """Yes-no questions on present and absent objects, in three samplings (arXiv 2305.10355).

    ``rules`` is official (POPE's own reading of an answer) or strict (its first word); ``source`` is coco, flickr or
    nocaps; ``prompt`` is plain (the question as in POPE's file) or llava (with the line LLaVA's evaluation adds).
    ``pope/reading.json`` may set the prompt.
    """

    mode, headline, whole = "generate", "f1", "pooled"
    metrics: ClassVar[Mapping[str, Metric]] = {**yes_no.answer_metrics("yes"), **yes_no.SIGNAL}
    summary = (("", "accuracy"), ("", "f1"), ("", "balanced_accuracy"), ("", "yes_ratio"))
    rule_sets: ClassVar[tuple[str, ...]] = tuple(READ_AS)
    positive: ClassVar[str] = "yes"

    def __init__(self, data: Path, rules: str = "official", source: str = "coco", prompt: str = "") -> None:
        super().__init__(data)
        for value, known in ((rules, READ_AS), (source, SOURCES), (prompt or "plain", SUFFIXES)):
            if value not in known:
                raise UsageError(f"pope does not know '{value}'; there is {', '.join(known)}")
        self._rules, self.source, self._prompt = rules, source, prompt

    @property
    def prompt(self) -> str:
        """The name of the prompt: the one asked for, else the data's own, else plain."""
        path = self.data / "pope" / "reading.json"
        name = self._prompt or (json_of(path).get("prompt", "plain") if path.is_file() else "plain")
        if name not in SUFFIXES:
            raise DataError(f"{path}: no prompt is called '{name}'; there is {', '.join(SUFFIXES)}")
        return name

    def samples(self) -> Iterator[Sample]:
        """Every question of every sampling whose file is there."""
        root, suffix = self.data / "pope", SUFFIXES[self.prompt]
        files = {name: path for name in SAMPLINGS if (path := root / f"{self.source}_pope_{name}.json").is_file()}
        if not files:
            raise DataError(f"{root} holds no {self.source}_pope_random.json, _popular or _adversarial")
        nested = [at / name for name in SOURCES[self.source] for at in (root, self.data / "images", self.data)]
        images = cache(lambda name: find(name, root / "images", *nested, self.data / "images"))
        for sampling, path in files.items():
            for number, row in enumerate(rows(path), 1):
                try:
                    name, text, label = row["image"], row["text"], row["label"]
                except KeyError as error:
                    raise DataError(f"{path}, line {number}: not a POPE question ({error!r})") from error
                id = f"{self.source}/{sampling}/{row.get('question_id', number)}"
                yield Sample(id, images(name), label, prompt=text + suffix, group=sampling, until=".")

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """What the answer says against what is there."""
        assert answer.text is not None, "POPE asks for words"
        return yes_no.counts(sample.target, yes_no.READINGS[READ_AS[self._rules]](answer.text))

    def rules(self) -> Mapping[str, Any]:
        """How answers are read."""
        return {"version": self.version, "rules": self._rules, "reading": READ_AS[self._rules]}

    def floors(self) -> Mapping[str, Answer]:
        """What always saying yes or no scores."""
        return {"always-yes": Answer("Yes"), "always-no": Answer("No")}
