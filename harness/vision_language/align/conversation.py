"""A conversation as LLaVA-1.5 trains on it: what is written, its token ids, and the labels of what is to be learnt.

Source: haotian-liu/LLaVA@c121f04, llava/train/train.py (``preprocess_multimodal``, ``preprocess_plain``,
``preprocess_v1``) and llava/mm_utils.py (``tokenizer_image_token``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import DataError, ModelError, UsageError
from harness.vision_language.template import SYSTEM, own_chat
from harness.vision_language.tokens import IMAGE, Token, placed_around, placed_through

IGNORED = -100
"""The label of a token that adds nothing to the loss."""
PLACE = -200
"""Stands among token ids where an image goes, until it is known how many tokens an image has."""
HUMAN, GPT = "human", "gpt"


@dataclass(frozen=True)
class Turn:
    """One thing said: ``who`` is ``human`` or ``gpt``."""

    who: str
    text: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a rendered conversation, and whether it is to be learnt."""

    text: str
    learnt: bool


Form = Callable[[Sequence[Turn]], list[Piece]]
"""How a conversation is written out: a template."""


@dataclass(frozen=True)
class Tokens:
    """Token ids of a conversation, with PLACE where an image goes, and as many labels."""

    ids: list[int]
    labels: list[int]

    def expanded(self, image_id: int, image_tokens: int, limit: int) -> Tokens:
        """The same with this many image ids in each image's place, cut at ``limit`` tokens."""
        ids: list[int] = []
        labels: list[int] = []
        for token, label in zip(self.ids, self.labels, strict=True):
            count = image_tokens if token == PLACE else 1
            ids += [image_id if token == PLACE else token] * count
            labels += [label] * count
        return Tokens(ids[:limit], labels[:limit])


def turns(conversation: Sequence[dict[str, str]]) -> list[Turn]:
    """The turns of a row's ``conversations``; a first one that is not from the human is dropped, as LLaVA does."""
    said = [Turn(one["from"], one["value"]) for one in conversation]
    said = said[1:] if said and said[0].who != HUMAN else said
    for n, turn in enumerate(said):
        if turn.who != (HUMAN, GPT)[n % 2]:
            raise DataError(f"roles out of order: turn {n + 1} is from '{turn.who}', not '{(HUMAN, GPT)[n % 2]}'")
    return [Turn(turn.who, image_first(turn.text)) for turn in said]


def image_first(text: str) -> str:
    """The text with all its image markers taken out and one put in front of it, on a line of its own."""
    if IMAGE not in text:
        return text
    return f"{IMAGE}\n{text.replace(IMAGE, '').strip()}".strip()


def plain(said: Sequence[Turn]) -> list[Piece]:
    """Stage one: the image, then the caption and a newline. The question is thrown away."""
    return [Piece(IMAGE, False), Piece(f"{said[1].text}\n", True)]


def vicuna(system: str = SYSTEM, end: str = "</s>") -> Form:
    """Stage two: a system sentence, ``USER:`` and ``ASSISTANT:``, an end mark after every answer."""

    def form(said: Sequence[Turn]) -> list[Piece]:
        pieces = [Piece(f"{system} ", False)]
        for question, answer in _pairs(said):
            # An empty message is written as its role and a colon alone, as in LLaVA's Conversation.get_prompt.
            pieces.append(Piece(f"USER: {question} " if question else "USER:", False))
            pieces.append(Piece("ASSISTANT:", False))
            pieces.append(Piece(f" {answer}{end}" if answer else "", True))
        return pieces

    return form


def chat(processor: Any) -> Form:
    """The form of the model's own chat template, every answer with the end mark that the model stops at."""
    end, template = processor.tokenizer.eos_token, own_chat(processor)

    def written(talk: list[dict[str, Any]], ask: bool) -> str:
        text: str = processor.apply_chat_template(talk, chat_template=template, add_generation_prompt=ask)
        return text

    def form(said: Sequence[Turn]) -> list[Piece]:
        talk: list[dict[str, Any]] = []
        pieces: list[Piece] = []
        done = ""
        for question, answer in _pairs(said):
            talk.append({"role": "user", "content": _content(question)})
            asked = written(talk, True)
            whole = answered(talk, asked, answer)
            if not asked.startswith(done):
                raise ModelError("the chat template rewrites what was said before, so it cannot be trained on")
            reply = whole[len(asked) :]
            pieces += [Piece(asked[len(done) :], False), Piece(reply if end in reply else reply.rstrip() + end, True)]
            done = whole
        return pieces

    def answered(talk: list[dict[str, Any]], asked: str, answer: str) -> str:
        """The conversation with this answer; templates want it as a text or as a list of parts."""
        for content in ([{"type": "text", "text": answer}], answer):
            told = [*talk, {"role": "assistant", "content": content}]
            whole = written(told, False)
            if whole.startswith(asked) and whole[len(asked) :].strip().removesuffix(end).strip() == answer.strip():
                talk.append(told[-1])
                return whole
        raise ModelError(
            "the chat template writes an answer otherwise than behind its question: it cannot be trained on"
        )

    return form


def _content(question: str) -> list[dict[str, str]]:
    words = {"type": "text", "text": question.replace(f"{IMAGE}\n", "").replace(IMAGE, "")}
    return [{"type": "image"}, words] if IMAGE in question else [words]


def _pairs(said: Sequence[Turn]) -> list[tuple[str, str]]:
    texts = [turn.text for turn in said]
    return list(zip(texts[::2], texts[1::2], strict=False))


@dataclass(frozen=True)
class Writing:
    """How conversations are written and tokenised for training."""

    form: Form
    placed: Callable[[str], list[Token]]

    def tokens(self, said: Sequence[Turn]) -> Tokens:
        """Ids and labels of a conversation.

        An answer is found by its place, not by counting tokens as LLaVA does: so a text that holds ``</s>`` or
        ``ASSISTANT:``, or a vocabulary that LLaVA counts wrongly, does not mask the whole row.
        """
        pieces = self.form(said)
        learnt = _spans(pieces)
        found = self.placed("".join(piece.text for piece in pieces))
        ids = [PLACE if token.id is None else token.id for token in found]
        taught = [token.id is not None and _within(token.start, learnt) for token in found]
        return Tokens(ids, [id if learn else IGNORED for id, learn in zip(ids, taught, strict=True)])


def writing(name: str, processor: Any, image_token: str = IMAGE) -> Writing:
    """The template of this name for training: ``plain``, ``vicuna-v1``, or ``chat``, the model's own."""
    tokenizer = processor.tokenizer
    if name == "chat":
        if own_chat(processor) is None:
            raise ModelError("template=chat: the model's folder holds no chat template; vicuna-v1 needs none")
        return Writing(chat(processor), lambda text: placed_through(tokenizer, text, image_token))
    forms = {"plain": plain, "vicuna-v1": vicuna(end=tokenizer.eos_token or "</s>")}
    if name not in forms:
        raise UsageError(f"no template is called '{name}'; there is {', '.join(forms)} and chat")
    return Writing(forms[name], lambda text: placed_around(tokenizer, text))


def _spans(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    spans, at = [], 0
    for piece in pieces:
        if piece.learnt and piece.text:
            spans.append((at, at + len(piece.text)))
        at += len(piece.text)
    return spans


def _within(place: int | None, spans: Sequence[tuple[int, int]]) -> bool:
    return place is not None and any(start <= place < end for start, end in spans)
