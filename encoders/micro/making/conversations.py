"""Conversations about scenes: what the micro LVLM is taught to say.

A scene is shown as one slot a cell. For an image a slot holds a projected patch; for a scene told in words it holds the
words of its cell. Every turn of a scene is taught on its own: a turn sees the slots and itself, not the other turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from harness.micro.amber import count_query, hallucinations
from harness.micro.classes import CLASSES, COLOURS, NUMBERS, POSES, article
from harness.micro.scene import SIDE, Scene, Thing, census

LENGTH = 128
SLOTS = SIDE * SIDE
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %} {% else %}ASSISTANT: {{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_SUFFIXES = ("", "", "", " Please answer yes or no.", " Answer the question using a single word or phrase.")
_EXISTENCE = ("Is there a {} in this image?", "Is there {} in the image?")

Turn = tuple[str, str]


def caption(scene: Scene) -> str:
    """Every class once, with its colour, in reading order."""
    things = {thing.name: thing for thing in sorted(scene.things, key=lambda thing: thing.cell, reverse=True)}
    ordered = sorted(things.values(), key=lambda thing: thing.cell)
    phrases = [article(f"{thing.colour} {thing.name}") for thing in ordered]
    listed = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return f"there is {listed}."


def cells(scene: Scene) -> str:
    """What each cell holds, in reading order."""
    held = {thing.cell: thing.name for thing in scene.things}
    return " ".join(held.get(cell, "empty") for cell in range(SLOTS))


def turns(scene: Scene, rng: Random, questions: int) -> list[Turn]:
    """A description, the list of cells, and questions with short answers."""
    kinds = [existence] * 4 + [colour, count, touch] + [pose] * 2
    asked = [kind(scene, rng) for kind in (rng.choices(kinds, k=questions))]
    told = [("Describe this image.", caption(scene)), ("What is in each cell?", cells(scene))]
    return told + [(query + rng.choice(_SUFFIXES), answer) for query, answer in asked]


def existence(scene: Scene, rng: Random) -> Turn:
    """Is it there? Half the time it is; absent ones are random, popular or likely."""
    form = rng.choice(_EXISTENCE)
    if rng.random() < 0.5:
        name, answer = rng.choice(scene.names()), "Yes"
    else:
        absent = [n for n in CLASSES if not scene.number(n)]
        likely = rng.choice((absent, census().popular(absent)[:5], hallucinations(scene)))
        name, answer = rng.choice(likely), "No"
    return form.format(name if form.startswith("Is there a ") else article(name)), answer


def colour(scene: Scene, rng: Random) -> Turn:
    """A colour to confirm, or to name."""
    thing = rng.choice(scene.things)
    if rng.random() < 0.3:
        return f"What color is the {thing.name}?", thing.colour
    true = rng.random() < 0.5
    told = thing.colour if true else rng.choice([c for c in COLOURS if c != thing.colour])
    return f"Is the {thing.name} {told} in this image?", "Yes" if true else "No"


def count(scene: Scene, rng: Random) -> Turn:
    """A number to confirm; objects that occur twice are asked more often."""
    many = [name for name in scene.names() if scene.number(name) > 1]
    name = rng.choice(many if many and rng.random() < 0.6 else scene.names())
    true = rng.random() < 0.5
    number = scene.number(name)
    told = number if true else rng.choice([n for n in range(1, len(NUMBERS) + 1) if n != number])
    return count_query(name, told), "Yes" if true else "No"


def touch(scene: Scene, rng: Random) -> Turn:
    """Contact of two classes: as often yes as no where the scene has both."""
    names = scene.names()
    pairs = [(a, b) for a in names for b in names if a != b]
    near, far = [p for p in pairs if scene.touch(*p)], [p for p in pairs if scene.apart(*p)]
    if not near and not far:
        return existence(scene, rng)
    true = bool(near) and (not far or rng.random() < 0.5)
    one, other = rng.choice(near if true else far)
    return f"Is there direct contact between the {one} and {other}?", "Yes" if true else "No"


def pose(scene: Scene, rng: Random) -> Turn:
    """What a thing does, where one does something."""
    posed = [thing for thing in scene.things if thing.pose]
    if not posed:
        return existence(scene, rng)
    thing = rng.choice(posed)
    true = rng.random() < 0.5
    told = thing.pose if true else next(p for p in POSES[thing.name] if p != thing.pose)
    return f"Does the {thing.name} {told} in this image?", "Yes" if true else "No"


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
