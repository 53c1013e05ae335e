"""Find the objects of pictures: from annotations that say them, or from any finder that is registered by name."""

from __future__ import annotations

import importlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.errors import BrokenDataError, UsageError
from harness.images import plain_name
from harness.rows import object_of, rows


@dataclass(frozen=True)
class Found:
    """The objects of each picture by its ``plain_name``, the biggest first, and a wider class of each where known."""

    objects: Mapping[str, Sequence[str]]
    kin: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()
    """Every object that could have been found; those that were, where a finder knows no more."""


class Finder(Protocol):
    """Finds the objects of these pictures; ``location`` is what the user wrote behind the finder's name."""

    def __call__(self, location: str, pictures: Sequence[Path]) -> Found:
        """The objects of every picture, ``()`` where it shows none."""


FINDERS: dict[str, Finder] = {}


def finder(name: str) -> Callable[[Finder], Finder]:
    """Registers a finder under the name that ``--objects NAME:LOCATION`` uses."""

    def add(one: Finder) -> Finder:
        FINDERS[name] = one
        return one

    return add


def find(specs: Iterable[str], pictures: Sequence[Path]) -> Found:
    """What all these finders find together, each ``NAME:LOCATION``; UsageError where there is no such finder."""
    objects: dict[str, list[str]] = defaultdict(list)
    kin: dict[str, str] = {}
    names: dict[str, None] = {}
    importlib.import_module("harness.building.networks")  # which registers its own
    for spec in specs:
        name, _, location = spec.partition(":")
        if name not in FINDERS:
            raise UsageError(f"no object finder is called '{name}'; there is {', '.join(sorted(FINDERS))}")
        found = FINDERS[name](location, pictures)
        kin |= found.kin
        for picture, things in found.objects.items():
            own = objects[plain_name(picture)]
            own += [thing for thing in things if thing not in own]
        names |= dict.fromkeys((*found.names, *(thing for things in found.objects.values() for thing in things)))
    return Found(objects, kin, tuple(names))


@finder("coco")
def coco_instances(location: str, pictures: Sequence[Path]) -> Found:
    """COCO's instances (``instances_*.json``) as ground truth; crowds count. The biggest area first."""
    path = Path(location)
    table = object_of(path)
    try:
        categories = {one["id"]: one for one in table["categories"]}
        names = {one["id"]: str(one["file_name"]) for one in table["images"]}
        areas: dict[str, dict[str, float]] = {name: {} for name in names.values()}
        for one in table["annotations"]:
            thing = str(categories[one["category_id"]]["name"])
            mine = areas[names[one["image_id"]]]
            mine[thing] = mine.get(thing, 0.0) + float(one.get("area", 0))
        kin = {str(one["name"]): str(one.get("supercategory", "")) for one in categories.values()}
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenDataError(f"{path} is not COCO's instances file: {type(error).__name__} {error}") from error
    wanted = {plain_name(picture.name) for picture in pictures}
    objects = {
        name: sorted(things, key=lambda thing: -things[thing])
        for name, things in areas.items()
        if plain_name(name) in wanted
    }
    return Found(objects, kin, tuple(kin))


@finder("truth")
def listed_truth(location: str, pictures: Sequence[Path]) -> Found:
    """Rows that say it: ``image`` and ``objects``, or OHD-Caps annotations (``file_path`` and ``ground_truth``)."""
    wanted = {plain_name(picture.name) for picture in pictures}
    objects = {}
    for row in rows(Path(location)):
        name = plain_name(row.file_name("image" if row.has("image") else "file_path"))
        if name in wanted:
            objects[name] = list(dict.fromkeys(row.texts("objects" if row.has("objects") else "ground_truth")))
    return Found(objects)


@finder("micro")
def micro_truth(location: str, pictures: Sequence[Path]) -> Found:
    """The micro world's own truth of its pictures, whatever split they are of; all its classes are known."""
    from harness.data import micro
    from harness.micro.classes import CLASSES

    found: dict[str, Sequence[str]] = {}
    for path in sorted((micro() / "ohd_caps").glob("*/*_annotations.json")):
        found |= listed_truth(str(path), pictures).objects
    return Found(found, names=CLASSES)


def captions(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Captions of each picture by ``plain_name``: COCO's captions, rows of image and caption(s), OHD annotations."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for name, texts in _captions(path):
            found[plain_name(name)] += [said for text in texts if (said := " ".join(text.split()))]
    return found


def _captions(path: Path) -> Iterable[tuple[str, list[str]]]:
    every = rows(path)
    if len(every) == 1 and every[0].has("annotations"):
        table: Mapping[str, Any] = every[0].fields
        try:
            names = {one["id"]: str(one["file_name"]) for one in table["images"]}
            yield from ((names[one["image_id"]], [str(one["caption"])]) for one in table["annotations"])
        except (KeyError, TypeError) as error:
            raise BrokenDataError(f"{path} is not COCO's captions file: {json.dumps(str(error))}") from error
        return
    for row in every:
        if row.has("positive_sample"):
            yield row.file_name("file_path"), [row.text("positive_sample")]
        else:
            key = "captions" if row.has("captions") else "caption"
            several = isinstance(row.given(key), list)
            yield row.file_name("image"), row.texts(key) if several else [row.text(key)]
