"""Whether a vision tower can take the place of a LLaVA's own, and if not, what does not fit and what would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.nn import Module
from transformers import CLIPVisionConfig, CLIPVisionModel

from harness.errors import ModelError


def misfits(tower: CLIPVisionConfig, host: CLIPVisionConfig) -> list[str]:
    """What of this tower does not fit where the host's own was, in words."""
    out = []
    if tower.hidden_size != host.hidden_size:
        out.append(f"it is {tower.hidden_size} wide, the projector reads {host.hidden_size}")
    if tower.patch_size != host.patch_size:
        out.append(f"its patches are {tower.patch_size} pixels, the LVLM's {host.patch_size}")
    if tower.image_size != host.image_size:
        out.append(f"it reads {tower.image_size} pixels, the LVLM gives {host.image_size}")
    if patches(tower) != patches(host):
        out.append(f"it gives {patches(tower)} patch tokens, the LVLM expects {patches(host)}")
    if tower.num_hidden_layers != host.num_hidden_layers:
        out.append(f"it has {tower.num_hidden_layers} blocks, the LVLM's own has {host.num_hidden_layers}")
    if tower.hidden_act != host.hidden_act:
        out.append(f"its activation is {tower.hidden_act}, the LVLM's own has {host.hidden_act}")
    return out


def patches(config: CLIPVisionConfig) -> int:
    """How many patch tokens a tower gives."""
    return (config.image_size // config.patch_size) ** 2  # type: ignore[operator, no-any-return]


def normalisation_misfits(about: Mapping[str, Any], processor: Any) -> list[str]:
    """How the pixels that the encoder was trained on differ from those that the LVLM gives."""
    out = []
    for key, own in (("mean", processor.image_mean), ("std", processor.image_std)):
        asked = about.get(key)
        if asked is not None and any(abs(a - b) > 1e-4 for a, b in zip(asked, own, strict=True)):
            shown = [f"({', '.join(f'{x:.3f}' for x in values)})" for values in (asked, own)]
            out.append(f"its pixels are normalised with {key} {shown[0]}, the LVLM's with {shown[1]}")
    return out


def require(spec: str, tower: Module, about: Mapping[str, Any], host: CLIPVisionConfig, processor: Any) -> None:
    """ModelError in one line where this tower does not fit: everything that does not, and what would."""
    if not isinstance(tower, CLIPVisionModel):
        raise ModelError(f"{spec}: its tower is a {type(tower).__name__}; LLaVA carries a CLIPVisionModel")
    if not isinstance(host, CLIPVisionConfig):
        raise ModelError(
            f"{spec}: this LVLM's own tower is a '{host.model_type}', no CLIP ViT: it takes no other tower"
        )
    found = misfits(tower.config, host) + normalisation_misfits(about, processor)
    if found:
        raise ModelError(f"the tower of {spec} does not fit: {'; '.join(found)}. What fits is {wanted(host)}")


def wanted(host: CLIPVisionConfig) -> str:
    """The tower that fits, in words."""
    return (
        f"a CLIP ViT {host.hidden_size} wide with {host.num_hidden_layers} blocks, patches of {host.patch_size} at "
        f"{host.image_size} pixels and {host.hidden_act}"
    )
