"""Controls: the same questions with the picture exchanged, blanked or taken away, to see what the picture was worth."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageStat

from harness.engine import See
from harness.errors import UsageError
from harness.images import open_image
from harness.types import Sample

NAMES = ("none", "shuffle-image", "blank-image", "text-only")


def samples(every: Sequence[Sample], control: str, seed: int) -> list[Sample]:
    """The samples as this control asks them: ``shuffle-image`` asks each image's questions of another image.

    Every image gets another one's questions (a seeded derangement by one cycle), so that no question keeps its own.
    """
    if control not in NAMES:
        raise UsageError(f"no control is called '{control}'; there is {', '.join(NAMES)}")
    if control != "shuffle-image":
        return list(every)
    order = sorted({sample.image for sample in every if sample.image})
    if len(order) < 2:
        raise UsageError("--control shuffle-image needs at least two images")
    random.Random(f"{seed}/shuffle-image").shuffle(order)
    other = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [replace(sample, image=other[sample.image]) if sample.image else sample for sample in every]


def view(control: str) -> See:
    """What a model is shown of an image file under this control; None is shown where there is only text."""
    return {"blank-image": _blank, "text-only": _nothing}.get(control, open_image)


def _blank(path: Path) -> Image.Image:
    """An image of the same size in the mean colour of its pixels."""
    image = open_image(path)
    red, green, blue = (round(value) for value in ImageStat.Stat(image).mean)
    return Image.new("RGB", image.size, (red, green, blue))


def _nothing(path: Path) -> None:
    return None
