"""Training rows: images with their true and hallucinated captions, and which rows a step takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from harness.captions import Captions, annotated, labelled
from harness.errors import DataError, UsageError
from harness.images import check, find
from harness.rows import Row, rows

if TYPE_CHECKING:
    pass

FOLDERS = ("coco", "train2014", "train2017", "val2014", "val2017", "flickr30k", "flickr", "nocaps", "images")


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its captions, the true one first; masked captions and copies of the true one are left out."""

    image: Path
    captions: tuple[str, ...]


def pairs(data: Path, split: str, inside: Path | None = None) -> list[Pair]:
    """The OHD-Caps rows of ``data/ohd_caps/SPLIT``: its label files, or where it has none its annotations by kind.

    DataError where a row is none, or its image is missing or lies outside the folder ``inside``.
    """
    folder = data / "ohd_caps" / split
    labels = sorted({*folder.glob("*_data.json*"), *folder.glob("*_label.json*")})
    annotations = sorted(folder.glob("*_annotations.json*"))
    if not labels and not annotations:
        raise DataError(f"{folder} holds no OHD-Caps file; {split}_data.json or coco_annotations.json belongs there")
    read, files = (labelled, labels) if labels else (_annotated, annotations)
    found = [_pair(data, read(row)) for path in files for row in rows(path)]
    check({pair.image for pair in found}, f"ohd_caps/{split}", inside)
    return found


def replayed(data: Path, inside: Path | None = None) -> list[Pair]:
    """The rows of ``data/web/captions.json``: images with an ordinary caption."""
    path = data / "web" / "captions.json"
    found = [Pair(path.parent / "images" / row.file_name("image"), (row.text("caption"),)) for row in rows(path)]
    check({pair.image for pair in found}, "web", inside)
    return found


def _annotated(row: Row) -> Captions:
    return annotated(row)[0]


def _pair(data: Path, found: Captions) -> Pair:
    return Pair(_image(data, found.image), (found.true_text, *found.false))


def _image(data: Path, name: str) -> Path:
    root = data / "ohd_caps" / "images"
    return find(name, root, *(place / folder for place in (root, data) for folder in FOLDERS))


def chosen(found: Sequence[Pair], fraction: float, most: int, seed: int) -> list[Pair]:
    """A seeded part of the rows; a smaller part is contained in every larger one of the same seed."""
    count = max(1, round(len(found) * fraction))
    count = min(count, most) if most else count
    order = Random(f"subset/{seed}").sample(range(len(found)), len(found))
    return [found[n] for n in sorted(order[:count])]


def shuffled(found: Sequence[Pair], seed: int) -> list[Pair]:
    """The same captions, each row with the image of another row."""
    order = Random(f"shuffle/{seed}").sample(range(len(found)), len(found))
    images = {one: found[other].image for one, other in zip(order, order[1:] + order[:1], strict=True)}
    return [Pair(images[n], pair.captions) for n, pair in enumerate(found)]


@dataclass(frozen=True)
class Order:
    """Which rows each batch takes: a function of seed and number alone, so that any batch can be gone back to."""

    count: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.count < self.batch:
            raise UsageError(f"{self.count} rows make no batch of {self.batch}")

    @property
    def per_epoch(self) -> int:
        """Whole batches an epoch; an image is never contrasted with itself."""
        return self.count // self.batch

    def __getitem__(self, number: int) -> list[int]:
        """The rows of batch ``number``."""
        epoch, place = divmod(number, self.per_epoch)
        order = Random(f"order/{self.seed}/{epoch}").sample(range(self.count), self.count)
        return order[place * self.batch : (place + 1) * self.batch]

    def __iter__(self) -> Iterator[list[int]]:
        """Batch after batch, without end."""
        number = 0
        while True:
            yield self[number]
            number += 1
