"""Greedy decoding and nothing else, whatever a checkpoint's ``generation_config.json`` asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import GenerationConfig

_KEPT = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@contextmanager
def greedily(model: Any) -> Iterator[None]:
    """While this is open, ``generate`` knows of the model's own settings only which tokens begin and end a text.

    ``generate`` fills what a call leaves open from the model: a repetition penalty (Qwen2.5-VL), beams, a shortest
    length. They are part of no prompt and would make other answers than the likeliest ones.
    """
    told = {part: part.generation_config for part in model.modules() if _has_settings(part)}
    try:
        for part, settings in told.items():
            part.generation_config = GenerationConfig(**{name: getattr(settings, name) for name in _KEPT})
        yield
    finally:
        for part, settings in told.items():
            part.generation_config = settings


def _has_settings(part: Any) -> bool:
    return isinstance(getattr(part, "generation_config", None), GenerationConfig)
