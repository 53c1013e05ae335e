"""Zero-shot classification: has a fine-tuned encoder forgotten what it could tell apart?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from harness import class_folders
from harness.errors import DataError, UsageError
from harness.metrics import Metric, macro, ratio
from harness.registry import task
from harness.types import Answer, Counts, Sample, Task

PER_CLASS = frozenset({"caltech101", "pets", "flowers", "fgvc_aircraft"})
"""Sets whose convention is the mean over classes (arXiv 2103.00020, appendix A), under clip-benchmark's names."""

FORGETTING = ("cifar10", "cifar100", "imagenet1k", "eurosat", "gtsrb", "stl10")
"""The sets of the paper's Table 3 (arXiv 2410.03176), under the names that clip-benchmark gives them."""
GROUPS = {"forgetting": FORGETTING}


@task("zero-shot")
class ZeroShot(Task):
    """The share of images whose class name is more similar than every other's: what fine-tuning must not lose.

    Reads class folders, ``zero_shot/CLASS/*.jpg`` or ``zero_shot/SET/CLASS/*.jpg`` (the set is the group; ``sets``
    chooses some, A,B, or ``forgetting``: the six of the paper's Table 3). The caption is ``zero_shot/template.txt``,
    or "a photo of a {}."; an underscore in a folder's name reads as a space. A set's ``classnames.txt`` and
    ``templates.txt`` say otherwise; several templates are an ensemble. ``average`` is over sets, each by its own
    convention (accuracy, or the mean over classes).
    """

    mode, headline, version = "rank", "top1", "2"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "top1": ratio("right", "n"),
        "top5": ratio("right5", "n"),
        "mean_per_class": ratio("class_right", "class_n"),
        "average": Metric(macro),
    }

    def __init__(self, data: Path, template: str = "", sets: str = "") -> None:
        super().__init__(data)
        named = [name for name in sets.split(",") if name]
        self._sets = list(dict.fromkeys(one for name in named for one in GROUPS.get(name, (name,))))
        if len(self._sets) > 1:
            self.summary = (("", "average"), *((name, "top1") for name in self._sets))
        if template and "{}" not in template:
            raise UsageError(f"zero-shot: the template '{template}' has no {{}} for the class")
        self._template = template

    def samples(self) -> Iterator[Sample]:
        """One sample an image; its texts are the captions of all classes of its set."""
        root = self.data / "zero_shot"
        found = class_folders.read(root, self._template)
        if unknown := set(self._sets) - {one.name for one in found}:
            have = ", ".join(one.name for one in found)
            raise DataError(
                f"{root} holds no set called {', '.join(sorted(unknown))}; there is {have or 'none'} "
                "(`ohd-bench data classes` writes one)"
            )
        for one in found:
            if self._sets and one.name not in self._sets:
                continue
            for image, number in one.pictures:
                id = image.relative_to(root).as_posix()
                yield Sample(id, image, str(number), texts=one.captions, group=one.name, templates=one.templates)

    @cached_property
    def _sizes(self) -> Mapping[tuple[str, str], int]:
        """How many pictures each class of each set has."""
        return Counter((sample.group, sample.target) for sample in self.samples())

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """Right where the class is strictly first; ties count against the model."""
        scores = answer.scores or ()
        own = scores[int(sample.target)]
        as_good = sum(score >= own for score in scores)
        right, share = float(as_good == 1), 1 / self._sizes[sample.group, sample.target]
        weight = share if sample.group in PER_CLASS else 1.0
        counts = {
            "n": 1.0,
            "right": right,
            "right5": float(as_good <= 5),
            "class_n": share,
            "class_right": share * right,
        }
        if sample.group:
            counts |= {f"n_{sample.group}": weight, f"right_{sample.group}": weight * right}
        return counts

    def rules(self) -> Mapping[str, Any]:
        """The version; the template is part of the texts asked."""
        return {"version": self.version}
