"""Image features kept between runs, under the digests of the tower, of the preprocessing and of the batch's images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import digest
from harness.data import cache_dir
from harness.images import name_of
from harness.kept_rows import KeptRows

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
    return ImageFeatures(encoder.digest(), {**encoder.describe(), **where})


class ImageFeatures:
    """Unit rows of images, in one file for each tower and preprocessing; safe for several processes.

    A row's last digits hang on the images it was encoded with, so it is kept for those and for no others: what comes
    out of here is what encoding the same images again would give. A row that is not as it was kept is encoded again.
    """

    def __init__(self, tower: str, preprocessing: Mapping[str, Any], folder: Path | None = None) -> None:
        # Rows without a seal, some of pictures that had been resized twice, lie in files of other names.
        name = digest.of_json([tower, dict(preprocessing), "sealed"])[:32]
        self._kept = KeptRows((folder or cache_dir() / "features") / f"{name}.sqlite", "image features")

    def known(self, images: Iterable[str]) -> dict[str, np.ndarray]:
        """The rows kept under these names."""
        return {image: np.frombuffer(row, dtype=np.float32) for image, row in self._kept.known(images).items()}

    def keep(self, rows: Mapping[str, np.ndarray]) -> None:
        """Keep these rows."""
        self._kept.keep({one: np.ascontiguousarray(row, dtype=np.float32).tobytes() for one, row in rows.items()})

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
