"""What each weight of a LLaVA is called: in memory, on the hub, and in LLaVA's own files."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Tried in order, first match wins. In memory is transformers 5's ``LlavaForConditionalGeneration``.
_TO_MEMORY = (
    (r"^(?:base_model\.model\.)+", ""),
    (r"^model\.mm_projector\.0\.", "model.multi_modal_projector.linear_1."),
    (r"^model\.mm_projector\.2\.", "model.multi_modal_projector.linear_2."),
    (r"^model\.vision_tower\.vision_tower\.(?:vision_model\.)?", "model.vision_tower."),
    (r"^(?:model\.)?vision_tower\.(?:vision_model\.)?", "model.vision_tower."),
    (r"^(?:model\.)?multi_modal_projector\.", "model.multi_modal_projector."),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.(?:model\.)?", "model.language_model."),
    (r"^model\.(embed_tokens|layers|norm)\.", r"model.language_model.\1."),
)
_TO_HUB = (
    (r"^model\.vision_tower\.", "vision_tower.vision_model."),
    (r"^model\.multi_modal_projector\.", "multi_modal_projector."),
    (r"^model\.language_model\.", "language_model.model."),
    (r"^lm_head\.", "language_model.lm_head."),
)
_TO_ORIGINAL = (
    (r"^model\.vision_tower\.", "model.vision_tower.vision_tower.vision_model."),
    (r"^model\.multi_modal_projector\.linear_1\.", "model.mm_projector.0."),
    (r"^model\.multi_modal_projector\.linear_2\.", "model.mm_projector.2."),
    (r"^model\.language_model\.", "model."),
)
# The towers that transformers 4 and vLLM keep one level deeper.
_WRAPPED = ("clip_vision_model", "siglip_vision_model")
_COMPUTED = ("position_ids", "rotary_emb.inv_freq")


def in_memory(name: str) -> str:
    """What the weight of this name, in any layout, is called in memory."""
    name = re.sub(*_TO_MEMORY[0], name)
    return _renamed(name, _TO_MEMORY[1:])


def on_hub(name: str, tower: str = "clip_vision_model") -> str:
    """What a weight in memory is called in the hub's files, which every loader knows, with a tower of this family."""
    if tower not in _WRAPPED and name.startswith("model.vision_tower."):
        return name.removeprefix("model.")
    return _renamed(name, _TO_HUB)


def in_original(name: str) -> str:
    """What a weight in memory is called in LLaVA's own files."""
    return _renamed(name, _TO_ORIGINAL)


def _renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, new in rules:
        if re.match(pattern, name):
            return re.sub(pattern, new, name)
    return name


def is_computed(name: str) -> bool:
    """Whether this is no weight but something old files keep although it can be computed."""
    return name.endswith(_COMPUTED)
