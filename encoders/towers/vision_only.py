"""A vision tower that came without words (DINOv2, the image half of a SigLIP): an eye for an LVLM, no dual encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import Module

from encoders.towers.clip_encoder import unit
from encoders.towers.pixels import HubPixels
from harness.compute import devices
from harness.errors import ModelError
from harness.types import Place
from harness.vision_language import identity


class VisionTower:
    """A transformers vision model with the pixels it came with."""

    def __init__(self, spec: str, tower: Module, pixels: HubPixels, place: Place) -> None:
        identity.check_finite(tower, spec)
        self.spec, self.pixels, self.place = spec, pixels, place
        self._digest = identity.tower_digest(tower)
        self.model: Any = tower.to(devices.device(place), devices.dtype(place.dtype, torch.float32)).eval()

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Unit rows [N, D] in float32 of what the tower pools, one for each image."""
        weight = next(self.model.parameters())
        step = devices.batch_size(self.place, gpu=128, cpu=16)
        rows = [
            self.model(self.pixels(images[i : i + step]).to(weight.device, weight.dtype)).pooler_output
            for i in range(0, len(images), step)
        ]
        return unit(rows, self.model.config.hidden_size, self.spec)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Never: ModelError, for it has no text tower."""
        raise ModelError(f"{self.spec} is a vision tower without a text tower; it can only be put into an LVLM")

    def tower(self) -> Module:
        """The vision tower; an LVLM takes a copy of it."""
        return self.model  # type: ignore[no-any-return]

    def image_processor(self) -> Any:
        """transformers' image processor that makes its pixels."""
        return self.pixels.processor

    def digest(self) -> str:
        """SHA-256 of the tower, its values and what computes them."""
        return self._digest

    def describe(self) -> Mapping[str, Any]:
        """Everything but the weights that decides what comes out."""
        config = self.model.config
        return {
            "architecture": f"transformers' {config.model_type}",
            "activation": config.hidden_act,
            "resolution": config.image_size,
            "patch": config.patch_size,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            **self.pixels.describe(),
        }
