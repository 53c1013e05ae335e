"""How far a tower is from an LVLM's own, as the LVLM sees it: at the layer that it reads, and after its projector.

Legend: N patch tokens of all images, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import Module

from harness.vision_language import identity

QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def report(host: Any, tower: Module, images: Sequence[Image]) -> dict[str, Any]:
    """Drift of this tower's patch tokens and of the projector's output on these images, and of the weights."""
    own_NC, new_NC = (tokens(host, one, images) for one in (host.own, tower))
    projector = host.model.model.multi_modal_projector
    with torch.inference_mode():
        own_out, new_out = (
            projector(x.to(host.model.device, host.model.dtype)).float().cpu() for x in (own_NC, new_NC)
        )
    return {
        "images": len(images),
        "layer": host.model.config.vision_feature_layer,
        "patch_tokens": compare(own_NC, new_NC),
        "projected": compare(own_out, new_out),
        "weights": update(
            identity.canonical(host.own.state_dict()),
            identity.canonical(tower.state_dict()),
            unseen(host.model.config),
        ),
    }


@torch.inference_mode()
def tokens(host: Any, tower: Module, images: Sequence[Image]) -> Tensor:
    """The patch tokens [N, C] that the LVLM would read of these images through this tower."""
    config = host.model.config
    weight = next(tower.parameters())
    rows = []
    for image in images:
        pixels = host.pixels(image)[None].to(weight.device, weight.dtype)
        hidden = tower(pixels, output_hidden_states=True).hidden_states[config.vision_feature_layer][0]
        rows.append(hidden[1:] if config.vision_feature_select_strategy == "default" else hidden)
    return torch.cat(rows).float().cpu()


def compare(own_NC: Tensor, new_NC: Tensor) -> dict[str, Any]:
    """Quantiles over tokens of cosine and relative distance, the ratio of norms, and linear CKA."""
    cosine_N = torch.nn.functional.cosine_similarity(own_NC, new_NC, dim=-1)
    distance_N = (new_NC - own_NC).norm(dim=-1) / own_NC.norm(dim=-1)
    return {
        "cosine": quantiles(cosine_N),
        "relative_l2": quantiles(distance_N),
        "norm_ratio": float((new_NC.norm(dim=-1) / own_NC.norm(dim=-1)).quantile(0.5)),
        "linear_cka": linear_cka(own_NC, new_NC),
    }


def quantiles(values_N: Tensor) -> dict[str, float]:
    """The 5th, 50th and 95th percentile."""
    return {name: float(torch.quantile(values_N.float(), at)) for name, at in QUANTILES.items()}


def linear_cka(one_NC: Tensor, other_NC: Tensor) -> float:
    """Centred kernel alignment with a linear kernel: 1 for the same tokens up to rotation and scale."""
    one, other = (x.double() - x.double().mean(0) for x in (one_NC, other_NC))
    cross = (one.T @ other).square().sum()
    return float(cross / ((one.T @ one).norm() * (other.T @ other).norm()))


def unseen(config: Any) -> tuple[str, ...]:
    """The beginnings of the names of tower weights that this LVLM never reads: the last blocks and the post-norm."""
    layer, blocks = config.vision_feature_layer, config.vision_config.num_hidden_layers
    read = layer if layer >= 0 else blocks + 1 + layer
    late = tuple(f"vision_model.encoder.layers.{n}." for n in range(read, blocks))
    return ("vision_model.post_layernorm.", *late)


def update(old: Mapping[str, Tensor], new: Mapping[str, Tensor], hidden: Sequence[str]) -> dict[str, float]:
    """Size of a weight update relative to the weights, and the share of its square outside the hidden names."""
    changed, whole, seen = 0.0, 0.0, 0.0
    for name, tensor in old.items():
        square = float((new[name].detach().float().cpu() - tensor.detach().float().cpu()).square().sum())
        changed += square
        whole += float(tensor.detach().float().square().sum())
        seen += 0.0 if name.startswith(tuple(hidden)) else square
    return {"relative_update": (changed / whole) ** 0.5, "visible_share": seen / changed if changed else float("nan")}


def by_part(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """The update of each part of an encoder (embeddings, blocks, norms, projections), and its share of the whole."""
    squares: dict[str, tuple[float, float]] = {}
    for name, tensor in old.items():
        change, size = squares.get(part(name), (0.0, 0.0))
        delta = new[name].float() - tensor.float()
        squares[part(name)] = (change + float(delta.square().sum()), size + float(tensor.float().square().sum()))
    total = sum(change for change, _ in squares.values())
    return {
        name: {
            "relative_update": (change / size) ** 0.5 if size else float("nan"),
            "share": change / total if total else 0.0,
        }
        for name, (change, size) in squares.items()
    }


def part(name: str) -> str:
    """The part of an encoder that a weight belongs to, in a few words."""
    pieces = name.split(".")
    tower = {"vision_model": "vision", "text_model": "text"}.get(pieces[0])
    if tower is None:
        return pieces[0].replace("_", " ")
    if "layers" in pieces:
        return f"{tower} block {int(pieces[pieces.index('layers') + 1]):2d}"
    return f"{tower} {pieces[1].replace('_', ' ')}"
