"""What the packed decoder is asked, what it says, and how much work that was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.vision_language.packed.prefix_tree import Tokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question as token ids (the image's included), the most new tokens, and the caller's own key for it."""

    key: Any
    tokens: Tokens
    limit: int
    until: str = ""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One image as the tower reads it ([C, H, W], or None), and what is asked of it."""

    pixels: Tensor | None
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """The new tokens of an answer, the logits [V] its first token was chosen by, and what was read of them."""

    prompt: Prompt
    tokens: tuple[int, ...]
    first: Tensor
    read: Any = None


@dataclass(slots=True)
class WorkCounts:
    """What was computed, for gates that do not depend on a clock."""

    images: int = 0
    vision_calls: int = 0
    prefills: int = 0
    prompt_tokens: int = 0
    steps: int = 0
    step_tokens: int = 0
    halvings: int = 0
    padded_tokens: int = 0
    """Tokens that went through the language model because a row was shorter than the longest of its call."""
    waits: int = 0
    """How often the host waited for the device."""
    copied_bytes: int = 0
    """Bytes of ids, places and masks that went to the device."""
    growths: int = 0
    columns: int = 0
    """The most columns that were laid out for a row."""
