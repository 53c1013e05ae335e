"""Token ids of a rendered prompt: around the picture, as LLaVA makes them, or through it, as hub processors do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

IMAGE = "<image>"


def around(tokenizer: Any, text: str, image: Sequence[int]) -> list[int]:
    """Ids of a prompt whose parts before, between and after ``<image>`` are each tokenised alone.

    ``image`` are the ids that stand in the place of each ``<image>``. Every part brings its own start token, which is
    kept before the first part only. So reads LLaVA, in training and when it is evaluated: ``tokenizer_image_token`` in
    llava/mm_utils.py of haotian-liu/LLaVA@c121f04.
    """
    first, *others = (_alone(tokenizer, part) for part in text.split(IMAGE))
    started = first[:1] == [tokenizer.bos_token_id]
    ids = list(first)
    for part in others:
        ids += [*image, *part[started:]]
    return ids


def through(tokenizer: Any, text: str, image: Sequence[int], image_token: str) -> list[int]:
    """Ids of a prompt tokenised in one pass, with ``image`` where its image token stands.

    A text that begins with the start token gets no second one, as in ``ProcessorMixin.apply_chat_template`` of
    huggingface/transformers 5.17.0.
    """
    marked = text.replace(IMAGE, image_token)
    begun = bool(tokenizer.bos_token) and marked.startswith(tokenizer.bos_token)
    ids = tokenizer(marked, add_special_tokens=not begun)["input_ids"]
    place = tokenizer.convert_tokens_to_ids(image_token)
    return [id for token in ids for id in (image if token == place else (token,))]


def _alone(tokenizer: Any, part: str) -> list[int]:
    """Ids of one part, its own start token included, as sentencepiece gives them.

    sentencepiece puts a space before every text, one that begins with a space included; the tokenizers that
    transformers 5 builds leave such a text as it is.
    """
    if part.startswith(" ") and tokenizer(" x")["input_ids"] == tokenizer("x")["input_ids"]:
        part = " " + part
    return list(tokenizer(part)["input_ids"])
