"""Images as LLaVA's tower reads them: padded to a square with the mean colour, or cropped at the centre."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from harness.errors import ModelError, UsageError

Pixels = Callable[[Image.Image], Tensor]


def require_read(pixels: Tensor, size: int, whose: str) -> None:
    """ModelError where pixels [3, H, W] of an ordinary image are none that a tower of this resolution reads."""
    if tuple(pixels.shape) != (3, size, size):
        raise ModelError(
            f"{whose}: its image processor makes {_by(pixels.shape)} of an image, its tower reads 3x{size}x{size}"
        )
    if not pixels.isfinite().all():
        raise ModelError(
            f"{whose}: its image processor makes numbers that are not finite; look at image_mean and image_std"
        )


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def ordinary() -> Image.Image:
    """An image on which a processor can be tried."""
    return Image.new("RGB", (64, 48), (90, 120, 150))


def expand_to_square(image: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """The image in the middle of a square of this colour, as LLaVA's own code has it."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def mean_colour(processor: Any) -> tuple[int, ...]:
    """The colour that the processor's normalisation turns into (nearly) nothing."""
    # int, not round: LLaVA's code truncates, and 104 is not 105.
    return tuple(int(channel * 255) for channel in processor.image_mean)


def as_read(processor: Any, how: str) -> Callable[[Image.Image], Image.Image]:
    """What turns an image into the one that a tower reads, in 8 bits: ``pipeline`` makes the same pixels of both.

    A server that crops where LLaVA pads, or resizes with another library, has nothing left to do on it.
    """
    colour = mean_colour(processor)

    def read(image: Image.Image) -> Image.Image:
        square = expand_to_square(image, colour) if how == "pad" else image
        found = processor(images=[square], do_rescale=False, do_normalize=False, return_tensors="np")
        return Image.fromarray(found["pixel_values"][0].transpose(1, 2, 0).astype(np.uint8))

    return read


def pipeline(processor: Any, how: str) -> Pixels:
    """What turns an image into pixels [3, H, W] by this image processor, ``pad`` or ``crop``."""
    if how not in ("pad", "crop"):
        raise UsageError(f"?pad={how}: there is pad (as LLaVA was trained) and crop (the processor's own default)")
    colour = mean_colour(processor)

    def pixels(image: Image.Image) -> Tensor:
        square = expand_to_square(image, colour) if how == "pad" else image
        tensor: Tensor = processor(images=[square], return_tensors="pt")["pixel_values"][0]
        return tensor

    return pixels
