"""What is laid over a loaded LLaVA: another projector, or a low-rank adapter folded into its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.compute import weights
from harness.errors import ModelError
from harness.vision_language import identity
from harness.vision_language.layouts import floats

_PROJECTOR_FILES = ("projector.safetensors", "adapter/projector.safetensors", "mm_projector.safetensors",
                    "mm_projector.bin", "non_lora_trainables.bin", "model.safetensors")  # fmt: skip
_LINEAR = {"0": "linear_1", "2": "linear_2"}


def projector_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The projector's weights under transformers' names (``linear_1.weight`` …), whoever named them."""
    found = {}
    for name, tensor in tensors.items():
        if (original := re.search(r"(?:^|\.)mm_projector\.(\d)\.(weight|bias)$", name)) is not None:
            found[f"{_LINEAR.get(original[1], original[1])}.{original[2]}"] = tensor
        elif (hub := re.search(r"(?:^|\.)(linear_[12]\.(?:weight|bias))$", name)) is not None:
            found[hub[1]] = tensor
    return found


def lay_projector(model: Any, where: str) -> str:
    """Puts the projector of this file or folder into the model; its digest comes back."""
    found = projector_weights(weights.read(projector_file(Path(where))))
    projector = model.model.multi_modal_projector
    fill(projector, found, f"the projector of {where}")
    return identity.part_digest(projector)


def projector_file(where: Path) -> Path:
    """The file that holds a projector: this one, or the one in this folder."""
    if not where.is_dir():
        return where
    for name in _PROJECTOR_FILES:
        if (where / name).is_file():
            return where / name
    raise ModelError(f"{where} holds no projector: there is none of {', '.join(_PROJECTOR_FILES)}")


def fill(part: torch.nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """These weights put in one for one; ModelError that names the first that does not fit."""
    own = part.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own:
            raise ModelError(f"{what} {'lacks' if name in own else 'holds an unknown'} '{name}'")
        if tensors[name].shape != own[name].shape:
            have, want = tuple(tensors[name].shape), tuple(own[name].shape)
            raise ModelError(f"{what}: '{name}' has the shape {have}; this LVLM has {want}")
    floats.require(what, tensors)
    part.load_state_dict(dict(tensors))
