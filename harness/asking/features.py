"""Image features kept between runs, under the digests of the tower, of the preprocessing and of the batch's images."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import console, digest
from harness.data import cache_dir
from harness.images import name_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from harness.types import Encoder, Place


Encode = Callable[[Sequence["Image"]], "Tensor"]


def features_of(encoder: Encoder, place: Place) -> ImageFeatures | None:
    """Where this encoder's image features are kept; None for a fake, which has no tower worth sparing."""
    if getattr(encoder, "tower_digest", None) is None:
        return None
    from harness.compute import devices

    # How towers are computed decides the last digits: rows that were kept before the last one was trimmed are not read.
    where = {"device": devices.device(place).type, "dtype": place.dtype, "last_layer": "where it is read"}
    try:
        return ImageFeatures(encoder.digest(), {**encoder.describe(), **where})
    except (OSError, sqlite3.Error) as error:
        console.say(f"image features are not kept: {error}")
        return None


class ImageFeatures:
    """Unit rows of images, in one file for each tower and preprocessing; safe for several processes.

    A row's last digits hang on the images it was encoded with, so it is kept for those and for no others: what comes
    out of here is what encoding the same images again would give.
    """

    def __init__(self, tower: str, preprocessing: Mapping[str, Any], folder: Path | None = None) -> None:
        folder = folder or cache_dir() / "features"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{digest.of_json([tower, dict(preprocessing)])[:32]}.sqlite"
        with self._open() as file:
            file.execute("create table if not exists features (image text primary key, row blob not null)")
            file.commit()

    def _open(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path, timeout=60))

    def known(self, images: Iterable[str]) -> dict[str, np.ndarray]:
        """The rows kept under these names."""
        found = {}
        with self._open() as file:
            for image in dict.fromkeys(images):
                kept = file.execute("select row from features where image = ?", (image,)).fetchone()
                if kept:
                    found[image] = np.frombuffer(kept[0], dtype=np.float32)
        return found

    def keep(self, rows: Mapping[str, np.ndarray]) -> None:
        """Keep these rows; what is kept already stays as it is."""
        values = [(image, np.ascontiguousarray(row, dtype=np.float32).tobytes()) for image, row in rows.items()]
        with self._open() as file:
            file.executemany("insert or ignore into features values (?, ?)", values)
            file.commit()

    def of(self, images: Sequence[Image], encode: Encode) -> Tensor:
        """A row [D] for every image; images that were encoded together before are not encoded again."""
        import torch

        digests = [name_of(image) for image in images]
        found = self.rows(dict(zip(digests, images, strict=True)), encode)
        return torch.from_numpy(np.stack([found[one] for one in digests]))

    def rows(self, images: Mapping[str, Image], encode: Encode) -> dict[str, np.ndarray]:
        """A row for every image digest, from encoding them all together, now or before."""
        names = sorted(images)  # so that the same images are the same batch, in whatever order they are asked for
        batch = digest.of_json(names)[:16]
        kept = self.known(f"{image}/{batch}" for image in names)
        if len(kept) < len(names):
            rows = encode([images[image] for image in names]).float().cpu().numpy()
            kept = {f"{image}/{batch}": row for image, row in zip(names, rows, strict=True)}
            self.keep(kept)
        return {image: kept[f"{image}/{batch}"] for image in names}
