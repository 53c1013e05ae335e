"""Whether a vision tower can take the place of a LLaVA's own, and if not, what does not fit and what would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.nn import Module

from harness.errors import ModelError
from harness.vision_language.identity import computation

# Tokens that a tower puts before its patches.
LEADING = {"clip_vision_model": 1, "siglip_vision_model": 0, "dinov2": 1, "vit": 1, "ijepa": 0}
_FAMILIES = {"clip_vision_model": "CLIP ViT", "siglip_vision_model": "SigLIP ViT", "dinov2": "DINOv2"}
# What each field of a configuration is called in a sentence: what the tower has, what the LVLM's own has.
_SAID = {
    "hidden_size": "it is {} wide, the projector reads {}",
    "patch_size": "its patches are {} pixels, the LVLM's {}",
    "image_size": "it reads {} pixels, the LVLM gives {}",
    "num_hidden_layers": "it has {} blocks, the LVLM's own has {}",
    "hidden_act": "its activation is {}, the LVLM's own has {}",
    "num_attention_heads": "it has {} heads, the LVLM's own has {}",
    "intermediate_size": "its MLPs are {} wide, those of the LVLM's own {}",
    "layer_norm_eps": "its norms add an epsilon of {}, those of the LVLM's own {}",
}


def misfits(tower: Any, host: Any) -> list[str]:
    """What of this tower does not fit where the host's own was, in words."""
    asked, own = computation(tower), computation(host)
    # A family has not every field that is said here, and may have others, which are compared as well.
    fields = [name for name in _SAID if name in asked] + sorted(asked.keys() - _SAID.keys())
    said = {name: _SAID.get(name, f"its {name} is {{}}, that of the LVLM's own {{}}") for name in fields}
    out = [words.format(asked[name], own[name]) for name, words in said.items() if asked[name] != own[name]]
    if patches(tower) != patches(host):
        out.append(f"it gives {patches(tower)} patch tokens, the LVLM expects {patches(host)}")
    return out


def patches(config: Any) -> int:
    """How many patch tokens a tower gives."""
    return (config.image_size // config.patch_size) ** 2  # type: ignore[no-any-return]


def image_tokens(config: Any) -> int:
    """How many tokens an image takes in the prompt of a LLaVA of this configuration; ModelError where it is not known.

    ``default`` drops the first token whatever it is (transformers' ``LlavaModel.get_image_features``), ``full`` none.
    """
    vision = config.vision_config
    leading = LEADING.get(vision.model_type)
    if vision.model_type == "dinov2_with_registers":
        leading = 1 + vision.num_register_tokens
    if leading is None:
        raise ModelError(
            f"this LVLM's tower is a '{vision.model_type}', and how many tokens it gives is not known here"
        )
    if config.vision_feature_select_strategy == "default" and not leading:
        raise ModelError(
            f"this LVLM's tower is a '{vision.model_type}', which has no class token, and its configuration drops the "
            'first patch as if it were one; its config.json should say "vision_feature_select_strategy": "full"'
        )
    return patches(vision) + leading - (config.vision_feature_select_strategy == "default")  # type: ignore[no-any-return]


def require_layer(read: Any, vision: Any, where: str) -> None:
    """ModelError where the hidden states that an LVLM reads (of one layer, or of several) are none of its tower's."""
    last = vision.num_hidden_layers
    for layer in read if isinstance(read, list) else [read]:
        if type(layer) is not int or not -last - 1 <= layer <= last:
            told = f"the tower of {where} has hidden states {-last - 1} to {last}"
            raise ModelError(f"vision_feature_layer={layer!r}: {told}")


def normalisation_misfits(about: Mapping[str, Any], processor: Any) -> list[str]:
    """How the pixels that the encoder was trained on differ from those that the LVLM gives."""
    out = []
    for key, own in (("mean", processor.image_mean), ("std", processor.image_std)):
        asked = about.get(key)
        if asked is not None and any(abs(a - b) > 1e-4 for a, b in zip(asked, own, strict=True)):
            shown = [f"({', '.join(f'{x:z.3f}' for x in values)})" for values in (asked, own)]
            out.append(f"its pixels are normalised with {key} {shown[0]}, the LVLM's with {shown[1]}")
    return out


def require(spec: str, tower: Module, about: Mapping[str, Any], host: Any, processor: Any) -> None:
    """ModelError in one line where this tower does not fit: everything that does not, and what would."""
    asked: Any = getattr(tower, "config", None)
    if getattr(asked, "model_type", None) != host.model_type:
        kind = getattr(asked, "model_type", type(tower).__name__)
        raise ModelError(
            f"{spec}: its tower is a '{kind}' and this LVLM's own a '{host.model_type}', so it does not fit behind the "
            f"same projector; ohd-bench align trains a new one"
        )
    found = misfits(asked, host) + normalisation_misfits(about, processor)
    if found:
        raise ModelError(f"the tower of {spec} does not fit: {'; '.join(found)}. What fits is {wanted(host)}")


def wanted(host: Any) -> str:
    """The tower that fits, in words."""
    family = _FAMILIES.get(host.model_type, host.model_type)
    return (
        f"a {family} {host.hidden_size} wide with {host.num_hidden_layers} blocks, patches of {host.patch_size} at "
        f"{host.image_size} pixels and {host.hidden_act}"
    )
