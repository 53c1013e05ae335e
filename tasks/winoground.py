"""Winoground: two pictures and two captions of the same words, to be matched both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from harness.images import PICTURES
from harness.metrics import Metric, ratio
from harness.registry import task
from harness.rows import distinct, rows
from harness.types import Answer, Counts, Sample, Task
from harness.units import together


@task("winoground")
class Winoground(Task):
    """400 pairs of pairs (arXiv 2204.03162): the text, the image and the group score, as section 3 defines them.

    Text: each picture is nearer to its own caption. Image: each caption is nearer to its own picture. Group: both.
    Chance is 25, 25 and 16.7. The set is gated; ``winoground/examples.jsonl`` is the file of its authors.
    """

    mode, headline = "rank", "group"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "group": ratio("right_group", "n_group"),
        "text": ratio("right_text", "n_text"),
        "image": ratio("right_image", "n_image"),
    }
    summary = (("", "text"), ("", "image"), ("", "group"))

    def samples(self) -> Iterator[Sample]:
        """Each picture with both captions."""
        path = self.data / "winoground" / "examples.jsonl"
        every = rows(path)
        distinct(every, "id")
        for row in every:
            texts = (row.text("caption_0"), row.text("caption_1"))
            if texts[0].strip() == texts[1].strip() or row.given("image_0") == row.given("image_1"):
                raise row.wrong("both captions, or both pictures, are the same; right would be two of each")
            for side in (0, 1):
                image = self._image(row.file_name(f"image_{side}"))
                yield Sample(f"{row.id('id')}/{side}", image, str(side), texts=texts)

    def _image(self, name: str) -> Path:
        folder = self.data / "winoground" / "images"
        candidates = [folder / f"{name}{suffix}" for suffix in ("", *sorted(PICTURES))]
        return next((path for path in candidates if path.is_file()), candidates[2])

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """This picture's side of the three scores: its own caption first, its part of each caption's difference."""
        pair, _, side = sample.id.rpartition("/")
        scores = answer.scores or ()
        own, other = scores[int(side)], scores[1 - int(side)]
        text = {f"text{side}": float(own > other)}
        image = {f"image{side}": own, f"image{1 - int(side)}": -other}
        return {
            "n": 1.0,
            **together("text", pair, of=2, **text),
            **together("image", pair, of=2, **image),
            **together("group", pair, of=2, **text, **image),
        }
