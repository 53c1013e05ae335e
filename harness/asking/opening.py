"""Open each image once, ahead of the model that is asked about it; one that cannot be opened is a failure, no end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from harness.asking.ask import Ask
from harness.images import ImageError
from harness.prefetch import prefetched
from harness.types import Asked, Failure, Reply, Sample

See = Callable[[Path], Image.Image | None]
"""What a model is shown of an image file."""


def replies(ask: Ask, dealt: Sequence[tuple[int, Sequence[Sample]]], see: See) -> Iterator[Reply]:
    """A reply to every sample, as they come. ``dealt`` is (number of its batch, samples of one image)."""
    broken: list[Reply] = []
    for reply in ask(_opened(dealt, see, broken)):
        yield reply
        while broken:
            yield broken.pop()
    while broken:
        yield broken.pop()


def _opened(dealt: Sequence[tuple[int, Sequence[Sample]]], see: See, broken: list[Reply]) -> Iterator[Asked]:
    """Each image opened once with its samples; what cannot be opened becomes failures instead."""

    def opened(path: Path | None) -> Image.Image | Exception | None:
        try:
            return see(path) if path else None
        except (ImageError, FileNotFoundError) as error:
            return error

    for (batch, samples), image in zip(
        dealt, prefetched(opened, (samples[0].image for _, samples in dealt)), strict=True
    ):
        if isinstance(image, Exception):
            broken.extend((sample, Failure(str(image))) for sample in samples)
        else:
            yield Asked(image, tuple(samples), batch)
