"""A prompt as an LVLM reads it: the words around the question, where the picture stands, and the token ids of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import ModelError, UsageError
from harness.vision_language import tokens
from harness.vision_language.tokens import IMAGE

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
NAMES = ("vicuna-v1", "chat")
WRITTEN = "ohd_bench"
"""The entry of a written folder's ``config.json`` that says how its LVLM was asked."""
_LLAVA = {"template": "vicuna-v1", "pad": "pad"}

Render = Callable[[str, bool], str]
"""The prompt in its template; the bool says whether there is a picture."""


@dataclass(frozen=True)
class Template:
    """How a question is put to an LVLM.

    ``render`` writes it; ``ids`` are the token ids of what was written, with the given ids in the picture's place;
    ``way`` says how they are made: ``around`` the picture or ``through`` it.
    """

    render: Render
    ids: Callable[[str, Sequence[int]], list[int]]
    way: str


def asked(options: Mapping[str, str], config: Any) -> dict[str, str]:
    """``template`` and ``pad`` of an LVLM: as its spec says, else its folder, if written here, else as LLaVA-1.5 is."""
    written = getattr(config, WRITTEN, None)
    known = {**_LLAVA, **written} if isinstance(written, dict) else _LLAVA
    return {name: str(options.get(name, known[name])) for name in _LLAVA}


def vicuna_v1(prompt: str, picture: bool) -> str:
    """The conversation that LLaVA-1.5 was trained with and is evaluated with by its authors.

    ``vicuna_v1`` (``v1``) in llava/conversation.py of haotian-liu/LLaVA@c121f04.
    """
    return f"{SYSTEM} USER: {IMAGE + chr(10) if picture else ''}{prompt} ASSISTANT:"


def own_chat(processor: Any) -> Any:
    """The chat template that the model's own folder holds, for its processor or its tokenizer; None where none does."""
    found = getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None) or None
    return found.get("default") if isinstance(found, dict) else found


def named(name: str, processor: Any, image_token: str = IMAGE) -> Template:
    """The template of this name; ``chat`` is the one that the model's own folder holds."""
    tokenizer = processor.tokenizer
    if name == "vicuna-v1":
        return Template(vicuna_v1, lambda text, image: tokens.around(tokenizer, text, image), "around the image")
    if name != "chat":
        raise UsageError(f"no template is called '{name}'; there is {' and '.join(NAMES)}")
    if own_chat(processor) is None:
        raise ModelError("?template=chat: the model's folder holds no chat template; vicuna-v1 needs none")
    return Template(
        chat(processor),
        lambda text, image: tokens.through(tokenizer, text, image, image_token),
        "through the image",
    )


def chat(processor: Any, written: str | None = None) -> Render:
    """A question in this chat template; with none given, in the one that the model's own folder holds."""
    written = written or own_chat(processor)

    def render(prompt: str, picture: bool) -> str:
        asked = talk(prompt, [{"type": "image"}] if picture else [])
        text: str = processor.apply_chat_template(asked, chat_template=written, add_generation_prompt=True)
        return text

    return render


def read(processor: Any, prompt: str, image: Any) -> Any:
    """A question as the model's own processor gives it to the model, in its folder's template, rendered and tokenised.

    In one call: a processor that is given a rendered text adds its special tokens to those that the template wrote.
    """
    pictures = [{"type": "image", "image": image}] if image is not None else []
    return processor.apply_chat_template(
        talk(prompt, pictures),
        chat_template=own_chat(processor),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def talk(prompt: str, pictures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One user's turn: the picture before the words."""
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": prompt}]}]
