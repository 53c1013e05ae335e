"""A small drawn world in the official formats of every task's benchmark: everything runs without a download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.micro.folder import Sizes

VERSION = "6"
"""Changes whenever one byte or pixel of the world does: the key of its cache."""


def write(folder: Path, seed: int = 0, sizes: Sizes | None = None) -> None:
    """The whole data folder of the micro world, the same to the byte for the same seed and sizes."""
    from harness.micro.folder import Sizes, write_folder

    write_folder(folder, seed, sizes or Sizes())
