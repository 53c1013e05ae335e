"""Questions about scenes in the manner of DASH-B, MME, HallusionBench, RePOPE and MMHal-Bench."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from random import Random
from typing import Any

from harness.micro.amber import count_query
from harness.micro.classes import CLASSES, COLOURS, HOME_COLOUR, NUMBERS, POSES, article
from harness.micro.draw import GROUNDS
from harness.micro.pairs import relation
from harness.micro.scene import SIDE, Scene, Thing, census

DASH_POOL = 300
"""Scenes among which the search for misleading pictures looks."""
NEAR = 70.0
"""Colours (of 0 to 255 in red, green and blue) no further apart than this are hard to tell."""


def misleading(name: str, pool: Sequence[Scene], number: int) -> list[Scene]:
    """The scenes without this class in which one would expect it most: what goes with it is there."""
    known = census()

    def expected(scene: Scene) -> float:
        return sum(known.together[name, other] / known.seen[other] for other in scene.names())

    absent = [scene for scene in pool if not scene.number(name)]
    return sorted(absent, key=lambda scene: (-expected(scene), scene.key))[:number]


def showing(name: str, pool: Sequence[Scene], number: int) -> list[Scene]:
    """The first scenes of the pool with this class."""
    return [scene for scene in pool if scene.number(name)][:number]


MmeQuestions = tuple[tuple[str, str], tuple[str, str]]
"""Two questions on a picture, the first to be answered Yes, the second No."""


def mme(category: str, scene: Scene) -> MmeQuestions:
    """MME's two questions of one of these categories about a scene (of two things, if of their places)."""
    yes, no = (f"{asked} Please answer yes or no." for asked in MME[category](Random(f"{category}/{scene.key}"), scene))
    return (yes, "Yes"), (no, "No")


def _existence(rng: Random, scene: Scene) -> tuple[str, str]:
    absent = rng.choice([name for name in CLASSES if not scene.number(name)])
    there, not_there = (f"Is there {article(name)} in this image?" for name in (scene.names()[0], absent))
    return there, not_there


def _count(rng: Random, scene: Scene) -> tuple[str, str]:
    name = max(scene.names(), key=scene.number)
    number = scene.number(name)
    wrong = rng.choice([n for n in range(1, len(NUMBERS) + 1) if n != number])
    return count_query(name, number), count_query(name, wrong)


def _position(rng: Random, scene: Scene) -> tuple[str, str]:
    (one, other), where = scene.names(), relation(scene, rng.random() < 0.5)
    return f"Is the {one} {where} the {other}?", f"Is the {other} {where} the {one}?"


def _color(rng: Random, scene: Scene) -> tuple[str, str]:
    one = scene.things[0]
    wrong = rng.choice([colour for colour in COLOURS if colour != one.colour])
    return f"Is the {one.name} {one.colour} in this image?", f"Is the {one.name} {wrong} in this image?"


MME: Mapping[str, Callable[[Random, Scene], tuple[str, str]]] = {
    "existence": _existence,
    "count": _count,
    "position": _position,
    "color": _color,
}
"""The categories of MME that a drawn scene has; scenes hold no posters, landmarks, text or sums."""


def hallusion(number: int, key: str) -> tuple[list[dict[str, Any]], dict[str, Scene]]:
    """Two sets of HallusionBench: one whose figure may be gone (VS), one with a changed figure (VD).

    What is asked without its figure is what holds of most scenes: the colour at home with a class.
    """
    name, other = Random(f"hallusion/{key}").sample(CLASSES, 2)
    usual = HOME_COLOUR[name]
    odd = Random(f"hallusion/odd/{key}").choice([colour for colour in COLOURS if colour != usual])
    theme = Random(f"hallusion/theme/{key}").choice(list(GROUNDS))
    colours = [f"Is the {name} {colour} in this image?" for colour in (usual, odd)]
    there = [f"Is there {article(one)} in this image?" for one in (name, other)]
    figures = {
        "VS/colour/1": _alone(f"{key}/1", theme, name, usual),
        "VS/colour/2": _alone(f"{key}/2", theme, name, odd),
        "VD/figure/0": _alone(f"{key}/3", theme, name, usual),
        "VD/figure/1": _alone(f"{key}/4", theme, other, HOME_COLOUR[other]),
    }
    rows = [
        _row("VS", number, figure, asked, colours, figure == 2) for figure, asked in product(range(3), range(2))
    ] + [_row("VD", number, figure, asked, there, figure == 1) for figure, asked in product(range(2), range(2))]
    return rows, {_figure(place, number): scene for place, scene in figures.items()}


def _alone(key: str, theme: str, name: str, colour: str) -> Scene:
    cell = Random(f"hallusion/cell/{key}").randrange(SIDE * SIDE)
    return Scene(key, theme, (Thing(name, colour, POSES.get(name, ("",))[0], cell),))


def _figure(place: str, number: int) -> str:
    group, _, figure = place.rpartition("/")
    return f"{group}/{number}_{figure}.png"


def _row(category: str, number: int, figure: int, asked: int, texts: Sequence[str], changed: bool) -> dict[str, Any]:
    """The first question is right of the figure as it was, the second of the figure that was changed."""
    subcategory = "colour" if category == "VS" else "figure"
    pictured = category == "VD" or figure > 0
    return {
        "category": category,
        "subcategory": subcategory,
        "visual_input": str(int(pictured)),
        "set_id": str(number),
        "figure_id": str(figure),
        "sample_note": "micro",
        "question_id": str(asked),
        "question": texts[asked],
        "gt_answer_details": "",
        "gt_answer": str(int(asked == int(changed))),
        "filename": f"./{_figure(f'{category}/{subcategory}/{figure}', number)}" if pictured else None,
    }


def open_ended(name: str, scene: Scene) -> dict[str, Any]:
    """A row of MMHal-Bench, to be answered in words; the picture's address holds its name."""
    things = [article(f"{thing.colour} {thing.name}") for thing in dict((t.name, t) for t in scene.things).values()]
    return {
        "question_type": "holistic",
        "question_topic": scene.theme,
        "image_id": name.partition(".")[0],
        "image_src": f"images/{name}",
        "image_content": list(scene.names()),
        "question": "Describe this image.",
        "gt_answer": f"There is {', '.join(things)}.",
        "model_answer": "",
    }


def clear(scene: Scene, row: Mapping[str, Any]) -> bool:
    """Whether a POPE row can be answered at a look: not where what it asks about has its background's colour."""
    asked = [thing for thing in scene.things if f" {thing.name} " in row["text"]]
    return all(_apart(COLOURS[thing.colour], ground) > NEAR for thing in asked for ground in GROUNDS[scene.theme])


def _apart(one: Sequence[int], other: Sequence[int]) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5)
