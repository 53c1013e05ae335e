"""``vlm``: any LVLM for which transformers has a class (LLaVA-NeXT, InstructBLIP, Qwen2.5-VL …), as it is."""

from __future__ import annotations

from harness import registry
from harness.errors import UsageError
from harness.types import LvlmHost, Place, Spec


@registry.lvlm("vlm")
def vlm(spec: Spec, place: Place) -> LvlmHost:
    """LLaVA-NeXT, InstructBLIP, Qwen2.5-VL …: what transformers has a class for; a tower is swapped where it fits.

    ``vlm:HUB_ID|FOLDER[?dtype=bf16&template=chat|bare&device_map=auto&tokens=N]``; ``tokens`` is how many new ones an
    answer may have, where a task's own number is too few for a model that reasons before it answers.
    """
    from harness.vision_language.family import Family

    registry.no_more_options(spec, "dtype", "template", "device_map", "quantize", "attention", "tokens")
    if not spec.location:
        raise UsageError("vlm needs a model: vlm:HUB_ID or vlm:FOLDER")
    return Family(spec, place)
