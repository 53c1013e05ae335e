"""POPE: is this object in the image? Objects that are there, and absent ones sampled in three ways."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from harness import yes_no
from harness.errors import BrokenDataError, DataError, UsageError
from harness.images import find
from harness.metrics import Metric
from harness.registry import task
from harness.rows import distinct, rows, settings_of, shown
from harness.types import Answer, Counts, Sample, Task

SAMPLINGS = ("random", "popular", "adversarial")
COCO = ("val2014", "coco", "coco/val2014")
SOURCES = {
    "coco": COCO,
    "flickr": ("flickr30k", "flickr30k-images", "flickr"),
    "nocaps": ("nocaps", "open_images"),
    "aokvqa": COCO,
    "gqa": ("gqa", "gqa/images", "GQA/images"),
}
"""Where the images of each source may lie. A-OKVQA's and GQA's questions: DAMO-NLP-SG/VCD @ 039af55."""
SUFFIXES = {"plain": "", "llava": "\nAnswer the question using a single word or phrase."}
ABSENT = (
    18, 40, 62, 70, 72, 76, 104, 114, 126, 180, 192, 234, 250, 272, 276, 332, 366, 372, 498, 502, 520, 560,
    570, 574, 632, 664, 718, 722, 724, 820, 868, 922, 958, 1004, 1014, 1060, 1144, 1194, 1248, 1264, 1318,
    1342, 1398, 1406, 1472, 1474, 1508, 1538, 1630, 1642, 1660, 1704, 1718, 1794, 1818, 1866, 1888, 1932,
    1942, 1944, 1968, 2010, 2028, 2126, 2130, 2154, 2216, 2222, 2256, 2262, 2322, 2358, 2412, 2450, 2474,
    2558, 2616, 2658, 2688, 2698, 2746, 2778, 2786, 2828, 2844, 2854, 2880, 2884, 2912, 2988,
)  # fmt: skip
"""Questions of the 3,000 random ones on COCO that the older list of 2,910 has not; of the rest it swaps three pairs."""
SWAPPED = ((866, 867), (1142, 1143), (1940, 1941))
LABELS = ("pope", "repope")
READ_AS = {"official": "official", "strict": "first-word"}


@task("pope")
class Pope(Task):
    """Yes-no questions on present and absent objects, in three samplings (arXiv 2305.10355).

    ``rules`` is official (POPE's own reading of an answer) or strict (its first word); ``source`` is coco, flickr,
    nocaps, aokvqa or gqa; ``questions`` names files of POPE's format instead (A,B,C; in DATA/pope or anywhere);
    ``prompt`` is plain (the question as in the file) or llava (with the line LLaVA's evaluation adds).
    ``pope/reading.json`` may set the prompt. ``labels`` is pope, or repope: corrected labels laid over POPE's own
    questions, those that RePOPE found ambiguous left out (arXiv 2504.15707).
    """

    mode, headline, whole = "generate", "f1", "pooled"
    metrics: ClassVar[Mapping[str, Metric]] = {**yes_no.answer_metrics("yes"), **yes_no.SIGNAL}
    summary = (("", "accuracy"), ("", "f1"), ("", "balanced_accuracy"), ("", "yes_ratio"))
    rule_sets: ClassVar[tuple[str, ...]] = tuple(READ_AS)
    positive: ClassVar[str] = "yes"
    means: ClassVar[Mapping[str, str]] = {"mean_f1": "f1"}

    def __init__(
        self,
        data: Path,
        rules: str = "official",
        source: str = "coco",
        prompt: str = "",
        questions: str = "",
        labels: str = "pope",
    ) -> None:
        super().__init__(data)
        for value, known in ((rules, READ_AS), (source, SOURCES), (prompt or "plain", SUFFIXES), (labels, LABELS)):
            if value not in known:
                raise UsageError(f"pope does not know '{value}'; there is {', '.join(known)}")
        if labels == "repope" and (source != "coco" or questions):
            raise UsageError("pope?labels=repope: RePOPE corrected POPE's questions on COCO, and no others")
        self._rules, self.source, self._prompt, self.labels = rules, source, prompt, labels
        self._questions = [name for name in questions.split(",") if name]

    @property
    def prompt(self) -> str:
        """The name of the prompt: the one asked for, else the data's own, else plain."""
        path = self.data / "pope" / "reading.json"
        name = self._prompt or settings_of(path, ("prompt",)).fields.get("prompt", "plain")
        if not isinstance(name, str) or name not in SUFFIXES:
            raise BrokenDataError(f"{path}: no prompt is called {shown(name)}; there is {', '.join(SUFFIXES)}")
        return name

    def samples(self) -> Iterator[Sample]:
        """Every question of every sampling whose file is there."""
        root, suffix = self.data / "pope", SUFFIXES[self.prompt]
        names = [name for source in SOURCES for name in SOURCES[source] if self._questions or source == self.source]
        nested = [at / name for name in dict.fromkeys(names) for at in (root, self.data / "images", self.data)]
        images = cache(lambda name: find(name, root / "images", *nested, self.data / "images"))
        for prefix, group, path in self._files():
            every = rows(path)
            distinct(every, "question_id")
            corrected = self._corrected(group)
            for number, row in enumerate(every, 1):
                id = f"{prefix}/{row.id('question_id') if row.has('question_id') else number}"
                image, prompt, label = row.file_name("image"), row.text("text"), row.yes_no("label")
                if corrected is not None:
                    label = corrected.get((image, _question(prompt)), "")
                if label:
                    yield Sample(id, images(image), label, prompt=prompt + suffix, group=group, until=".")

    def _corrected(self, sampling: str) -> Mapping[tuple[str, str], str] | None:
        """RePOPE's labels of this sampling by image and question; None where POPE's own are asked for."""
        if self.labels == "pope":
            return None
        root, name = self.data / "pope", f"coco_repope_{sampling}.json"
        path = next((at / name for at in (root / "repope", root) if (at / name).is_file()), root / "repope" / name)
        return {(row.file_name("image"), _question(row.text("text"))): row.yes_no("label") for row in rows(path)}

    def as_published(self) -> Pope | None:
        """The same questions with POPE's own labels, none left out; None where these are they."""
        return None if self.labels == "pope" else Pope(self.data, self._rules, self.source, self._prompt)

    def remarks(self) -> Sequence[str]:
        """How many labels are others than POPE's own, and how many questions were left out."""
        plain = self.as_published()
        if plain is None:
            return ()
        own = {sample.id: sample.target for sample in plain.samples()}
        kept = {sample.id: sample.target for sample in self.samples()}
        changed = sum(own[id] != label for id, label in kept.items())
        return (
            f"RePOPE's labels: {changed} of {len(own)} are others than POPE's, {len(own) - len(kept)} questions are "
            "left out as ambiguous (arXiv 2504.15707).",
        )

    def _files(self) -> list[tuple[str, str, Path]]:
        """How the ids of each file's questions begin, its group, and where it lies."""
        root = self.data / "pope"
        if self._questions:
            return [_named(root, name) for name in self._questions]
        found = [(f"{self.source}/{name}", name, _published(root, self.source, name)) for name in SAMPLINGS]
        there = [(prefix, name, path) for prefix, name, path in found if path is not None]
        if not there:
            raise DataError(f"{root} holds no {self.source}_pope_random.json, _popular or _adversarial")
        return there

    def editions(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Other lists of these questions that answers may be numbered by: name → group → ids in order.

        Of the random questions on COCO there is a list of 2,910, which LLaVA and OPERA ask (shikiw/OPERA @ 61426ef).
        """
        if self.source != "coco":
            return {}
        swap = {a: b for pair in SWAPPED for a, b in (pair, pair[::-1])}
        numbers = [swap.get(number, number) for number in range(1, 3001) if number not in ABSENT]
        return {"2910": {"random": [f"coco/random/{number}" for number in numbers]}}

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """What the answer says against what is there."""
        assert answer.text is not None, "POPE asks for words"
        return yes_no.counts(sample.target, yes_no.READINGS[READ_AS[self._rules]](answer.text))

    def rules(self) -> Mapping[str, Any]:
        """How answers are read."""
        labels = {"labels": self.labels} if self.labels != "pope" else {}
        return {"version": self.version, "rules": self._rules, "reading": READ_AS[self._rules]} | labels

    def floors(self) -> Mapping[str, Answer]:
        """What always saying yes or no scores."""
        return {"always-yes": Answer("Yes"), "always-no": Answer("No")}


def _published(root: Path, source: str, sampling: str) -> Path | None:
    """The file of this source and sampling by either of its published names; None where it is not there."""
    names = (f"{source}_pope_{sampling}.json", f"{source}_pope_seem_{sampling}.json")
    paths = [folder / name for folder in (root, root / source) for name in names]
    return next((path for path in paths if path.is_file()), None)


def _question(text: str) -> str:
    """A question as its versions have it in common: older files misspell the image."""
    return text.replace("imange", "image").strip()


def _named(root: Path, name: str) -> tuple[str, str, Path]:
    """A file of questions that the user names; its group is the sampling in its name, or else its name."""
    path = root / name if os.path.isfile(root / name) else Path(os.path.expanduser(name))
    if not os.path.isfile(path):
        raise DataError(f"pope?questions={name}: there is no such file, neither in {root} nor here")
    return path.stem, next((sampling for sampling in SAMPLINGS if sampling in path.stem), path.stem), path
