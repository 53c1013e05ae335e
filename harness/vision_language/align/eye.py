"""Put any tower that transformers' LLaVA can carry before a language model: layer, class token, pixels, new projector.

What LLaVA's class can carry: a tower whose hidden states are its patch tokens, with at most one token before them
(``LlavaModel.get_image_features`` of huggingface/transformers 5.17.0 drops the first token or none).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import Module

from harness.errors import ModelError
from harness.vision_language import fits, swap
from harness.vision_language.fits import LEADING

FIRST_TOKENS = {kind: LEADING[kind] for kind in ("clip_vision_model", "siglip_vision_model", "dinov2")}
"""The towers that can be carried, and how many tokens each puts before its patches."""


@dataclass(frozen=True)
class Eye:
    """A tower as a LLaVA is to read it."""

    tower: Module
    layer: int
    strategy: str
    """What LLaVA's configuration calls it: ``default`` drops the first token, ``full`` keeps all."""
    tokens: int
    """Image tokens."""
    processor: Any
    """The image processor whose pixels the tower reads."""

    @property
    def config(self) -> Any:
        """The tower's configuration."""
        return self.tower.config

    @property
    def width(self) -> int:
        """Values of each of its tokens."""
        return self.config.hidden_size  # type: ignore[no-any-return]


def of(spec: str, tower: Any, images: Any, layer: int = -2, strategy: str = "auto") -> Eye:
    """The eye that this tower makes, with the image processor ``images`` set to its size; ModelError where none."""
    kind = getattr(getattr(tower, "config", None), "model_type", type(tower).__name__)
    if kind not in FIRST_TOKENS:
        raise ModelError(
            f"{spec}: its tower is a '{kind}'; LLaVA's class carries {', '.join(FIRST_TOKENS)}{_why(kind)}"
        )
    config = tower.config
    first = FIRST_TOKENS[kind]
    fits.require_layer(layer, config, spec)
    if strategy == "default" and not first:
        raise ModelError(
            f"vision_feature_select_strategy=default: a {kind} has no class token, so its first patch would be lost"
        )
    strategy = "full" if strategy == "full" or not first else "default"
    tower = swap.at_resolution(tower, resolution(images, config))
    tokens = fits.patches(tower.config) + (first if strategy == "full" else 0)
    return Eye(tower, layer, strategy, tokens, images)


def _why(kind: str) -> str:
    if "registers" in kind:
        return " (it can drop one token before the patches, not the registers too)"
    return ""


def resolution(images: Any, config: Any) -> int:
    """The side in pixels of what this image processor gives; the tower's own where it does not say."""
    for told in (getattr(images, "crop_size", None) if getattr(images, "do_center_crop", False) else None, images.size):
        side = _side(told)
        if side:
            return side
    return config.image_size  # type: ignore[no-any-return]


def _side(told: Any) -> int:
    if told is None:
        return 0
    sides = {int(told[key]) for key in ("height", "width") if told.get(key)}
    return sides.pop() if len(sides) == 1 else 0


def alike(one: Any, other: Any) -> bool:
    """Whether two image processors make the same pixels of an image that is neither square nor of their size."""
    steps = np.arange(70 * 50 * 3, dtype=np.int64).reshape(50, 70, 3)
    image = Image.fromarray(((steps * 7919) % 251).astype(np.uint8))
    first, second = (processor(images=[image], return_tensors="pt")["pixel_values"] for processor in (one, other))
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-5)


def fitted(eye: Eye, model: Any, processor: Any) -> list[str]:
    """Why the LVLM's own projector does not read this eye; nothing where it does."""
    own = model.config
    if eye.config.model_type != own.vision_config.model_type:
        return [f"it is a {eye.config.model_type}, the LVLM's own a {own.vision_config.model_type}"]
    about = {"mean": eye.processor.image_mean, "std": eye.processor.image_std}
    found = fits.misfits(eye.config, own.vision_config)
    found += fits.normalisation_misfits(about, processor.image_processor)
    if (eye.layer, eye.strategy) != (own.vision_feature_layer, own.vision_feature_select_strategy):
        found.append(f"the LVLM reads layer {own.vision_feature_layer} ({own.vision_feature_select_strategy})")
    return found


def put(model: Any, processor: Any, eye: Eye, new_projector: bool) -> None:
    """Makes this the eye of the LVLM, in place; with a new projector, drawn from torch's generator, if asked for."""
    config, weight = model.config, model.get_input_embeddings().weight
    config.vision_config = eye.config
    config.vision_feature_layer, config.vision_feature_select_strategy = eye.layer, eye.strategy
    config.image_seq_length = eye.tokens
    # A copy: the encoder's own tower keeps its precision.
    tower = copy.deepcopy(eye.tower).to(weight.device, model.dtype)
    model.model.vision_tower = tower.eval().requires_grad_(False)
    if new_projector:
        model.model.multi_modal_projector = projector(config).to(weight.device, model.dtype)
    processor.image_processor = eye.processor
    processor.patch_size = eye.config.patch_size
    processor.vision_feature_select_strategy = eye.strategy
    processor.num_additional_image_tokens = FIRST_TOKENS[eye.config.model_type]


def projector(config: Any) -> Module:
    """A new two-layer projector for a LLaVA of this configuration, with torch's own first values as in LLaVA."""
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    return LlavaMultiModalProjector(config)  # type: ignore[no-any-return]


def features(model: Any, pixels_N: Tensor) -> Tensor:
    """What the language model gets of these pixels: projected tokens [N, T, D]."""
    return torch.stack(list(model.model.get_image_features(pixels_N, return_dict=True).pooler_output))
