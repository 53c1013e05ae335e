"""Retrieval: does a caption find its picture among all pictures, and a picture its captions among all captions?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from harness.errors import DataError, UsageError
from harness.images import find
from harness.metrics import Metric, ratio
from harness.registry import task
from harness.rows import Row, rows
from harness.types import Answer, Counts, Sample, Task

PLACES = (1, 5, 10)
SOURCES = {
    # Karpathy's splits, as he published them and as BLIP's repository hands them on
    "coco": ("coco", ("dataset_coco.json", "coco_karpathy_{split}.json"), ("val2014", "train2014", "images", "")),
    "flickr30k": (
        "flickr30k",
        ("dataset_flickr30k.json", "flickr30k_{split}.json"),
        ("flickr30k-images", "images", ""),
    ),
    "micro": ("retrieval", ("captions.json",), ("images", "")),
}


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
        for path, image, captions in self._pictures():
            name = f"{path.stem}/{image.name}"
            yield Sample(f"{name}", image, "", texts=captions, group="image-to-text")
            for n, caption in enumerate(captions):
                yield Sample(f"{name}/{n}", image, "", texts=(caption,), group="text-to-image")

    def _pictures(self) -> Iterator[tuple[Path, Path, tuple[str, ...]]]:
        path, folders = self._place()
        seen: dict[Path, Row] = {}
        for row in _rows(path):
            if row.has("split") and row.text("split") != self.split:
                continue
            image = find(row.file_name("filename" if row.has("filename") else "image"), *folders)
            if image in seen:
                raise row.wrong(f"{image.name} stands on line {seen[image].line} already")
            seen[image] = row
            yield path, image, _captions(row)

    def _place(self) -> tuple[Path, list[Path]]:
        """The file of captions, and the folders its pictures may lie in."""
        if self.source and self.source not in SOURCES:
            path = Path(os.path.expanduser(self.source))
            return path, [path.parent / name for name in ("images", "")]
        for source in [self.source] if self.source else SOURCES:
            root, files, images = SOURCES[source]
            for name in files:
                path = self.data / root / name.format(split=self.split)
                if path.is_file():
                    folders = [at / image for at in (self.data / root, self.data) for image in images]
                    return path, [*folders, self.data / "images"]
        first = SOURCES[self.source or "coco"]
        raise DataError(f"{self.data / first[0]} holds no captions of pictures ({', '.join(first[1])})")

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """Found among the first k where the best place of any of its captions (or of its picture) is k or before."""
        best = min(answer.scores or (float("inf"),))
        return {"n": 1.0, **{f"found{k}": float(best <= k) for k in PLACES}}


def _rows(path: Path) -> list[Row]:
    """The rows of a file of captions: a list, lines, or Karpathy's object with ``images``."""
    found = rows(path)
    if len(found) == 1 and isinstance(listed := found[0].fields.get("images"), list):
        return [Row(path, n, row if isinstance(row, dict) else {}) for n, row in enumerate(listed, 1)]
    return found


def _captions(row: Row) -> tuple[str, ...]:
    if row.has("sentences"):
        said = [one.get("raw") if isinstance(one, dict) else None for one in row.given("sentences")]
        inner = Row(row.path, row.line, {"sentences": said})
        found = inner.texts("sentences")
    else:
        given = row.given("caption")
        found = row.texts("caption") if isinstance(given, list) else [row.text("caption")]
    distinct = tuple(dict.fromkeys(text.strip() for text in found if text.strip()))
    if not distinct:
        raise row.wrong("has no caption; right would be a text or a list of texts")
    return distinct
