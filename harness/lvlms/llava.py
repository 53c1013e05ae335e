"""``llava``: LLaVA-1.5 and its kin, as they came or with another tower, projector or adapter."""

from __future__ import annotations

from dataclasses import replace

from harness import model_places, registry
from harness.types import LvlmHost, Place, Spec

OPTIONS = (
    "template", "pad", "dtype", "attention", "inference", "device_map", "quantize", "projector", "lora", "base",
    "tower", "align", "images",
)  # fmt: skip


DEFAULT = "llava-hf/llava-1.5-7b-hf"


@registry.lvlm("llava", files=lambda spec: model_places.named(spec, DEFAULT))
def llava(spec: Spec, place: Place) -> LvlmHost:
    """LLaVA-1.5 in any layout, as it came or with another tower, projector or adapter.

    ``llava[:HUB_ID|FOLDER][?template=vicuna-v1|chat&pad=pad|crop&projector=FILE&lora=DIR&base=DIR…]``.
    """
    from harness.vision_language.host import Host

    registry.no_more_options(spec, *OPTIONS)
    return Host(replace(spec, location=spec.location or DEFAULT), place)
