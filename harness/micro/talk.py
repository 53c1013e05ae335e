"""Conversations about scenes of the micro world, in LLaVA's format: what a micro LVLM is taught to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from harness.micro.amber import count_query, hallucinations
from harness.micro.classes import CLASSES, COLOURS, NUMBERS, POSES, article
from harness.micro.draw import draw
from harness.micro.scene import SIDE, Mix, Scene, census, scene

VERSION = "2"
"""Changes whenever a row or a pixel does: part of the key of its cache."""
SCENES = 3000
QUESTIONS = 3
SLOTS = SIDE * SIDE
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


def write(folder: Path, scenes: int = SCENES) -> None:
    """``conversations.json`` and its pictures: the same to the byte wherever it is written."""
    (folder / "images").mkdir(parents=True)
    drawn = [(f"images/{n}.png", scene(f"alignment/{n}", Mix())) for n in range(scenes)]
    for name, item in drawn:
        draw(item).save(folder / name, compress_level=1)
    rows = json.dumps(list(conversations(drawn)), indent=0)
    (folder / "conversations.json").write_text(rows + "\n", encoding="utf-8")


def conversations(drawn: list[tuple[str, Scene]]) -> Iterator[dict[str, Any]]:
    """For each picture a row a turn: the language model was taught turn by turn."""
    rng = Random("alignment")
    for name, item in drawn:
        for n, turn in enumerate(turns(item, rng, QUESTIONS)):
            yield row(name, f"{name}/{n}", [turn])


def row(image: str, name: str, said: list[Turn]) -> dict[str, Any]:
    """A row as LLaVA's JSON has it."""
    talk = []
    for n, (question, answer) in enumerate(said):
        talk.append({"from": "human", "value": question if n else f"<image>\n{question}"})
        talk.append({"from": "gpt", "value": answer})
    return {"id": name, "image": image, "conversations": talk}
