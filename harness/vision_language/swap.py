"""Put one vision tower where another was, and prove by digest that it is the one that was asked for."""

from __future__ import annotations

from typing import Any

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


def proven(found: Module, asked: Module, spec: str) -> dict[str, str]:
    """The digests of the tower in memory and of the asked one; ModelError where the first is not made of the second."""
    dtype = next(found.parameters()).dtype
    rounded = {name: tensor.to(dtype) for name, tensor in asked.state_dict().items()}
    expected = identity.computing(identity.canonical(rounded), asked.config)
    there = identity.tower_digest(found)
    if there != expected:
        raise ModelError(f"the swap failed: the tower in memory ({there[:12]}) is not that of {spec} ({expected[:12]})")
    return {"tower": there, "tower_asked": identity.tower_digest(asked)}
