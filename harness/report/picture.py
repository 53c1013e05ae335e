"""A picture where a person looks: in a terminal's own letters, or as a small file beside its path."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

WIDEST = 64
"""Columns; a letter is as high as two pixels."""
SIDE = 320


def blocks(image: Image.Image, columns: int) -> Text:
    """The picture as half blocks, two pixels a letter, at most so many columns wide."""
    wide = max(2, min(columns, WIDEST))
    high = max(2, round(wide * image.height / image.width / 2) * 2)
    pixels = image.convert("RGB").resize((wide, high))
    shown = Text()
    for y in range(0, high, 2):
        for x in range(wide):
            over, under = (Color.from_rgb(*pixels.getpixel((x, row))) for row in (y, y + 1))  # type: ignore[misc]
            shown.append("▀", Style(color=over, bgcolor=under))
        shown.append("\n")
    return shown


def thumbnail(image: Image.Image, path: Path) -> Path:
    """The picture, small, as a PNG file at this path."""
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.save(path)
    return path
