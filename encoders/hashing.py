"""``hashing``: an encoder without weights, for tests and for trying the commands out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import digest, registry
from harness.errors import ModelError
from harness.types import Place, Spec

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

WIDTH = 64


@registry.encoder("hashing")
def hashing(spec: Spec, place: Place) -> Hashing:
    """A weightless encoder whose rows are hashes of the pixels and of the words; it knows nothing."""
    registry.no_more_options(spec)
    return Hashing(spec.text)


class Hashing:
    """Unit rows that depend on every pixel and every word, and on nothing else."""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Unit rows [N, D] in float32, one for each image."""
        return _unit([_signs(f"{image.size}".encode() + image.convert("RGB").tobytes()) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit rows [N, D]: the sum of the text's hashed words, so that like texts lie near."""
        rows = []
        for text in texts:
            words = [_signs(word.encode()) for word in text.lower().split()] or [_signs(b"")]
            rows.append([sum(column) for column in zip(*words, strict=True)])
        return _unit(rows)

    def tower(self) -> Module:
        """ModelError: there are no weights to carry."""
        raise ModelError("hashing has no vision tower for an LVLM to carry")

    def digest(self) -> str:
        """The digest of its rule."""
        return digest.of_json(dict(self.describe()))

    def describe(self) -> Mapping[str, Any]:
        """Its rule, by name."""
        return {"rule": "signs of sha256", "width": WIDTH}


def _signs(data: bytes) -> list[float]:
    bits = int.from_bytes(hashlib.sha256(data).digest()[: WIDTH // 8], "big")
    return [1.0 if bits >> i & 1 else -1.0 for i in range(WIDTH)]


def _unit(rows: list[list[float]]) -> Tensor:
    import torch

    # An offset keeps a row whose words cancel out from having no direction.
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32).reshape(-1, WIDTH) + 1e-3, dim=-1)
