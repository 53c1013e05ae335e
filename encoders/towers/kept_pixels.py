"""Picture files as the pixels a tower reads; each file decoded once, its resized pixels kept under its digest."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import fromarray
from torch import Tensor

from encoders.towers import eight_bit
from encoders.towers.eight_bit import EightBit
from encoders.towers.shelf import Shelf
from harness import cached, console, digest
from harness.data import cache_dir
from harness.errors import DataError
from harness.images import ImageError, name_of, named, open_bytes, open_image
from harness.kept_rows import ERRORS
from harness.prefetch import prefetched

if TYPE_CHECKING:
    from PIL.Image import Image

    from encoders.towers.pixels import HubPixels

GIGABYTES = "OHD_BENCH_PIXELS"
"""How many gigabytes of pixels are kept at most, over all ways of preparing them; 0 keeps none."""
NAME = 32
"""Bytes before the pixels: the digest of the picture as it was decoded, which its features are kept under."""


class KeptPixels:
    """The pixels of files. A file is known by its bytes as they are read now, so a changed one is decoded anew.

    What is kept is what resizing and cropping gave, in eight bits; the rest is the model's own processor's for every
    level, so the pixels are those of ``pixels(images)`` to the bit. ``decoded`` counts the files that were decoded.
    """

    def __init__(self, pixels: HubPixels, folder: Path | None = None) -> None:
        self.pixels = pixels
        self.decoded = 0
        self._count = threading.Lock()
        self._told = False
        self._shelf = self._opened(folder or cache_dir() / "pixels")

    def _opened(self, folder: Path) -> Shelf | None:
        side, most = _side(self.pixels.processor), cached.most_bytes(GIGABYTES)
        if side is None or not most:
            return None
        self.shape = (3, *side)
        name = digest.of_json([_settings(self.pixels.processor), "each after its picture's name"])[:32]
        try:
            return Shelf(folder / name, NAME + int(np.prod(self.shape)), most)
        except ERRORS as error:
            self._tell(error)
            return None

    def __contains__(self, of: object) -> bool:
        """Whether the file of this SHA-256 was decoded before."""
        return self._shelf is not None and str(of) in self._shelf

    def __call__(self, paths: Iterable[Path], threads: int = 0) -> Tensor:
        """Pixels [N, 3, H, W], one for each file; DataError where one cannot be read."""
        return self.moved(paths, threads).to("cpu")

    def moved(self, paths: Iterable[Path], threads: int = 0) -> Tensor | EightBit:
        """The same, to be moved ``to`` where the tower is; until then in eight bits, where they are kept so."""
        found = list(prefetched(self._resized, paths, threads))
        if self._shelf is None:
            return torch.as_tensor(self.pixels(found))
        return EightBit(torch.from_numpy(np.stack(found)), self._table)

    @functools.cached_property
    def _table(self) -> Tensor:
        return eight_bit.table(self.pixels.processor)

    @functools.cached_property
    def _settles(self) -> bool:
        """Whether what was resized and cropped stays as it is when that is done to it again, as ``encode_images`` does.

        It does where the size of the crop is the size resized to, and not where a margin is cut off or put around.
        """
        if self._shelf is None:
            return False
        noise = np.random.default_rng(0).integers(0, 256, self.shape, np.uint8)
        return bool((self._prepared(_image(noise)) == noise).all())

    def look(self, path: Path) -> Image:
        """The picture resized and cropped, known by the name of the whole; ImageError where the file holds none.

        It is the picture itself where nothing is kept, or where to resize and crop once more would change it.
        """
        if not self._settles:
            return open_image(path)
        whole, seen = self._seen(path)
        if not isinstance(seen, np.ndarray):
            return seen  # type: ignore[no-any-return]
        return named(_image(seen), whole)

    def _resized(self, path: Path) -> Any:
        try:
            return self._seen(path)[1]
        except ImageError as error:
            raise DataError(str(error)) from error

    def _seen(self, path: Path) -> tuple[str, Any]:
        """The name of the picture, and its pixels resized and cropped, in eight bits; itself where nothing is kept."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ImageError(f"{path.name} cannot be read: {error.strerror}") from error
        name = digest.of_bytes(data)
        kept = self._found(name)
        if kept is not None:
            return kept[:NAME].tobytes().hex(), kept[NAME:].reshape(self.shape)
        image = open_bytes(data, path.name)
        with self._count:
            self.decoded += 1
        if self._shelf is None:
            return "", image
        piece = self._prepared(image)
        whole = name_of(image)
        try:
            self._shelf.put(name, np.concatenate([np.frombuffer(bytes.fromhex(whole), np.uint8), piece.reshape(-1)]))
        except ERRORS as error:  # what cannot be kept is decoded again
            self._tell(error)
        return whole, piece

    def _prepared(self, image: Image) -> NDArray[np.uint8]:
        """The picture resized and cropped [3, H, W], in eight bits."""
        raw = self.pixels.processor(images=[image], return_tensors="np", do_rescale=False, do_normalize=False)
        return np.asarray(raw["pixel_values"][0])

    def _tell(self, error: Exception) -> None:
        """Say once why there is nothing to be had of the next epoch."""
        if not self._told:
            self._told = True
            console.say(f"pixels are not kept: {error}")

    def _found(self, name: str) -> NDArray[np.uint8] | None:
        try:
            return self._shelf.get(name) if self._shelf else None
        except ERRORS:  # the cache was cleared meanwhile
            return None


def _image(piece: NDArray[np.uint8]) -> Image:
    return fromarray(np.ascontiguousarray(np.moveaxis(piece, 0, -1)))


def _settings(processor: Any) -> dict[str, Any]:
    """All that decides the pixels, and whose code and which PIL made them."""
    import PIL
    import transformers

    told = {key: value for key, value in processor.to_dict().items() if not key.startswith("_")}
    return {"processor": told, "PIL": PIL.__version__, "transformers": transformers.__version__}


def _side(processor: Any) -> Sequence[int] | None:
    """Height and width that this processor gives every picture; None where it is none whose steps are known here."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    if type(processor) is not CLIPImageProcessorPil or not (processor.do_resize and processor.do_rescale):
        return None
    size = processor.crop_size if processor.do_center_crop else processor.size
    told = dict(size.items()) if hasattr(size, "items") else vars(size)
    sides = [told.get(name) for name in ("height", "width")]
    return [int(side) for side in sides if side] if all(sides) else None
