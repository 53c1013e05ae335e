"""Digests of towers and other parts by the values they hold, under the names the Hugging Face hub uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from transformers import PreTrainedConfig

from harness import digest
from harness.errors import DegenerateError
from harness.vision_language import tokenizing

_PREFIXES = ("model.", "module.", "vision_tower.", "vision_model.")
# What a configuration says of training, of a projection that is no part of the tower, or of words that formats name
# otherwise (where a text is read is decided by its tokenizer here).
_NOT_COMPUTED = frozenset({
    "projection_dim", "attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout",
    "drop_path_rate", "initializer_range", "initializer_factor", "bos_token_id", "eos_token_id", "pad_token_id",
})  # fmt: skip


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


def computation(config: Any) -> dict[str, Any]:
    """The fields of a transformers configuration that decide what its weights compute: heads, epsilon, activation …

    They are the fields that its own class declares, less those that only training and saving read; a field that
    is not known here counts as one that computes.
    """
    own = set(type(config)().to_dict()) - set(PreTrainedConfig().to_dict()) - _NOT_COMPUTED
    return {name: _listed(getattr(config, name)) for name in sorted(own)}


def _listed(value: Any) -> Any:
    """A value as JSON has it."""
    return list(value) if isinstance(value, tuple | set) else value


def weights_digest(tower: Module) -> str:
    """SHA-256 of a vision tower's values under the hub's names, whatever computes with them."""
    return values(canonical(tower.state_dict()))


def tower_digest(tower: Module) -> str:
    """SHA-256 of a vision tower by its values and what computes with them, whoever saved it."""
    return computing(canonical(tower.state_dict()), getattr(tower, "config", None))


def computing(tensors: Mapping[str, Tensor], *configs: Any) -> str:
    """One digest of these values and of what these configurations compute with them."""
    return digest.of_json([values(tensors), *(computation(config) for config in configs if config is not None)])


def part_digest(part: Module) -> str:
    """SHA-256 of another part (projector, language model) as it lies in memory, dtype included."""
    return digest.of_tensors(part_tensors(part))


def part_tensors(part: Module) -> dict[str, Tensor]:
    """The tensors that are the part's own, by name."""
    return {name: tensor for name, tensor in part.state_dict().items() if "position_ids" not in name}


def text_digest(tokenizer: Any) -> str:
    """SHA-256 of how a tokenizer turns text into ids and ids into text.

    Its vocabulary and its special tokens; the rest where it is otherwise than in LLaVA-1.5 and in micro-llava.
    """
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    words = digest.of_json([sorted(tokenizer.get_vocab().items()), special])
    rest = tokenizing.beyond_vocabulary(tokenizer)
    return digest.of_json([words, rest]) if rest else words


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
