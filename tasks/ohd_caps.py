"""OHD-Caps: which of 28 captions is the true one, when 27 name objects that are not there or leave some out."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from harness import artefacts
from harness.captions import KINDS, Captions, annotated, labelled
from harness.errors import DataError, UsageError
from harness.images import find
from harness.metrics import Metric, divide, ratio
from harness.registry import task
from harness.rows import rows, settings_of, shown
from harness.types import Answer, Counts, Sample, Task
from harness.words.common_nouns import Nouns, of_list, tagger

SOURCES = ("coco", "flickr", "nocaps")
SCORERS = {"plain": "", "f-clipscore": "arithmetic", "f-clipscore-gm": "geometric"}
FOLDERS = {"coco": ("coco", "val2014", "val2017"), "flickr": ("flickr30k", "flickr"), "nocaps": ("nocaps",)}


def _versus(kind: str) -> Metric:
    return ratio(f"right_{kind}", f"n_{kind}")


@task("ohd-caps")
class OhdCaps(Task):
    """The share of images whose true caption is more similar than every hallucinated one (arXiv 2410.03176, section 2).

    Ties count against the model. A caption equal to the true one is no negative. ``split`` is test or dev; ``rows`` is
    all, or unread: those whose true caption a scorer of texts alone does not find. ``rules`` is strict, or official: a
    tie is right, as in the authors' script. ``scorer`` is plain, f-clipscore
    (arXiv 2502.20034: the mean of a caption's logit and those of its nouns) or f-clipscore-gm (the geometric mean);
    ``nouns`` is the tagger that finds them, nltk or spacy:MODEL. ``ohd_caps/reading.json`` may list the nouns.
    ``source`` is coco, flickr, nocaps, one that was built (``data build-ohd``), or several with commas between; all
    that are there by default.
    """

    mode, headline = "rank", "top1"
    whole = "average"
    summary = (("", "top1"), ("", "vs_adversarial"))
    metrics: ClassVar[Mapping[str, Metric]] = {
        "top1": ratio("right", "n"),
        **{f"vs_{kind}": _versus(kind) for kind in KINDS},
        "margin": Metric(lambda totals: divide(totals["margin"], totals["n"]), scale=1.0, digits=3),
        "ties": ratio("tied", "n", better="lower"),
    }

    def __init__(  # noqa: PLR0913  (each option a user may write is a parameter)
        self,
        data: Path,
        split: str = "test",
        rows: str = "all",
        scorer: str = "plain",
        nouns: str = "",
        rules: str = "strict",
        source: str = "",
    ) -> None:
        super().__init__(data)
        self._asked_sources = tuple(one for one in source.split(",") if one)
        if rules not in ("strict", "official"):
            raise UsageError(f"ohd-caps has the rules strict and official, not '{rules}'")
        self._rules = rules
        if scorer not in SCORERS:
            raise UsageError(f"ohd-caps has the scorers {', '.join(SCORERS)}, not '{scorer}'")
        self.scorer, self._tagger = scorer, nouns
        if rows not in ("all", "unread"):
            raise UsageError(f"ohd-caps has the rows all and unread, not '{rows}'")
        self.rows = rows
        if split not in ("test", "dev"):
            raise UsageError(f"ohd-caps has the splits test and dev, not '{split}'")
        self.split = split
        self._kinds = cache(self._read_kinds)

    def samples(self) -> Iterator[Sample]:
        """One sample an image: 28 texts, the target the index of the true one (as text)."""
        if self.rows == "all":
            yield from self._every()
            return
        every = list(self._every())
        left = artefacts.misled(every)
        yield from (sample for sample in every if sample.id in left)

    def blind(self) -> Mapping[str, Mapping[str, Answer]]:
        """What a scorer that reads the captions and never sees the picture answers."""
        return {"text-only": artefacts.floor(list(self._every()))}

    def _every(self) -> Iterator[Sample]:
        folder = self.data / "ohd_caps" / self.split
        files = {source: self._labels(folder, source) for source in self._sources(folder)}
        absent = sorted(path for path in files.values() if not path.is_file())
        if absent or not files:
            name = absent[0].name if absent else self._labels(folder, "coco").name
            raise DataError(f"{folder} holds no OHD-Caps file; {name} belongs there")
        for source, path in files.items():
            for number, row in enumerate(rows(path)):
                yield self._sample(source, number, labelled(row))

    def _sources(self, folder: Path) -> list[str]:
        """Those asked for, or all that are there: the official ones first, then those built by the user."""
        if self._asked_sources:
            return list(self._asked_sources)
        ends = "dev_data.json" if self.split == "dev" else "_out_label.json"
        there = {path.name.removesuffix(ends).rstrip("_") or "coco" for path in folder.glob(f"*{ends}")}
        return [*(one for one in SOURCES if one in there), *sorted(there - {*SOURCES})]

    def _labels(self, folder: Path, source: str) -> Path:
        if self.split == "dev":
            return folder / ("dev_data.json" if source == "coco" else f"{source}_dev_data.json")
        return folder / f"{source}_out_label.json"

    def _sample(self, source: str, number: int, found: Captions) -> Sample:
        root = self.data / "ohd_caps" / "images"
        own = FOLDERS.get(source, (source,))
        folders = [root, *(root / name for name in own), *(self.data / name for name in own)]
        image = find(found.image, *folders, self.data / "images")
        sample = Sample(f"{source}-{number}", image, str(found.true), texts=found.texts, group=source)
        if self.scorer == "plain":
            return sample
        return replace(sample, parts=tuple(map(self._nouns, found.texts)), mean=SCORERS[self.scorer])

    @cached_property
    def _nouns(self) -> Nouns:
        """What finds the nouns: the tagger asked for, the data's own list, or NLTK's."""
        told = settings_of(self.data / "ohd_caps" / "reading.json", ("nouns",))
        if self._tagger or not told.fields:
            return tagger(self._tagger or "nltk")
        listed = told.given("nouns")
        if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
            raise told.wrong(f"'nouns' is {shown(listed)}; right would be a list of words")
        return of_list(listed)

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """Right where the true caption is first, strictly so unless ``official``; the same by kind of negative."""
        wins = operator.ge if self._rules == "official" else operator.gt
        scores = answer.scores or ()
        true, own = sample.texts[int(sample.target)], scores[int(sample.target)]
        rivals = [(score, text) for score, text in zip(scores, sample.texts, strict=True) if text != true]
        best = max((score for score, _ in rivals), default=float("-inf"))
        counts = {"n": 1.0, "right": float(wins(own, best)), "tied": float(own == best), "margin": own - best}
        kinds = self._kinds(sample.group).get(true, {})
        for kind in KINDS:
            against = [score for score, text in rivals if kind in kinds.get(text, ())]
            if against:
                counts |= {f"n_{kind}": 1.0, f"right_{kind}": float(wins(own, max(against)))}
        return counts

    def _read_kinds(self, source: str) -> dict[str, dict[str, set[str]]]:
        """True caption → negative → the kinds of negative it is; empty where the annotations are absent."""
        path = self.data / "ohd_caps" / self.split / f"{source}_annotations.json"
        if not path.is_file():
            return {}
        found: dict[str, dict[str, set[str]]] = {}
        for one, by_kind in map(annotated, rows(path)):
            captions = found.setdefault(one.true_text, {})
            for kind, texts in by_kind.items():
                for text in texts:
                    captions.setdefault(text, set()).add(kind)
        return found

    def rules(self) -> Mapping[str, Any]:
        """Split, rows, scorer and version, and whether a tie is right."""
        rows = {"rows": self.rows} if self.rows != "all" else {}
        scorer = {"scorer": self.scorer, "nouns": self._tagger or "nltk"} if self.scorer != "plain" else {}
        official = {"rules": self._rules} if self._rules != "strict" else {}
        return {"version": self.version, "split": self.split} | rows | scorer | official
