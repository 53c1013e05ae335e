"""What a model is made of on this machine: the files and folders a spec names, and a mark that changes when they do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.types import Spec

FILES = 20_000
"""More files than this are no model's own: a spec that names such a folder is not known again."""

Mark = list[list[object]] | None
"""Of each file its name, size, times of change in nanoseconds and number on the disk; None where nothing is there."""


class TooMany(Exception):
    """A folder holds more than a model."""


def named(spec: Spec, default: str = "") -> list[Path]:
    """Every place that a spec names, there or not: its location and its options' values, as paths and as hub ids.

    The configurations in them may name other places, which count as well (the base of a LoRA, LLaVA's tower).
    """
    told = [spec.location or default, *spec.options.values()]
    told += [value.partition(":")[2] for value in spec.options.values()]
    first = [place for value in told if value for place in _places(value)]
    return [*first, *(place for one in first for value in _named_inside(one) for place in _places(value))]


def _places(value: str) -> list[Path]:
    """The path of this name, and the hub's cache of the model of this name."""
    if "/" not in value or value.startswith(("/", ".", "~")):
        return [Path(value)]
    from huggingface_hub.constants import HF_HUB_CACHE

    return [Path(value), Path(HF_HUB_CACHE) / f"models--{value.replace('/', '--')}"]


def _named_inside(folder: Path) -> Iterator[str]:
    """What the configurations of this folder name that may be a model elsewhere."""
    for path in sorted(folder.glob("**/*config.json")) if folder.is_dir() else ():
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for value in told.values() if isinstance(told, dict) else ():
            if isinstance(value, str) and 0 < len(value) < 300 and "/" in value and value.isprintable():
                yield value


def mark(path: Path) -> Mark:
    """What tells that a file, or anything in a folder, was changed since; TooMany where a folder is no model's."""
    try:
        if path.is_dir():
            return [_of_file(one, os.path.relpath(one, path)) for one in _files(path)]
        return [_of_file(path, "")] if path.exists() else None
    except (OSError, ValueError):
        return None


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
