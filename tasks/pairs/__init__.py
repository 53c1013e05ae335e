"""Pairs: is the true caption nearer to its picture than one that differs in a word or in their order?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harness import artefacts
from harness.errors import DataError, UsageError
from harness.images import crop, lies_inside
from harness.metrics import Metric, divide, macro, ratio
from harness.registry import task
from harness.types import Answer, Counts, Sample, Task
from tasks.pairs.rows import SOURCES, SUGAR_CREPE, Pair, listed


def _kind(kind: str) -> Metric:
    return Metric(lambda totals: macro(totals, [name for name in SUGAR_CREPE if name.startswith(kind)]))


@task("pairs")
class Pairs(Task):
    """Two captions, one true: SugarCrepe (arXiv 2306.14610), ARO (arXiv 2210.01936), or rows of your own.

    ``source`` is sugar-crepe, aro-relation, aro-attribution, aro-coco-order, aro-flickr-order (a caption against four
    of its words in other orders), or a JSON list of ``image``, ``caption``, ``negative``.
    ``macro`` averages categories as the authors do: SugarCrepe's seven files (and its three kinds: add, replace, swap),
    ARO's relations or attribute pairs. Ties count against the model.
    """

    mode, headline = "rank", "macro"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "macro": Metric(macro),
        "accuracy": ratio("right", "n"),
        "add": _kind("add"),
        "replace": _kind("replace"),
        "swap": _kind("swap"),
        "margin": Metric(lambda totals: divide(totals["margin"], totals["n"]), scale=1.0, digits=3),
        "ties": ratio("tied", "n", better="lower"),
    }
    summary = (("", "macro"), ("", "add"), ("", "replace"), ("", "swap"))

    def __init__(self, data: Path, source: str = "sugar-crepe") -> None:
        super().__init__(data)
        if source not in SOURCES and not source.endswith((".json", ".jsonl")):
            raise UsageError(f"pairs has no source '{source}'; there is {', '.join(SOURCES)}, and any FILE.json")
        self.source = source

    @cached_property
    def _rows(self) -> tuple[Pair, ...]:
        found = tuple(SOURCES[self.source](self.data) if self.source in SOURCES else listed(Path(self.source)))
        if not found:
            raise DataError(f"{self.source} holds no pair of captions")
        return found

    @cached_property
    def _category(self) -> Mapping[str, str]:
        return {row.id: row.category for row in self._rows}

    def samples(self) -> Iterator[Sample]:
        """One sample a row; its first text is the true one."""
        for row in self._rows:
            yield Sample(row.id, self._seen(row), "0", texts=(row.true, *row.false), group=row.group)

    def _seen(self, row: Pair) -> Path:
        """The file that shows what the row is about: the picture, or the part cut out of it."""
        if row.box is None or not (self.outside or lies_inside(row.image, self.data)):
            return row.image
        return crop(row.image, row.box, self.data / "aro" / "crops")

    def blind(self) -> Mapping[str, Mapping[str, Answer]]:
        """What a scorer that reads the captions and never sees the picture answers."""
        return {"text-only": artefacts.floor(list(self.samples()))}

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """Right where the true caption is strictly first."""
        own, *others = answer.scores or ()
        right, category = float(own > max(others)), self._category[sample.id]
        return {
            "n": 1.0,
            "right": right,
            "tied": float(own == max(others)),
            "margin": own - max(others),
            f"n_{category}": 1.0,
            f"right_{category}": right,
        }
