"""The two towers as they are trained: what is frozen, what is low-rank, and the plain weights they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel

from encoders.towers import last_layer
from encoders.towers.clip_encoder import ClipEncoder, padded_features
from encoders.towers.trie import text_features
from harness import registry
from harness.errors import ModelError, UsageError
from harness.types import Place

if TYPE_CHECKING:
    from encoders.training.settings import Training

TextFeatures = Callable[[CLIPModel, list[list[int]]], Tensor]
TEXT: Mapping[str, TextFeatures] = {"trie": text_features, "padded": padded_features}
ADAPTED = ["q_proj", "k_proj", "v_proj", "out_proj"]


class Captions:
    """Token ids that no wrapper takes for tensors to move and copy."""

    def __init__(self, ids: list[list[int]]) -> None:
        self.ids = ids


class Towers(nn.Module):
    """A CLIP whose one forward pass gives everything the loss reads, so that DDP and FSDP see all of it."""

    def __init__(self, model: CLIPModel, text: str) -> None:
        super().__init__()
        self.model, self.text = model, TEXT[text]

    def forward(self, pixels: Tensor, captions: Captions) -> tuple[Tensor, Tensor, Tensor]:
        """Unit rows of the images, unit rows of the captions, and the scale."""
        pooled = last_layer.pooled(self.model.vision_model, pixels)
        image = F.normalize(self.model.visual_projection(pooled).float(), dim=-1)
        text = F.normalize(self.text(self.model, captions.ids).float(), dim=-1)
        return image, text, self.model.logit_scale.exp()


def base(spec: str, device: str = "cpu") -> ClipEncoder:
    """The encoder to start from; ModelError where it is no CLIP with both towers."""
    registry.load()
    encoder = registry.make_encoder(spec, Place(device))
    if not isinstance(encoder, ClipEncoder) or encoder.words is None:
        raise ModelError(f"{spec} cannot be trained: it is not a CLIP with both its towers and a tokenizer")
    return encoder


def trainable(recipe: Training, model: CLIPModel) -> Towers:
    """The towers with what the recipe freezes frozen and what it adapts adapted, in place."""
    model.float().train()
    if recipe.lora:
        _adapt(model, recipe)
    _freeze(model, recipe.frozen)
    if recipe.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return Towers(model, recipe.text)


def _adapt(model: CLIPModel, recipe: Training) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(recipe.seed)
    config = LoraConfig(r=recipe.lora, lora_alpha=2 * recipe.lora, target_modules=ADAPTED)
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def _freeze(model: CLIPModel, patterns: Sequence[str]) -> None:
    names = dict(model.named_parameters())
    for pattern in patterns:
        found = [name for name in names if fnmatch(name, pattern)]
        if not found:
            raise UsageError(f"frozen '{pattern}' names no parameter; there is {', '.join(list(names)[:3])} …")
        for name in found:
            names[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in names.values()):
        raise UsageError("everything is frozen: nothing is left to train")


def plain(towers: Towers, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP's own weights on the CPU, low-rank updates added in, from the state of the towers."""
    from peft.tuners.lora import LoraLayer

    merged = {
        name.removeprefix("model.").replace(".base_layer", ""): tensor.detach().float().cpu().clone()
        for name, tensor in state.items()
        if "lora_" not in name
    }
    for name, module in towers.model.named_modules():
        if isinstance(module, LoraLayer):
            down, up = (state[f"model.{name}.lora_{side}.default.weight"].float().cpu() for side in "AB")
            merged[f"{name}.weight"] += module.scaling["default"] * up @ down
    return merged


def interpolated(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """base + alpha x (tuned - base), weight by weight (WiSE-FT)."""
    return {name: torch.lerp(base[name].float(), tuned[name].float(), alpha) for name in tuned}


class Average:
    """An exponential moving average of the trained weights, kept beside them."""

    def __init__(self, towers: Towers, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: p.detach().clone() for name, p in towers.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, towers: nn.Module) -> None:
        """Moves the average towards the weights of now."""
        for name, parameter in towers.named_parameters():
            if name in self.shadow:
                self.shadow[name].lerp_(parameter.detach(), 1 - self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights, by name."""
        return self.shadow

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a saved average."""
        for name, tensor in self.shadow.items():
            tensor.copy_(state[name])
