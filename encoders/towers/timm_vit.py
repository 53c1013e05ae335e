"""A ViT of timm as the vision model of transformers that computes the same: SigLIP's, or CLIP's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from harness.compute.weights import hollow

_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_OUTSIDE = {
    "patch_embed.proj.": "embeddings.patch_embedding.",
    "norm_pre.": "pre_layrnorm.",
    "norm.": "post_layernorm.",
    "attn_pool.latent": "head.probe",
    "attn_pool.proj.": "head.attention.out_proj.",
    "attn_pool.norm.": "head.layernorm.",
    "attn_pool.mlp.": "head.mlp.",
}


def carried(trunk: Any) -> Module | None:
    """The vision model of transformers that computes what this timm trunk does; None where neither form does.

    Whether it does is found by computing: both must give the same tokens of the same pixels.
    """
    made = _made(trunk)
    return made if made is not None and _same(trunk, made) else None


def _made(trunk: Any) -> Module | None:
    """The trunk's tensors in the form that its parts ask for; None where one of them is unknown there or missing."""
    try:
        config = _config(trunk)
        with_class = trunk.cls_token is not None
        model = hollow(CLIPVisionModel if with_class else SiglipVisionModel, config)
        names = _named(trunk.state_dict(), with_class)
        missing, unknown = model.load_state_dict(names, strict=False)
    except (AttributeError, RuntimeError, ValueError):  # another architecture: other parts, other shapes
        return None
    return None if missing or unknown else model.to(next(trunk.parameters()).dtype).eval()


def _config(trunk: Any) -> Any:
    block = trunk.blocks[0]
    side, patch = trunk.patch_embed.img_size[0], trunk.patch_embed.patch_size[0]
    told = {
        "hidden_size": trunk.embed_dim,
        "intermediate_size": block.mlp.fc1.out_features,
        "num_hidden_layers": len(trunk.blocks),
        "num_attention_heads": block.attn.num_heads,
        "image_size": side,
        "patch_size": patch,
        "layer_norm_eps": block.norm1.eps,
        "hidden_act": _activation(block.mlp.act),
    }
    if trunk.cls_token is not None:
        return CLIPVisionConfig(**told)
    return SiglipVisionConfig(**told, vision_use_head=trunk.attn_pool is not None)


def _activation(module: Any) -> str:
    """The activation by its name in transformers, known by what it computes."""
    from transformers.activations import ACT2FN

    at = torch.linspace(-4, 4, 33)
    for name in ("gelu", "gelu_pytorch_tanh", "quick_gelu"):
        if torch.allclose(module(at), ACT2FN[name](at), atol=1e-6):
            return name
    raise ValueError(type(module).__name__)


def _named(tensors: Mapping[str, Tensor], with_class: bool) -> dict[str, Tensor]:
    """The trunk's tensors under transformers' names, q, k and v apart; names without a counterpart stay as they are."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "pos_embed":
            out["embeddings.position_embedding.weight"] = tensor[0]
        elif name == "cls_token":
            out["embeddings.class_embedding"] = tensor.flatten()
        elif (found := re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", name)) is not None:
            out |= _block(f"encoder.layers.{found[1]}", found[2], found[3], tensor)
        elif name.startswith(("attn_pool.q.", "attn_pool.kv.")):
            continue
        else:
            out[_outside(name)] = tensor
    for kind in ("weight", "bias"):
        if f"attn_pool.q.{kind}" in tensors:
            joined = torch.cat([tensors[f"attn_pool.q.{kind}"], tensors[f"attn_pool.kv.{kind}"]])
            out[f"head.attention.in_proj_{kind}"] = joined
    return out


def _block(layer: str, part: str, kind: str, tensor: Tensor) -> dict[str, Tensor]:
    if part == "attn.qkv":
        pieces = zip("qkv", tensor.chunk(3), strict=True)
        return {f"{layer}.self_attn.{one}_proj.{kind}": piece.clone() for one, piece in pieces}
    return {f"{layer}.{_BLOCK.get(part, part)}.{kind}": tensor}


def _outside(name: str) -> str:
    for prefix, own in _OUTSIDE.items():
        if name.startswith(prefix):
            return own + name.removeprefix(prefix)
    return name


@torch.no_grad()
def _same(trunk: Any, made: Any) -> bool:
    """Whether both give the same normed tokens of an image, to rounding."""
    side, weight = made.config.image_size, next(made.parameters())
    pixels = torch.linspace(-1, 1, 3 * side * side).reshape(1, 3, side, side).to(weight)
    theirs = trunk.eval().forward_features(pixels)
    ours = made(pixels).last_hidden_state
    if trunk.cls_token is not None:
        ours = made.post_layernorm(ours)
    close = 1e-4 if weight.dtype == torch.float32 else 3e-2
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=close, rtol=close)
