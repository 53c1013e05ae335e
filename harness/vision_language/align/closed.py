"""The lowest rungs of alignment: fold into a projector, in closed form, what another tower's tokens differ by.

Legend: N patch tokens, C channels of the tower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import Module

from harness import images as pictures
from harness.errors import DataError, UsageError
from harness.vision_language import drift

CLOSED = ("stats", "ridge")
MOST_IMAGES = 512


@dataclass(frozen=True)
class Map:
    """A linear map ``x @ matrix + shift`` from a new tower's tokens to those that the projector knows."""

    matrix: Tensor
    shift: Tensor


def per_channel(new_NC: Tensor, own_NC: Tensor) -> Map:
    """The map that gives each channel of the new tower the mean and the spread of the own one's."""
    new, own = new_NC.double(), own_NC.double()
    scale = own.std(0) / new.std(0).clamp_min(1e-12)
    return Map(torch.diag(scale), own.mean(0) - new.mean(0) * scale)


def ridge(new_NC: Tensor, own_NC: Tensor, strength: float = 1e-3) -> Map:
    """The map nearest to the identity that takes new tokens to own ones in the least squares."""
    new, own = new_NC.double(), own_NC.double()
    centred, wanted = new - new.mean(0), own - own.mean(0)
    gram = centred.T @ centred
    pull = strength * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    matrix = torch.linalg.solve(gram + pull, centred.T @ wanted + pull)
    return Map(matrix, own.mean(0) - new.mean(0) @ matrix)


def folded(projector: Module, found: Map) -> dict[str, Tensor]:
    """The projector's weights with the map in its first layer: same shapes, nothing to compute more."""
    state = {name: tensor.detach().clone() for name, tensor in projector.state_dict().items()}
    weight, bias = state["linear_1.weight"], state["linear_1.bias"]
    wide = weight.double().cpu()
    state["linear_1.weight"] = (wide @ found.matrix.T).to(weight)
    state["linear_1.bias"] = (bias.double().cpu() + wide @ found.shift).to(bias)
    return state


def closed(host: Any, tower: Module, how: str, images: Sequence[Image]) -> dict[str, Tensor]:
    """Projector weights that read this tower nearly as the own one was read; from unlabelled images, no training."""
    if how not in CLOSED:
        raise UsageError(f"?align={how}: there is none, stats, ridge, projector:DIR and lora:DIR")
    new_NC, own_NC = (drift.tokens(host, one, images) for one in (tower, host.own))
    return folded(host.projector, (per_channel if how == "stats" else ridge)(new_NC, own_NC))


def unlabelled(where: str) -> list[Image]:
    """The images to align on: at most 512 of a folder, in the order of their names."""
    if not where:
        raise UsageError("?align=stats and ?align=ridge need unlabelled images: add &images=FOLDER")
    paths = sorted(path for path in Path(where).glob("**/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise DataError(f"there is no .jpg or .png under {where}")
    return [pictures.open_image(path) for path in paths[:MOST_IMAGES]]
