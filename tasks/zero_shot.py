"""Zero-shot classification: has a fine-tuned encoder forgotten what it could tell apart?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from harness import class_folders
from harness.errors import UsageError
from harness.metrics import Metric, ratio
from harness.registry import task
from harness.types import Answer, Counts, Sample, Task


@task("zero-shot")
class ZeroShot(Task):
    """The share of images whose class name is more similar than every other's: what fine-tuning must not lose.

    Reads class folders, ``zero_shot/CLASS/*.jpg`` or ``zero_shot/SET/CLASS/*.jpg`` (the set is the group). The caption
    is ``zero_shot/template.txt``, or "a photo of a {}."; an underscore in a folder's name reads as a space.
    """

    mode, headline = "rank", "top1"
    metrics: ClassVar[Mapping[str, Metric]] = {"top1": ratio("right", "n"), "top5": ratio("right5", "n")}

    def __init__(self, data: Path, template: str = "") -> None:
        super().__init__(data)
        if template and "{}" not in template:
            raise UsageError(f"zero-shot: the template '{template}' has no {{}} for the class")
        self._template = template

    def samples(self) -> Iterator[Sample]:
        """One sample an image; its texts are the captions of all classes of its set."""
        root = self.data / "zero_shot"
        for one in class_folders.read(root, self._template):
            for image, number in one.pictures:
                id = image.relative_to(root).as_posix()
                yield Sample(id, image, str(number), texts=one.captions, group=one.name)

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """Right where the class is strictly first; ties count against the model."""
        scores = answer.scores or ()
        own = scores[int(sample.target)]
        as_good = sum(score >= own for score in scores)
        return {"n": 1.0, "right": float(as_good == 1), "right5": float(as_good <= 5)}

    def rules(self) -> Mapping[str, Any]:
        """The version; the template is part of the texts asked."""
        return {"version": self.version}
