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
    """The new tokens of an answer, and the logits [V] its first token was chosen by."""

    prompt: Prompt
    tokens: tuple[int, ...]
    first: Tensor


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
