"""How an LVLM's questions are computed: packed into trees, or one ``generate`` after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import UsageError
from harness.types import Place, Spec
from harness.vision_language.generate import GenerateDecoder
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.packed.forward import why_not_packed
from harness.vision_language.packed.kv_cache import full_batch
from harness.vision_language.packed.requests import Prompt

WAYS = ("packed", "plain")


def way(model: Any, spec: Spec) -> str:
    """``packed``, or ``plain`` where the spec asks for it, or ``plain: `` and why this model cannot be packed."""
    asked = spec.options.get("inference", "packed")
    if asked not in WAYS:
        raise UsageError(f"?inference={asked}: there is packed (trees of questions) and plain (one by one)")
    if asked == "plain":
        return "plain"
    why = why_not_packed(model)
    return f"plain: {why}" if why else "packed"


def batch(model: Any, spec: Spec, place: Place) -> int:
    """How many images are computed together; 0 where every question is asked by itself."""
    if way(model, spec) == "packed":
        return full_batch(model.device, place.batch_size)
    return int(place.batch_size > 1)


def decoder(
    model: Any, finished: Callable[[Sequence[int], Prompt], bool], spec: Spec, place: Place
) -> PackedDecoder | GenerateDecoder:
    """What answers this model's prompts, the way that suits it."""
    if way(model, spec) == "packed":
        return PackedDecoder(model, finished, place.batch_size)
    return GenerateDecoder(model, finished, max(1, place.batch_size))
