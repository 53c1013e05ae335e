"""Scenes of the micro world: what stands where, and what a census of many scenes says about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from random import Random

from harness.micro.classes import CLASSES, COLOURS, HOME_COLOUR, POSES, THEME_WEIGHTS, THEMES

SIDE = 4
"""A scene is a grid of SIDE x SIDE cells."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object in one cell."""

    name: str
    colour: str
    pose: str
    cell: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A theme, the things in it, and the key from which its drawing takes jitter, clutter and noise."""

    key: str
    theme: str
    things: tuple[Thing, ...]

    def names(self) -> tuple[str, ...]:
        """The classes present, each once."""
        return tuple(dict.fromkeys(thing.name for thing in self.things))

    def number(self, name: str) -> int:
        """How many objects of this class there are."""
        return sum(thing.name == name for thing in self.things)

    def first(self, name: str) -> Thing:
        """An object of this class (all of one class look alike)."""
        return next(thing for thing in self.things if thing.name == name)

    def touch(self, one: str, other: str) -> bool:
        """Whether any two objects of these classes stand in cells that share a side: that is contact here."""
        return any(distance(a.cell, b.cell) == 1 for a, b in self._pairs(one, other))

    def apart(self, one: str, other: str) -> bool:
        """Whether no two objects of these classes come near each other, corners included."""
        return all(distance(a.cell, b.cell) > 2 for a, b in self._pairs(one, other))

    def _pairs(self, one: str, other: str) -> list[tuple[Thing, Thing]]:
        return [(a, b) for a in self.things if a.name == one for b in self.things if b.name == other]


@dataclass(frozen=True, slots=True)
class Mix:
    """How scenes are drawn at random: classes per scene, share from the theme, share with a doubled object."""

    least: int = 1
    most: int = 5
    at_home: float = 0.8
    doubled: float = 0.25
    even_themes: bool = False


def distance(one: int, other: int) -> int:
    """Steps between two cells along the grid."""
    return abs(one // SIDE - other // SIDE) + abs(one % SIDE - other % SIDE)


def scene(key: str, mix: Mix) -> Scene:
    """The scene of this key: the same key and mix give the same scene."""
    rng = Random(f"micro/{key}")
    weights = None if mix.even_themes else list(THEME_WEIGHTS.values())
    theme = rng.choices(list(THEME_WEIGHTS), weights)[0]
    wanted = min(rng.randint(mix.least, mix.most), SIDE * SIDE)
    names: list[str] = []
    while len(names) < wanted:
        name = _name(rng, theme, mix.at_home)
        if name not in names:
            names.append(name)
    copies = [1] * len(names)
    if rng.random() < mix.doubled:
        copies[rng.randrange(len(names))] = rng.choice((2, 2, 3))
    cells = rng.sample(range(SIDE * SIDE), sum(copies))
    things = []
    for name, number in zip(names, copies, strict=True):
        colour = HOME_COLOUR[name] if rng.random() < 0.5 else rng.choice(list(COLOURS))
        pose = rng.choice(POSES[name]) if name in POSES else ""
        things += [Thing(name, colour, pose, cells.pop()) for _ in range(number)]
    return Scene(key, theme, tuple(things))


def _name(rng: Random, theme: str, at_home: float) -> str:
    pool = THEMES[theme] if rng.random() < at_home else CLASSES
    return rng.choices(pool, [1 / (rank + 1) for rank in range(len(pool))])[0]


@dataclass(frozen=True, slots=True)
class Census:
    """How often each class is seen, and how often each pair of classes is seen together."""

    seen: Mapping[str, int]
    together: Mapping[tuple[str, str], int]

    def popular(self, absent: Iterable[str]) -> list[str]:
        """These classes, the commonest of all first."""
        return sorted(absent, key=lambda name: (-self.seen[name], name))

    def likely(self, present: Iterable[str], absent: Iterable[str]) -> list[str]:
        """These classes, those that go best with what is present first."""
        here = tuple(present)

        def rate(name: str) -> float:
            return sum(self.together[name, other] for other in here) / self.seen[name]

        return sorted(absent, key=lambda name: (-rate(name), name))


@lru_cache(maxsize=1)
def census(scenes: int = 4000) -> Census:
    """Counts over scenes of the common mix, none of which is ever drawn."""
    seen: Counter[str] = Counter({name: 1 for name in CLASSES})
    together: Counter[tuple[str, str]] = Counter()
    for number in range(scenes):
        names = scene(f"census/{number}", Mix()).names()
        seen.update(names)
        for one, other in combinations(names, 2):
            together[one, other] += 1
            together[other, one] += 1
    return Census(seen, together)
