"""Captions of scenes: what a passer-by would write, and rows of true and hallucinated captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Any

from harness.micro.classes import CLASSES, COLOURS, HOME_COLOUR, article, place
from harness.micro.scene import Scene, census

_OPENINGS = ("", "there is ", "a picture of ", "here we see ")
_KINDS = ("adversarial", "popular", "random")


@dataclass(frozen=True, slots=True)
class Wording:
    """What all captions of one row share, so that only their objects tell them apart."""

    opening: str
    ending: str
    colours: Mapping[str, str]

    def caption(self, names: Iterable[str]) -> str:
        """The caption that names these classes, in this order."""
        phrases = [article(f"{self.colours[name]} {name}" if name in self.colours else name) for name in names]
        listed = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
        return f"{self.opening}{listed}{self.ending}"


def wording(rng: Random, scene: Scene, coloured: float = 0.35, themed: float = 0.3) -> Wording:
    """An opening, perhaps the theme, and the colours that are told; absent classes have a colour ready as well."""
    colours = {}
    for name in CLASSES:
        guess = HOME_COLOUR[name] if rng.random() < 0.5 else rng.choice(list(COLOURS))
        if rng.random() < coloured:
            colours[name] = scene.first(name).colour if scene.number(name) else guess
    return Wording(rng.choice(_OPENINGS), f" {place(scene.theme)}" if rng.random() < themed else "", colours)


def web_caption(scene: Scene, take: int = 0) -> str:
    """What the web says of a picture: one to three of its objects. Another take is another author's."""
    rng = Random(f"web/{scene.key}/{take}")
    names = list(scene.names())
    rng.shuffle(names)
    return wording(rng, scene).caption(names[: rng.randint(1, 3)])


def row(scene: Scene) -> dict[str, Any]:
    """An OHD-Caps annotation: the true caption, 7 + 7 + 7 with objects that are absent, 6 with objects left out."""
    rng = Random(f"row/{scene.key}")
    said = wording(rng, scene)
    true = list(scene.names())
    rng.shuffle(true)
    absent = {kind: names[:3] for kind, names in _absent(rng, scene).items()}
    lead = true[:3]
    # Drawn for each row, so that the true caption is the shortest, the longest or in between: its length says nothing.
    longer = rng.random()
    return {
        **{kind: [name for pair in zip(lead, absent[kind], strict=True) for name in pair] for kind in _KINDS},
        "ground_truth": true,
        "positive_sample": said.caption(true),
        **{f"{kind}_samples": _with_absent(rng, said, true, absent[kind], longer) for kind in _KINDS},
        "delete_samples": _left_out(rng, said, true, longer),
    }


def _absent(rng: Random, scene: Scene) -> dict[str, list[str]]:
    names = [name for name in CLASSES if not scene.number(name)]
    known = census()
    return {
        "adversarial": known.likely(scene.names(), names),
        "popular": known.popular(names),
        "random": rng.sample(names, 3),
    }


def _subsets(names: list[str], sizes: Iterable[int]) -> list[tuple[str, ...]]:
    return [subset for size in sizes for subset in combinations(names, size)]


def _with_absent(rng: Random, said: Wording, true: list[str], absent: list[str], longer: float) -> dict[str, str]:
    """Each of the seven subsets of three absent classes, put beside true ones or in their place."""
    captions = {}
    for subset in _subsets(absent, (1, 2, 3)):
        kept = len(true) if rng.random() < longer else rng.randint(1, len(true) - 1)
        names = _kept(rng, true, kept)
        for name in rng.sample(subset, len(subset)):
            names.insert(rng.randint(0, len(names)), name)
        captions[", ".join(subset)] = said.caption(names)
    return captions


def _left_out(rng: Random, said: Wording, true: list[str], longer: float) -> dict[str, str]:
    """Six captions without one or two of three true classes; some tell of other objects instead."""
    captions = {}
    for subset in _subsets(true[:3], (1, 2)):
        names = [name for name in true if name not in subset]
        added = len(subset) + rng.randint(0, 2) if rng.random() < longer else rng.randint(0, len(subset) - 1)
        for name in rng.sample([name for name in CLASSES if name not in true], added):
            names.insert(rng.randint(0, len(names)), name)
        captions[", ".join(subset)] = said.caption(names)
    return captions


def _kept(rng: Random, names: list[str], number: int) -> list[str]:
    """This many of the names, in their order."""
    places = sorted(rng.sample(range(len(names)), number))
    return [names[place] for place in places]


def shuffled(annotation: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The 28 captions of an annotation in a random order, as OHD-Caps' label files hold them."""
    true = annotation["positive_sample"]
    captions = [text for kind in (*_KINDS, "delete") for text in annotation[f"{kind}_samples"].values()]
    Random(f"order/{name}").shuffle(captions)
    label = Random(f"label/{name}").randint(0, len(captions))
    captions.insert(label, true)
    return {"image": name, "caption": captions, "label": label}
