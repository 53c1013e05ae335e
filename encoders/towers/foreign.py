"""Dual encoders that are no standard CLIP: SigLIP, EVA-CLIP, ConvNeXt … computed by the library they came from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import Module

from encoders.towers import timm_vit
from encoders.towers.clip_encoder import unit
from encoders.towers.pixels import of_open_clip
from harness.compute import devices
from harness.errors import ModelError
from harness.types import Place
from harness.vision_language import identity, unusual
from harness.vision_language.fits import LEADING

Features = Callable[[Any], Tensor]


class ForeignEncoder:
    """Image and text features as the model's own library computes them; its tower fits no LLaVA."""

    def __init__(
        self,
        spec: str,
        model: Module,
        place: Place,
        why: str,
        about: Mapping[str, Any],
        computes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        identity.check_finite(model, spec)
        self.spec, self.place, self.why, self.about = spec, place, why, dict(about)
        self.origin: dict[str, Any] = {}
        weights = identity.values({n: t for n, t in model.state_dict().items() if "position_ids" not in n})
        self._digest = unusual.folded(weights, computes)
        self.model = model.to(devices.device(place), devices.dtype(place.dtype, torch.float32)).eval()

    def features_of_images(self, images: Sequence[Image]) -> Tensor:
        """Features of one batch of images."""
        raise NotImplementedError

    def features_of_texts(self, texts: Sequence[str]) -> Tensor:
        """Features of one batch of texts."""
        raise NotImplementedError

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Unit rows [N, D] in float32, one for each image."""
        step = devices.batch_size(self.place, gpu=128, cpu=16)
        return unit([self.features_of_images(images[i : i + step]) for i in range(0, len(images), step)], 0, self.spec)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit rows [N, D] in float32, one for each text."""
        step = devices.batch_size(self.place, gpu=512, cpu=64)
        return unit([self.features_of_texts(texts[i : i + step]) for i in range(0, len(texts), step)], 0, self.spec)

    def tower(self) -> Module:
        """Never a tower: ModelError that says why."""
        raise ModelError(
            f"{self.spec}: its tower is no CLIP ViT ({self.why}); LLaVA's tower is one, so it does not fit"
        )

    def digest(self) -> str:
        """SHA-256 over the tensors of the whole model, by value, under its library's names, and what computes them."""
        return self._digest

    def describe(self) -> Mapping[str, Any]:
        """Everything but the weights that decides what comes out."""
        return {"architecture": self.why, **self.about, **self.origin}


class OpenClipForeign(ForeignEncoder):
    """An open_clip model, computed by open_clip; its tower, where it is a ViT of timm that transformers has as well."""

    transform: Callable[[Image], Tensor]
    tokenizer: Callable[[list[str]], Tensor]
    pixels: Mapping[str, Any]
    """open_clip's preprocessing configuration, with the size."""

    def tower(self) -> Module:
        """The vision tower in transformers' form; ModelError where LLaVA's class carries none of its kind."""
        return self._carried or super().tower()

    @functools.cached_property
    def _carried(self) -> Module | None:
        trunk = getattr(getattr(self.model, "visual", None), "trunk", None)
        return None if trunk is None else timm_vit.carried(trunk)

    def image_processor(self) -> Any:
        """transformers' image processor that makes its tower's pixels."""
        return of_open_clip(self.pixels).processor

    def features_of_images(self, images: Sequence[Image]) -> Tensor:
        """Features of one batch of images."""
        weight = next(self.model.parameters())
        pixels = torch.stack([self.transform(image) for image in images]).to(weight.device, weight.dtype)
        return self.model.encode_image(pixels)  # type: ignore[operator, no-any-return]

    def features_of_texts(self, texts: Sequence[str]) -> Tensor:
        """Features of one batch of texts, padded as the model was trained."""
        ids = self.tokenizer(list(texts)).to(next(self.model.parameters()).device)
        return self.model.encode_text(ids)  # type: ignore[operator, no-any-return]


class HubForeign(ForeignEncoder):
    """A transformers dual encoder (SigLIP, SigLIP2, CLIP relatives), computed by transformers."""

    processor: Any

    def tower(self) -> Module:
        """The vision tower, where transformers' LLaVA can carry one of its kind; ModelError where not."""
        part = getattr(self.model, "vision_model", None)
        if getattr(getattr(part, "config", None), "model_type", "") in LEADING:
            return part  # type: ignore[return-value]
        return super().tower()

    def image_processor(self) -> Any:
        """transformers' image processor that makes its tower's pixels."""
        return getattr(self.processor, "image_processor", self.processor)

    def features_of_images(self, images: Sequence[Image]) -> Tensor:
        """Features of one batch of images."""
        weight = next(self.model.parameters())
        inputs = self.processor(images=list(images), return_tensors="pt").to(weight.device, weight.dtype)
        return _pooled(self.model.get_image_features(**inputs))  # type: ignore[operator]

    def features_of_texts(self, texts: Sequence[str]) -> Tensor:
        """Features of one batch of texts, padded to the whole context as SigLIP was trained."""
        length = self.model.config.text_config.max_position_embeddings  # type: ignore[union-attr]
        inputs = self.processor(
            text=list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        return _pooled(self.model.get_text_features(**inputs.to(next(self.model.parameters()).device)))  # type: ignore[operator]


def _pooled(out: Any) -> Tensor:
    return out if isinstance(out, Tensor) else out.pooler_output
