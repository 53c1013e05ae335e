"""Token ids of a prompt, around the picture as LLaVA makes them or through it as hub processors do; and their words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness import traces
from harness.errors import ModelError

IMAGE = "<image>"
NOT_ITS_PICTURE = "the question's text holds {}, which stands for a picture that it is not asked about; leave it out"


def require_known(tokenizer: Any, rows: int, whose: str) -> None:
    """ModelError where a tokenizer gives ids that the language model has no row for."""
    ids = [tokenizer.bos_token_id, tokenizer.unk_token_id, *tokenizer("a dog")["input_ids"]]
    if max(id or 0 for id in ids) >= rows:
        raise ModelError(
            f"{whose}: its tokenizer gives the id {max(id or 0 for id in ids)} and its language model knows {rows}: "
            "they are of two models"
        )


def around(tokenizer: Any, text: str, image: Sequence[int]) -> list[int]:
    """Ids of a prompt whose parts before, between and after ``<image>`` are each tokenised alone.

    ``image`` are the ids that stand in the place of each ``<image>``. Every part brings its own start token, which is
    kept before the first part only. So reads LLaVA, in training and when it is evaluated: ``tokenizer_image_token`` in
    llava/mm_utils.py of haotian-liu/LLaVA@c121f04.
    """
    return [id for token in placed_around(tokenizer, text) for id in (image if token.id is None else (token.id,))]


class Token(NamedTuple):
    """A token of a text: its id, and the character it begins at. The image has no id, a start token no character."""

    id: int | None
    start: int | None


def placed_around(tokenizer: Any, text: str) -> list[Token]:
    """The tokens of a text whose parts are tokenised as in ``around``, each with the character it begins at."""
    found: list[Token] = []
    at = 0
    for n, part in enumerate(text.split(IMAGE)):
        read = _alone(tokenizer, part)
        started = bool(read) and read[0].id == tokenizer.bos_token_id
        if n:
            found.append(Token(None, at))
            at += len(IMAGE)
        if started and not n:
            found.append(Token(read[0].id, None))
        found += [Token(token.id, at + (token.start or 0)) for token in read[started:]]
        at += len(part)
    return found


def placed_through(tokenizer: Any, text: str, image_token: str) -> list[Token]:
    """The tokens of a text tokenised as in ``through``, each with the character of ``text`` that it begins at."""
    marked = text.replace(IMAGE, image_token)
    longer = len(image_token) - len(IMAGE)
    place = tokenizer.convert_tokens_to_ids(image_token)
    begun = bool(tokenizer.bos_token) and marked.startswith(tokenizer.bos_token)
    read = tokenizer(marked, add_special_tokens=not begun, return_offsets_mapping=True)
    found: list[Token] = []
    images = 0
    for n, (id, (start, _)) in enumerate(zip(read["input_ids"], read["offset_mapping"], strict=True)):
        if n == 0 and id == tokenizer.bos_token_id:
            found.append(Token(id, None))
        else:
            found.append(Token(None if id == place else id, start - images * longer))
        images += id == place
    return found


def through(tokenizer: Any, text: str, image: Sequence[int], image_token: str) -> list[int]:
    """Ids of a prompt tokenised in one pass, with ``image`` where its image token stands.

    A text that begins with the start token gets no second one, as in ``ProcessorMixin.apply_chat_template`` of
    huggingface/transformers 5.17.0.
    """
    found = placed_through(tokenizer, text, image_token)
    return [id for token in found for id in (image if token.id is None else (token.id,))]


def spoken(tokenizer: Any, ids: Sequence[int]) -> str:
    """The words of new tokens: special tokens are left out, the marks of a reasoning trace are not."""
    added = tokenizer.added_tokens_decoder.items()
    special = {*tokenizer.all_special_ids, *(id for id, token in added if token.special)}
    marks = {id for id in special.intersection(ids) if traces.is_mark(tokenizer.convert_ids_to_tokens(id))}
    words: str = tokenizer.decode([id for id in ids if id in marks or id not in special], skip_special_tokens=False)
    return words.strip()


def _alone(tokenizer: Any, part: str) -> list[Token]:
    """The tokens of one part, its own start token included, as sentencepiece gives them.

    sentencepiece puts a space before every text, one that begins with a space included; the tokenizers that
    transformers 5 builds leave such a text as it is.
    """
    moved = int(part.startswith(" ") and tokenizer(" x")["input_ids"] == tokenizer("x")["input_ids"])
    read = tokenizer(" " * moved + part, return_offsets_mapping=True)
    places = (max(0, start - moved) for start, _ in read["offset_mapping"])
    return [Token(id, start) for id, start in zip(read["input_ids"], places, strict=True)]
