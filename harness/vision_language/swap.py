"""Put one vision tower where another was, and prove by digest that it is the one that was asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Module

from harness.compute import weights
from harness.errors import ModelError
from harness.vision_language import identity


def copy_like(asked: Module, own: Any) -> Module:
    """A copy of the asked tower in the own one's precision, place and way of attending."""
    weight = next(own.parameters())
    tower = weights.hollow(type(own), own.config, attn_implementation=own.config._attn_implementation)
    tower.to(weight.device, weight.dtype).load_state_dict(asked.state_dict())
    if hasattr(own, "_hf_hook"):  # a device map moves the inputs of each part to where the part lies
        from accelerate.hooks import add_hook_to_module

        add_hook_to_module(tower, own._hf_hook)
    return tower.eval().requires_grad_(False)  # type: ignore[no-any-return]


def at_resolution(tower: Any, side: int) -> Any:
    """The tower for images of this side; a DINOv2's positions are resampled once, as it would do for each image.

    ModelError for another family, whose positions are those of one size.
    """
    config = tower.config
    if config.image_size == side:
        return tower
    if config.model_type != "dinov2":
        raise ModelError(
            f"its image processor gives {side} pixels and the tower reads {config.image_size}; "
            f"name a folder where the two agree"
        )
    if side % config.patch_size:
        raise ModelError(f"its image processor gives {side} pixels, no multiple of its patches of {config.patch_size}")
    grid = side // config.patch_size
    with torch.no_grad():
        nothing = torch.zeros(1, 1 + grid * grid, config.hidden_size)
        table = tower.embeddings.interpolate_pos_encoding(nothing, side, side)
    resized = type(config).from_dict({**config.to_dict(), "image_size": side})
    state = tower.state_dict() | {"embeddings.position_embeddings": table.clone()}
    made = type(tower)(resized).eval()
    made.load_state_dict(state)
    return made.to(next(tower.parameters()).dtype)


def fitting(asked: Any, own: Any) -> Any:
    """The asked tower as it can stand where the own one does: a DINOv2 for the size that the own one is for."""
    mine, kind = own.config, getattr(getattr(asked, "config", None), "model_type", "")
    if kind == mine.model_type == "dinov2" and asked.config.patch_size == mine.patch_size:
        return at_resolution(asked, mine.image_size)
    return asked


def proven(found: Module, asked: Module, spec: str) -> dict[str, str]:
    """The digests of the tower in memory and of the asked one; ModelError where the first is not made of the second."""
    dtype = next(found.parameters()).dtype
    rounded = {name: tensor.to(dtype) for name, tensor in asked.state_dict().items()}
    expected = identity.computing(identity.canonical(rounded), asked.config)
    there = identity.tower_digest(found)
    if there != expected:
        raise ModelError(f"the swap failed: the tower in memory ({there[:12]}) is not that of {spec} ({expected[:12]})")
    return {"tower": there, "tower_asked": identity.tower_digest(asked)}
