"""A prompt as an LVLM reads it: the words around the question, and where the picture stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import ModelError, UsageError

IMAGE = "<image>"
SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
NAMES = ("vicuna-v1", "chat")

Render = Callable[[str, bool], str]
"""The prompt in its template; the bool says whether there is a picture."""


def vicuna_v1(prompt: str, picture: bool) -> str:
    """The conversation format that LLaVA-1.5 was trained with."""
    return f"{SYSTEM} USER: {IMAGE + chr(10) if picture else ''}{prompt} ASSISTANT:"


def has_chat(processor: Any) -> bool:
    """Whether the model's own folder holds a chat template."""
    return bool(getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None))


def named(name: str, processor: Any) -> Render:
    """The template of this name; ``chat`` is the one that the model's own folder holds."""
    if name == "vicuna-v1":
        return vicuna_v1
    if name != "chat":
        raise UsageError(f"no template is called '{name}'; there is {' and '.join(NAMES)}")
    if not has_chat(processor):
        raise ModelError("?template=chat: the model's folder holds no chat template; vicuna-v1 needs none")

    def chat(prompt: str, picture: bool) -> str:
        content = [{"type": "image"}] if picture else []
        content.append({"type": "text", "text": prompt})
        talk = [{"role": "user", "content": content}]
        text: str = processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
        return text

    return chat
