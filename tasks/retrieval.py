"""Retrieval: does a caption find its picture among all pictures, and a picture its captions among all captions?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from harness.captioned import SOURCES, captioned
from harness.errors import UsageError
from harness.metrics import Metric, ratio
from harness.registry import task
from harness.types import Answer, Counts, Sample, Task

PLACES = (1, 5, 10)


@task("retrieval")
class Retrieval(Task):
    """Image to text and text to image in one gallery: the share found at the first place, and among the first 5 and 10.

    ``source`` is coco (Karpathy's split, 5,000 test pictures), flickr30k (1,000), or a file of rows with ``image`` and
    ``caption`` (a text or a list), its pictures beside it; ``split`` is test or val. An image is found where one of its
    captions is; what scores the same counts as before it.
    """

    mode, headline = "retrieve", "R@1"
    metrics: ClassVar[Mapping[str, Metric]] = {f"R@{k}": ratio(f"found{k}", "n") for k in PLACES}
    summary = (("image-to-text", "R@1"), ("text-to-image", "R@1"), ("text-to-image", "R@5"))

    def __init__(self, data: Path, source: str = "", split: str = "test") -> None:
        super().__init__(data)
        if source and source not in SOURCES and not Path(source).suffix:
            raise UsageError(f"retrieval has no source '{source}'; there is {', '.join(SOURCES)}, and any FILE.json")
        if split not in ("test", "val"):
            raise UsageError(f"retrieval has the splits test and val, not '{split}'")
        self.source, self.split = source, split

    def samples(self) -> Iterator[Sample]:
        """For each picture one question from it to its captions, and one from each caption to it."""
        for one in captioned(self.data, self.source, self.split):
            captions = tuple(dict.fromkeys(text.strip() for text in one.captions if text.strip()))
            yield Sample(one.name, one.image, "", texts=captions, group="image-to-text")
            for n, caption in enumerate(captions):
                yield Sample(f"{one.name}/{n}", one.image, "", texts=(caption,), group="text-to-image")

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """Found among the first k where the best place of any of its captions (or of its picture) is k or before."""
        best = min(answer.scores or (float("inf"),))
        return {"n": 1.0, **{f"found{k}": float(best <= k) for k in PLACES}}
