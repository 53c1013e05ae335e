"""Digests of towers and other parts by the values they hold, under the names the Hugging Face hub uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from harness import digest
from harness.errors import DegenerateError

_PREFIXES = ("model.", "module.", "vision_tower.", "vision_model.")


def canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a tower under the hub's ``vision_model.*`` names, without position ids."""
    return {f"vision_model.{_bare(name)}": tensor for name, tensor in tensors.items() if "position_ids" not in name}


def _bare(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def values(tensors: Mapping[str, Tensor]) -> str:
    """One digest for the same values, whether they are stored in fp32, fp16 or bf16.

    Half precision is read into fp32 exactly, so a tower that a LLaVA folder keeps in fp16 and the same values in an
    fp32 file agree; a tower that was rounded on the way holds other values and has another digest.
    """
    return digest.of_tensors({name: _wide(tensor) for name, tensor in tensors.items()})


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor


def tower_digest(tower: Module) -> str:
    """SHA-256 of a vision tower by its values: the same saved by open_clip, by transformers or inside a LLaVA."""
    return values(canonical(tower.state_dict()))


def part_digest(part: Module) -> str:
    """SHA-256 of another part (projector, language model) as it lies in memory, dtype included."""
    return digest.of_tensors({n: t for n, t in part.state_dict().items() if "position_ids" not in n})


def text_digest(tokenizer: Any) -> str:
    """SHA-256 of how a tokenizer turns text into ids: its vocabulary and its special tokens."""
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return digest.of_json([sorted(tokenizer.get_vocab().items()), special])


def check_finite(model: Module, what: str) -> None:
    """DegenerateError where a weight is NaN or infinite."""
    for name, tensor in model.state_dict().items():
        # A sum carries any NaN or infinity with it and reads each weight once.
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum(dtype=torch.float32)):
            raise DegenerateError(f"{what}: the weights are not finite, '{name}' the first")


def finite(rows: Tensor, what: str) -> Tensor:
    """These outputs, or DegenerateError where one is NaN or infinite."""
    if not torch.isfinite(rows).all():
        raise DegenerateError(f"{what}: the outputs are not finite")
    return rows
