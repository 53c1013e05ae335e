"""Which weights a stage trains, at which rate and decay each, and how they are kept and come back.

Source of the groups and of the search for LoRA's targets: haotian-liu/LLaVA@c121f04, llava/train/llava_trainer.py
(``create_optimizer``) and llava/train/train.py (``find_all_linear_names``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Module

from harness.errors import ModelError
from harness.vision_language.align.recipes import Stage

PROJECTOR = "multi_modal_projector"
FILE = "trained.safetensors"


def opened(model: Any, stage: Stage) -> Any:
    """The model with what this stage trains open to change and in fp32, everything else closed; a LoRA put in."""
    model.requires_grad_(False)
    if stage.trains == "projector+language_model":
        _widened(model.model.language_model)
        _widened(model.lm_head)
    if stage.trains == "projector+lora":
        model = _with_lora(model, stage)
    _widened(projector_of(model))
    return model


def _widened(part: Module) -> None:
    part.float().requires_grad_(True)


def projector_of(model: Any) -> Any:
    """The projector of a LLaVA, wrapped by peft or not."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.model.multi_modal_projector


def _with_lora(model: Any, stage: Stage) -> Any:
    import peft

    config = peft.LoraConfig(
        r=stage.lora_rank,
        lora_alpha=stage.lora_alpha,
        lora_dropout=stage.lora_dropout,
        bias="none",
        target_modules=targets(lora_targets(model.model.language_model)),
        task_type="CAUSAL_LM",
    )
    if getattr(model, "hf_quantizer", None) is not None:
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=stage.gradient_checkpointing)
    return peft.get_peft_model(model, config)


def lora_targets(language_model: Module) -> list[str]:
    """The last names of every linear layer of the language model; its output layer is not among them."""
    named = language_model.named_modules()
    return sorted({name.rpartition(".")[2] for name, part in named if isinstance(part, torch.nn.Linear)})


def targets(names: Iterable[str]) -> str:
    """What peft matches whole names against: these layers of the language model and of nothing else.

    Bare names would match the tower's too (zjysteven/lmms-finetune#11).
    """
    return rf".*language_model\..*\.({'|'.join(names)})"


def groups(named: Iterable[tuple[str, Any]], decayed: Collection[str], stage: Stage) -> list[dict[str, Any]]:
    """Parameter groups: with and without decay; where the projector has its own rate, those two once more for it."""
    trained = [(name, weight) for name, weight in named if weight.requires_grad]
    apart = bool(stage.projector_rate)
    found = []
    for of_projector in (False, True) if apart else (False,):
        for decays in (True, False):
            found.append(
                {
                    "params": [
                        weight
                        for name, weight in trained
                        if (name in decayed) == decays and (apart and PROJECTOR in name) == of_projector
                    ],
                    "weight_decay": stage.weight_decay if decays else 0.0,
                    "lr": stage.projector_rate if of_projector else stage.rate,
                }
            )
    return found


def state(model: Any) -> dict[str, Tensor]:
    """The weights that are being trained, by name."""
    return {
        name: weight.detach().cpu().contiguous() for name, weight in model.named_parameters() if weight.requires_grad
    }


def save(model: Any, folder: Path) -> None:
    """Writes the weights that are being trained, and no others."""
    write(state(model), folder)


def write(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Writes these weights where ``restore`` reads them."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / FILE, metadata={"format": "pt"})


def restore(model: Any, folder: Path) -> None:
    """Puts the weights of a checkpoint back; ModelError where they are not those being trained."""
    found = load_file(folder / FILE)
    own = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if found.keys() != own.keys():
        raise ModelError(f"{folder} holds other weights than are trained here")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(found[name])
