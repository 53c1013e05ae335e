"""Find, open and identify the images of a benchmark."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from harness import digest, durable
from harness.errors import BrokenDataError, DataError
from harness.rows import can_be_a_file, shown

FORMATS = ("JPEG", "PNG", "WEBP", "PPM", "BMP", "GIF")
"""What benchmarks keep pictures in. PIL's other plug-ins are never tried."""
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".ppm", ".bmp", ".gif"}
"""How the names of such files end."""
LARGEST = 89_478_485
"""The most pixels an image may have: above, PIL warns of a decompression bomb."""

LONGEST = 20_000
"""The most pixels a side may have: LLaVA-1.5 pads a picture to a square of its longer side."""
SLIMMEST = 200
"""How many times longer than the other a side may be: CLIP resizes the shorter one to some hundreds of pixels."""


IN_PAGES = ("JPEG", "PNG", "WEBP", "GIF")
"""The formats that every browser shows."""
WIDE = ("I", "F")
"""How PIL's modes of grey in 16 bits, 32 bits and fractions begin: made RGB, all above 255 is white."""


PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
"""The last chunk of every PNG."""


class ImageError(Exception):
    """An image file that is there but cannot be read."""


def find(name: str, *folders: Path) -> Path:
    """Where the image of this name lies: in the first of these folders that holds it, or else belongs: the first.

    DataError where no file can have this name.
    """
    if not can_be_a_file(name):
        raise BrokenDataError(f"{shown(name)} in {folders[0]} is named as an image; no file can have this name")
    for folder in folders:
        for spelling in _spellings(name):
            if (folder / spelling).is_file():
                return folder / spelling
    return folders[0] / name


def plain_name(name: str) -> str:
    """The picture's own name in whatever folder, COCO's without what stands before the number."""
    return re.sub(r"^COCO_(?:train|val|test)20\d\d_(?=\d{12}\.jpg$)", "", name.rsplit("/", 1)[-1])


def _spellings(name: str) -> tuple[str, ...]:
    """The name, its last part, and COCO's two ways: ``000000000042.jpg``, ``COCO_val2014_000000000042.jpg``."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    given = (name,) if last in (name, "") else (name, last)
    stem = re.fullmatch(r"(?:COCO_(?:train|val)20\d\d_)?(\d{12}\.jpg)", last)
    if not stem:
        return given
    prefixes = ("COCO_val2014_", "COCO_val2017_", "COCO_train2014_", "COCO_train2017_", "")
    return (*given, *(prefix + stem[1] for prefix in prefixes))


def name_of(image: Image.Image) -> str:
    """SHA-256 of a picture's pixels as it was decoded."""
    known = getattr(image, "decoded_as", None)
    return known or digest.of_bytes(f"{image.mode}{image.size}".encode() + image.tobytes())


def named(image: Image.Image, name: str) -> Image.Image:
    """This image, which was made from the picture of that name, known by it."""
    vars(image)["decoded_as"] = name
    return image


def open_image(path: Path) -> Image.Image:
    """The image in RGB, as stored; ImageError where the file is corrupt, too large or of a format not read here.

    EXIF rotation is not applied, because neither LLaVA nor open_clip applies it.
    """
    return _decoded(path, path.name)[0]


def open_bytes(data: bytes, name: str) -> Image.Image:
    """The image that a file of this name holds, as ``open_image`` gives it, from the file's bytes."""
    return _decoded(io.BytesIO(data), name)[0]


def for_a_page(path: Path) -> tuple[str, bytes]:
    """Media type and bytes that show the picture as models see it: the file's own, or a PNG of its pixels.

    A browser turns by EXIF, blends what is transparent, plays what moves, has its own way with CMYK, and knows no PPM.
    ImageError where the picture cannot be read.
    """
    image, kind = _decoded(path, path.name)
    if kind in IN_PAGES and _shown_as_stored(path):
        return Image.MIME[kind], path.read_bytes()
    made = io.BytesIO()
    image.save(made, "PNG")
    return "image/png", made.getvalue()


def _shown_as_stored(path: Path) -> bool:
    """Whether every browser shows the pixels that are stored in this file, which was read before."""
    try:
        with Image.open(path, formats=FORMATS) as stored:
            upright = stored.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1)
            opaque = stored.mode in ("1", "L", "P", "RGB") and "transparency" not in stored.info
            return upright and opaque and getattr(stored, "n_frames", 1) == 1
    except Exception:  # damaged EXIF, or frames that are cut short: each plug-in raises what it likes
        return False


def _decoded(file: Path | BinaryIO, name: str) -> tuple[Image.Image, str]:
    """The image in RGB, and its format."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                raise ImageError(f"{name} has {image.width} x {image.height} pixels; at most {LARGEST:,} are read")
            if max(image.size) > min(LONGEST, SLIMMEST * min(image.size)):
                raise ImageError(
                    f"{name} has {image.width} x {image.height} pixels; a side of at most {LONGEST:,} and "
                    f"{SLIMMEST} times the other is read"
                )
            if image.mode.startswith(WIDE):
                raise ImageError(f"{name} is grey in more than 8 bits, which would be made white; save it in 8")
            return image.convert("RGB"), str(image.format)
    except (FileNotFoundError, ImageError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} cannot be read as an image: damaged, or none of {', '.join(FORMATS)}") from error
    except Exception as error:  # each plug-in raises what it likes over damaged bytes, down to struct.error
        raise ImageError(f"{name} cannot be read as an image: {type(error).__name__}") from error


def crop(path: Path, box: tuple[int, int, int, int], folder: Path) -> Path:
    """A part of an image (left, top, right, bottom in pixels) as a lossless file in this folder, made once.

    It lies in a folder of the whole's digest: a picture that is replaced, or another of its name, has its own part.
    The image itself where it cannot be read, so that asking about it fails, and nothing else does; DataError where the
    part cannot be written.
    """
    name = f"{path.stem}_{'_'.join(map(str, box))}.png"
    try:
        out = folder / image_digest(path)[:16] / name
        if _ends_as_png(out):
            return out
        data = path.read_bytes()
        part = open_bytes(data, path.name).crop(box)
    except (OSError, ImageError):
        return path
    out = folder / digest.of_bytes(data)[:16] / name
    try:
        with durable.draft(out) as written:
            part.save(written, "PNG", compress_level=1)
    except OSError as error:
        raise DataError(f"a part of {path.name} cannot be written to {folder}: {error.strerror or error}") from error
    return out


def _ends_as_png(path: Path) -> bool:
    """Whether a file lies there that was not cut short; what is damaged within, PIL will not read."""
    try:
        with path.open("rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False


def check(paths: set[Path], whose: str, inside: Path | None = None) -> None:
    """DataError in one line where images lie outside this folder, or are missing: how many, and where they belong."""
    if inside is not None and (outside := _outside(paths, inside)):
        raise BrokenDataError(
            f"{whose}: {len(outside)} of {len(paths)} images lie outside {inside}, {outside[0]} the first; "
            "put them inside it, or say --allow-outside"
        )
    missing = sorted(path for path in paths if not os.path.isfile(path))
    if missing:
        raise DataError(
            f"{whose}: {len(missing)} of {len(paths)} images are missing, {missing[0].name} the first; "
            f"they belong in {missing[0].parent}"
        )


def lies_inside(path: Path, folder: Path) -> bool:
    """Whether the file itself, links followed, lies in this folder."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except (ValueError, OSError):  # no file can have this name
        return False


def _outside(paths: set[Path], folder: Path) -> list[Path]:
    return sorted(path for path in paths if not lies_inside(path, folder))


def image_digest(path: Path) -> str:
    """SHA-256 of the image file as it lies there now."""
    return digest.of_unchanged(path)
