"""What a model is made of on this machine: the files and folders a spec names, and a mark that changes when they do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.types import Spec

FILES = 20_000
"""More files than this are no model's own: a spec that names such a folder is not known again."""
PLACES = 200
"""More places than this are named by no model either."""
NAMING = ("_name_or_path", "_tower")
"""How the fields end that name another model: ``base_model_name_or_path``, ``mm_vision_tower``."""

Mark = list[list[object]] | None
"""Of each file its name, size, times of change in nanoseconds and number on the disk; None where nothing is there."""


class TooMany(Exception):
    """A folder holds more than a model."""


def named(spec: Spec, default: str = "") -> list[Path]:
    """Every place that a spec names, there or not: its location and its options' values, as paths and as hub ids.

    The configurations in them may name other places, and those others again (a LoRA names its base, a LLaVA in its own
    layout its tower): all of them count. TooMany where that comes to more than a model is made of.
    """
    told = [spec.location or default, *spec.options.values()]
    told += [value.partition(":")[2] for value in spec.options.values()]
    found: dict[Path, None] = {}
    left = [place for value in told if value for place in _places(value)]
    while left:
        place = left.pop(0)
        if place in found:  # models may name each other
            continue
        found[place] = None
        if len(found) > PLACES:
            raise TooMany(f"{spec.text} names more than {PLACES} places")
        left += [other for value in _named_inside(place) for other in _places(value)]
    return [*found]


def _places(value: str) -> list[Path]:
    """The path of this name, and the hub's cache of the model of this name."""
    if value.startswith(("/", ".", "~")):
        return [Path(value)]
    from huggingface_hub.constants import HF_HUB_CACHE

    return [Path(value), Path(HF_HUB_CACHE) / f"models--{value.replace('/', '--')}"]


def _named_inside(folder: Path) -> Iterator[str]:
    """What the configurations of this folder name that may be a model elsewhere."""
    for path in sorted(_configurations(folder)):
        try:
            told = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for key, value in told.items() if isinstance(told, dict) else ():
            if _may_name(key, value):
                yield value


def _may_name(key: str, value: Any) -> bool:
    if not (isinstance(value, str) and 0 < len(value) < 300 and value.isprintable()):
        return False
    # A folder beside the command has no "/" in its name; then the field must be one that names a model.
    return "/" in value or key.endswith(NAMING)


def _configurations(folder: Path) -> list[str]:
    try:
        return [path for path in _files(folder) if path.endswith("config.json")] if folder.is_dir() else []
    except (OSError, ValueError):
        return []


def mark(path: Path) -> Mark:
    """What tells that a file, or anything in a folder, was changed since; TooMany where a folder is no model's."""
    try:
        if path.is_dir():
            return [_of_file(one, os.path.relpath(one, path)) for one in _files(path)]
        return [_of_file(path, "")] if path.exists() else None
    except (OSError, ValueError):
        return None


def code(place: Path) -> list[Path]:
    """The Python files in this folder and below it, or this file; TooMany where a folder is no plug-in's."""
    return [Path(one) for one in _files(place) if one.endswith(".py")] if place.is_dir() else [place]


def newest(marks: Iterable[Mark]) -> float:
    """When the last of these files was changed, in seconds."""
    times = [row[2:4] for one in marks for row in one or ()]
    return max((int(str(ns)) for pair in times for ns in pair), default=0) / 1e9


def _files(folder: Path) -> list[str]:
    found: list[str] = []
    for where, folders, names in os.walk(folder):
        folders.sort()
        found += [os.path.join(where, name) for name in sorted(names)]
        if len(found) > FILES:
            raise TooMany(f"{folder} holds more than {FILES} files")
    return found


def _of_file(path: str | Path, name: str) -> list[object]:
    told = os.stat(path)
    # The last change of the entry (ctime) is noted by the system alone: giving a file its old date back cannot hide it.
    return [name, told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino]
