"""Conversations about scenes: what the micro LVLM is taught to say.

A scene is shown as one slot a cell. For an image a slot holds a projected patch; for a scene told in words it holds the
words of its cell. Every turn of a scene is taught on its own: a turn sees the slots and itself, not the other turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from harness.micro.scene import Scene, Thing
from harness.micro.talk import SLOTS, Turn

LENGTH = 128
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %} {% else %}ASSISTANT: {{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


@dataclass(frozen=True)
class Lesson:
    """Scenes' turns as one batch: token ids, where the slots are, targets, positions and who sees whom."""

    ids_BL: Tensor
    labels_BL: Tensor
    positions_BL: Tensor
    mask_B1LL: Tensor
    slots: slice


def lesson(words: PreTrainedTokenizerFast, talks: Sequence[list[Turn]]) -> Lesson:
    """A batch of scenes with their turns side by side after one shared beginning."""
    start = words("USER:")["input_ids"]
    first = len(start) + SLOTS
    begun = start + [words.convert_tokens_to_ids("<image>")] * SLOTS
    queries = words([f"{query} ASSISTANT:" for talk in talks for query, _ in talk], add_special_tokens=False)
    replies = words([answer for talk in talks for _, answer in talk], add_special_tokens=False)
    pairs = iter(zip(queries["input_ids"], replies["input_ids"], strict=True))
    rows = [[next(pairs) for _ in talk] for talk in talks]
    length = first + max(sum(len(q) + len(a) + 1 for q, a in row) for row in rows)
    ids = torch.full((len(rows), length), words.pad_token_id)
    labels, positions = torch.full_like(ids, -100), torch.zeros_like(ids)
    turn = torch.full_like(ids, -1)
    ids[:, :first], turn[:, :first], positions[:, :first] = torch.tensor(begun), 0, torch.arange(first)
    for n, row in enumerate(rows):
        at = first
        for number, (query, reply) in enumerate(row, 1):
            text = [*query, *reply, words.eos_token_id]
            span = slice(at, at + len(text))
            ids[n, span], turn[n, span] = torch.tensor(text), number
            positions[n, span] = torch.arange(first, first + len(text))
            labels[n, at + len(query) : at + len(text)] = ids[n, at + len(query) : at + len(text)]
            at += len(text)
    same = turn[:, :, None] == turn[:, None, :]
    sees = (same | (turn[:, None, :] == 0)) & torch.ones(length, length, dtype=torch.bool).tril()
    return Lesson(ids, labels, positions, sees[:, None], slice(len(start), first))


def told(scene: Scene) -> list[list[str]]:
    """The words of each cell: of its thing, or empty; and the theme in all."""
    held = {thing.cell: thing for thing in scene.things}
    return [[*thing_words(held.get(cell)), scene.theme] for cell in range(SLOTS)]


def thing_words(thing: Thing | None) -> list[str]:
    """The words that tell of a thing."""
    return [word for word in (thing.name, thing.colour, thing.pose) if word] if thing else ["empty"]
