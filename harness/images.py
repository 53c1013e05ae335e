"""Find, open and identify the images of a benchmark."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from harness import digest
from harness.errors import DataError


class ImageError(Exception):
    """An image file that is there but cannot be read."""


def find(name: str, *folders: Path) -> Path:
    """Where the image of this name lies: in the first of these folders that holds it, or else belongs: the first."""
    for folder in folders:
        for spelling in _spellings(name):
            if (folder / spelling).is_file():
                return folder / spelling
    return folders[0] / name


def _spellings(name: str) -> tuple[str, ...]:
    """COCO's images are called ``000000000042.jpg`` or ``COCO_val2014_000000000042.jpg``; data files mix both."""
    stem = re.fullmatch(r"(?:COCO_(?:train|val)20\d\d_)?(\d{12}\.jpg)", name)
    if not stem:
        return (name,)
    prefixes = ("COCO_val2014_", "COCO_val2017_", "COCO_train2014_", "COCO_train2017_", "")
    return (name, *(prefix + stem[1] for prefix in prefixes))


def open_image(path: Path) -> Image.Image:
    """The image in RGB, as stored; ImageError where the file is corrupt.

    EXIF rotation is not applied, because neither LLaVA nor open_clip applies it.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path.name} cannot be read as an image: {type(error).__name__}") from error


def check(paths: set[Path], whose: str) -> None:
    """DataError in one line where images are missing: how many, and where they belong."""
    missing = sorted(path for path in paths if not path.is_file())
    if missing:
        raise DataError(
            f"{whose}: {len(missing)} of {len(paths)} images are missing, {missing[0].name} the first; "
            f"they belong in {missing[0].parent}"
        )


@lru_cache(maxsize=200_000)
def image_digest(path: Path) -> str:
    """SHA-256 of the image file."""
    return digest.of_file(path)
