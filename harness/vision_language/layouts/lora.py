"""Fold a low-rank adapter into a LLaVA's weights: peft's layout, or LLaVA's with its ``non_lora_trainables.bin``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.compute import weights
from harness.errors import ModelError
from harness.vision_language.layouts import floats, weight_names
from harness.vision_language.layouts.folder import read_json

_PAIR = re.compile(r"(.*)\.lora_(A|B)(?:\.default)?\.weight$")

FOLD_FIRST = "a LoRA is folded in before quantising: write the merged folder first"


def lay(model: Any, folder: Path) -> None:
    """Adds the adapter in this folder to the model's weights; ModelError where a part of it finds no place."""
    if not (folder / "adapter_config.json").is_file() and (folder / "adapter").is_dir():
        folder = folder / "adapter"  # of a folder that ``ohd-bench align`` wrote
    told = read_json(folder / "adapter_config.json")
    if told.get("use_dora") or told.get("alpha_pattern"):
        raise ModelError(f"{folder}: DoRA and per-layer alphas are not supported; merge it with peft first")
    pairs, whole = _parts(folder)
    with torch.no_grad():
        for name, (down, up) in pairs.items():
            _add(model, name, scale(told, down.shape[0]) * (up.float() @ down.float()), folder)
        for name, tensor in whole.items():
            _replace(model, name, tensor, folder)


def scale(told: Mapping[str, Any], rank: int) -> float:
    """By how much the product of the two matrices is multiplied."""
    alpha: float = told.get("lora_alpha", rank)
    return alpha / rank**0.5 if told.get("use_rslora") else alpha / rank


def _parts(folder: Path) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Tensor]]:
    """The low-rank pairs by the weight they change, and the weights that were trained whole."""
    found = _read(folder, "adapter_model.safetensors", "adapter_model.bin")
    if not found:
        raise ModelError(f"{folder} holds no adapter_model.safetensors and no adapter_model.bin")
    found |= _read(folder, "non_lora_trainables.bin")
    floats.require(str(folder), found)
    halves: dict[str, dict[str, Tensor]] = {}
    whole = {}
    for name, tensor in found.items():
        if (pair := _PAIR.match(name)) is not None:
            halves.setdefault(f"{weight_names.in_memory(pair[1] + '.weight')}", {})[pair[2]] = tensor
        elif "lora_" in name:
            raise ModelError(f"{folder}: '{name}' is no low-rank pair of a linear layer; merge it with peft first")
        elif not weight_names.is_computed(name):
            whole[weight_names.in_memory(name.replace(".modules_to_save.default", ""))] = tensor
    for name, both in halves.items():
        if set(both) != {"A", "B"}:
            raise ModelError(f"{folder}: the low-rank pair of '{name}' lacks one half")
    return {name: (both["A"], both["B"]) for name, both in halves.items()}, whole


def _read(folder: Path, *files: str) -> dict[str, Tensor]:
    for file in files:
        if (folder / file).is_file():
            return weights.read(folder / file, wrapped=True)
    return {}


def _add(model: Any, name: str, delta: Tensor, folder: Path) -> None:
    weight = _weight(model, name, folder)
    if weight.shape != delta.shape:
        raise ModelError(f"{folder}: '{name}' is {tuple(delta.shape)} in the adapter and {tuple(weight.shape)} here")
    weight.copy_((weight.float() + delta.to(weight.device)).to(weight.dtype))


def _replace(model: Any, name: str, tensor: Tensor, folder: Path) -> None:
    weight = _weight(model, name, folder)
    if weight.shape[1:] != tensor.shape[1:] or weight.shape[0] < tensor.shape[0]:
        raise ModelError(f"{folder}: '{name}' is {tuple(tensor.shape)} in the adapter and {tuple(weight.shape)} here")
    weight[: tensor.shape[0]].copy_(tensor)


def _weight(model: Any, name: str, folder: Path) -> Tensor:
    own: dict[str, Tensor] = dict(model.named_parameters())
    if name not in own:
        raise ModelError(f"{folder} changes '{name}', which this LVLM does not have")
    if not own[name].is_floating_point():
        raise ModelError(f"{folder} changes '{name}', which is quantised; {FOLD_FIRST}")
    return own[name]
