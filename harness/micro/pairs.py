"""True captions of scenes of two things, and false ones of nearly the same words: SugarCrepe, ARO and Winoground."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from harness.micro.classes import CLASSES, COLOURS, POSES, THEMES, article, place
from harness.micro.draw import PIXELS
from harness.micro.scene import SIDE, Scene, Thing

ATTRIBUTES = (("red", "blue"), ("blue", "red"), ("yellow", "purple"), ("purple", "yellow"))
"""The pairs of colours that ARO's attribution asks about here: in both orders, so that the order gives nothing away."""
OFTEN = 25
"""Scenes for each of them: ARO averages over pairs that have as many."""


def duo(key: str, colours: Sequence[str] = ()) -> Scene:
    """A scene of two things that share neither class nor colour, row nor column: one is above, and to one side."""
    rng = Random(f"duo/{key}")
    theme, names = rng.choice(list(THEMES)), rng.sample(CLASSES, 2)
    painted = list(colours) or rng.sample(list(COLOURS), 2)
    rows, columns = rng.sample(range(SIDE), 2), rng.sample(range(SIDE), 2)
    things = (
        Thing(name, colour, POSES.get(name, ("",))[0], SIDE * row + column)
        for name, colour, row, column in zip(names, painted, rows, columns, strict=True)
    )
    return Scene(key, theme, tuple(things))


def turned(scene: Scene, painted: bool) -> Scene:
    """The same two things with their colours exchanged, or each where the other was."""
    one, other = scene.things
    colours, cells = (one.colour, other.colour), (one.cell, other.cell)
    colours, cells = (colours[::-1], cells) if painted else (colours, cells[::-1])
    things = zip((one, other), colours, cells, strict=True)
    made = tuple(Thing(thing.name, colour, thing.pose, cell) for thing, colour, cell in things)
    return Scene(f"{scene.key}/turned", scene.theme, made)


def relation(scene: Scene, across: bool) -> str:
    """Where the first thing stands from the second, along a row or a column."""
    one, other = (thing.cell % SIDE if across else thing.cell // SIDE for thing in scene.things)
    return ("to the left of" if one < other else "to the right of") if across else "above" if one < other else "below"


def _and(*phrases: str) -> str:
    return " and ".join(article(phrase) for phrase in phrases)


def _adds_object(rng: Random, scene: Scene) -> tuple[str, str]:
    one, other = scene.names()
    return _and(one, other), f"{article(one)}, {_and(other, _absent(rng, scene))}"


def _adds_attribute(rng: Random, scene: Scene) -> tuple[str, str]:
    one, other = scene.names()
    return _and(one, other), _and(f"{_colour(rng, scene.things[0])} {one}", other)


def _replaces_object(rng: Random, scene: Scene) -> tuple[str, str]:
    one, other = scene.names()
    return _and(one, other), _and(one, _absent(rng, scene))


def _replaces_attribute(rng: Random, scene: Scene) -> tuple[str, str]:
    one, other = scene.things
    said = _and(f"{one.colour} {one.name}", other.name)
    return said, _and(f"{_colour(rng, one)} {one.name}", other.name)


def _replaces_relation(rng: Random, scene: Scene) -> tuple[str, str]:
    others = [theme for theme in THEMES if theme != scene.theme]
    said = article(scene.names()[0])
    return f"{said} {place(scene.theme)}", f"{said} {place(rng.choice(others))}"


def _swaps_objects(rng: Random, scene: Scene) -> tuple[str, str]:
    one, other = map(article, scene.names())
    where = relation(scene, rng.random() < 0.5)
    return f"{one} {where} {other}", f"{other} {where} {one}"


def _swaps_attributes(rng: Random, scene: Scene) -> tuple[str, str]:
    one, other = scene.things
    return _and(*_coloured(scene)), _and(f"{other.colour} {one.name}", f"{one.colour} {other.name}")


def _coloured(scene: Scene) -> list[str]:
    return [f"{thing.colour} {thing.name}" for thing in scene.things]


def _absent(rng: Random, scene: Scene) -> str:
    return rng.choice([name for name in CLASSES if not scene.number(name)])


def _colour(rng: Random, thing: Thing) -> str:
    """A colour that this thing has not."""
    return rng.choice([colour for colour in COLOURS if colour != thing.colour])


SUGAR_CREPE: Mapping[str, Callable[[Random, Scene], tuple[str, str]]] = {
    "add_obj": _adds_object,
    "add_att": _adds_attribute,
    "replace_obj": _replaces_object,
    "replace_att": _replaces_attribute,
    "replace_rel": _replaces_relation,
    "swap_obj": _swaps_objects,
    "swap_att": _swaps_attributes,
}


def sugar_crepe(scenes: Mapping[str, Scene], category: str) -> dict[str, dict[str, str]]:
    """One category's file: its rows by number, one for each picture."""
    said = [SUGAR_CREPE[category](Random(f"{category}/{scene.key}"), scene) for scene in scenes.values()]
    return {
        str(n): {"filename": name, "caption": true, "negative_caption": false}
        for n, (name, (true, false)) in enumerate(zip(scenes, said, strict=True))
    }


def aro_relation(scenes: Mapping[str, Scene]) -> Iterator[dict[str, Any]]:
    """Rows of ARO's relations: each scene along its columns and along its rows."""
    for name, scene in scenes.items():
        one, other = scene.names()
        for across in (False, True):
            where = relation(scene, across)
            said = (f"the {a} is {where} the {b}" for a, b in ((one, other), (other, one)))
            yield _aro(name, *said) | {"relation_name": where}


def aro_attribution(scenes: Mapping[str, Scene]) -> Iterator[dict[str, Any]]:
    """Rows of ARO's attributes: two colours, each on its own thing and on the other."""
    for name, scene in scenes.items():
        one, other = scene.things
        true = f"the {one.colour} {one.name} and the {other.colour} {other.name}"
        false = f"the {other.colour} {one.name} and the {one.colour} {other.name}"
        yield _aro(name, true, false) | {"attributes": [one.colour, other.colour]}


def _aro(name: str, true: str, false: str) -> dict[str, Any]:
    box = {"bbox_x": 0, "bbox_y": 0, "bbox_w": PIXELS, "bbox_h": PIXELS}
    return {"image_path": name, **box, "true_caption": true, "false_caption": false}


def winoground(number: int, scene: Scene) -> tuple[dict[str, Any], Scene]:
    """An example and the scene of its second picture: colours exchanged in every other one, else places."""
    painted = number % 2 == 0
    names = scene.names()
    where = relation(scene, bool(number // 2 % 2))
    placed = [f"{article(a)} {where} {article(b)}" for a, b in (names, names[::-1])]
    first, second = _swaps_attributes(Random(), scene) if painted else placed
    row = {"id": number, "image_0": f"ex_{number}_img_0", "image_1": f"ex_{number}_img_1"}
    said = {"caption_0": first, "caption_1": second, "collapsed_tag": "Object" if painted else "Relation"}
    return row | said, turned(scene, painted)
