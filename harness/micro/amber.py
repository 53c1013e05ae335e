"""The AMBER files of the micro world: annotations and queries in the official layout and wording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from random import Random
from typing import Any

from harness.micro.classes import CLASSES, COLOURS, NUMBERS, POSES, plural
from harness.micro.scene import Scene, census

Question = tuple[str, str, str]
"""Type, query, truth."""

STATE, NUMBER, ACTION = (f"discriminative-attribute-{kind}" for kind in ("state", "number", "action"))
EXISTENCE, CONTACT, NO_CONTACT = "discriminative-hallucination", "discriminative-relation", "relation"

QUERY_FILES: dict[str, tuple[str, ...]] = {
    "query_all": ("generative", STATE, NUMBER, ACTION, EXISTENCE, CONTACT, NO_CONTACT),
    "query_generative": ("generative",),
    "query_discriminative": (STATE, NUMBER, ACTION, EXISTENCE, CONTACT, NO_CONTACT),
    "query_discriminative-attribute": (STATE, NUMBER, ACTION),
    "query_discriminative-existence": (EXISTENCE,),
    "query_discriminative-relation": (CONTACT, NO_CONTACT),
}


def files(scenes: Sequence[Scene]) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """The annotations, and the queries by file; image n is ``AMBER_n.jpg`` and generative item n."""
    annotations: list[dict[str, Any]] = []
    queries: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        item = {"type": "generative", "truth": list(scene.names()), "hallu": hallucinations(scene)}
        annotations.append({"id": number, **item})
        queries.append({"id": number, "image": f"AMBER_{number}.jpg", "query": "Describe this image."})
    for ask in (attributes, existence, relations):
        for number, scene in enumerate(scenes, 1):
            for kind, query, truth in ask(scene):
                place = len(annotations) + 1
                annotations.append({"id": place, "type": kind, "truth": truth})
                queries.append({"id": place, "image": f"AMBER_{number}.jpg", "query": query})
    kinds = {item["id"]: item["type"] for item in annotations}
    return annotations, {
        name: [query for query in queries if kinds[query["id"]] in wanted] for name, wanted in QUERY_FILES.items()
    }


def hallucinations(scene: Scene, most: int = 5) -> list[str]:
    """The absent classes that go best with what is present: what a model would invent."""
    absent = [name for name in CLASSES if not scene.number(name)]
    return census().likely(scene.names(), absent)[:most]


def attributes(scene: Scene, things: int = 2) -> Iterator[Question]:
    """Colour, number and pose of some objects, each asked once truly and once falsely."""
    rng = Random(f"attributes/{scene.key}")
    names = rng.sample(scene.names(), min(things, len(scene.names())))
    for name in names:
        colour = scene.first(name).colour
        other = rng.choice([c for c in COLOURS if c != colour])
        yield from _both(STATE, f"Is the {name} {{}} in this image?", colour, other)
    counted = max(scene.names(), key=scene.number) if rng.random() < 0.7 else names[0]
    number = scene.number(counted)
    wrong = rng.choice([n for n in range(1, len(NUMBERS) + 1) if n != number])
    for count, truth in ((number, "yes"), (wrong, "no")):
        yield NUMBER, count_query(counted, count), truth
    for name in scene.names():
        if name in POSES:
            pose = scene.first(name).pose
            other = next(p for p in POSES[name] if p != pose)
            yield from _both(ACTION, f"Does the {name} {{}} in this image?", pose, other)


def count_query(name: str, number: int) -> str:
    """The official wording of a question about a number."""
    if number == 1:
        return f"Is there one {name} in this image?"
    return f"Are there {NUMBERS[number - 1]} {plural(name)} in this image?"


def existence(scene: Scene, most: int = 4) -> Iterator[Question]:
    """Likely but absent classes: as in AMBER, the truth is always no."""
    for name in hallucinations(scene, most):
        yield EXISTENCE, f"Is there a {name} in this image?", "no"


def relations(scene: Scene) -> Iterator[Question]:
    """Contact of one pair that touches and of one that is well apart, where the scene has them."""
    rng = Random(f"relations/{scene.key}")
    pairs = list(combinations(scene.names(), 2))
    rng.shuffle(pairs)
    yield from _contact(CONTACT, (pair for pair in pairs if scene.touch(*pair)), "yes")
    yield from _contact(NO_CONTACT, (pair for pair in pairs if scene.apart(*pair)), "no")


def _contact(kind: str, pairs: Iterable[tuple[str, str]], truth: str) -> Iterator[Question]:
    for one, other in list(pairs)[:1]:
        yield kind, f"Is there direct contact between the {one} and {other}?", truth


def _both(kind: str, query: str, right: str, wrong: str) -> Iterator[Question]:
    yield kind, query.format(right), "yes"
    yield kind, query.format(wrong), "no"
