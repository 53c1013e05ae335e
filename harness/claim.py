"""A folder that one command at a time fills, and that another command's settings may not go on with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import durable, locks
from harness.errors import DataError, UsageError
from harness.rows import object_of

LOCK = ".lock"


@contextlib.contextmanager
def alone(out: Path, doing: str = "filled") -> Iterator[None]:
    """Holds the folder while this is done to it; UsageError where another command holds it. A killed one lets go."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = locks.taken(out / LOCK)
    except locks.Held as error:
        raise UsageError(f"{out} is being {doing} by another command") from error
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror}") from error
    with lock:
        yield


def claim(path: Path, identity: Mapping[str, Any], what: str = "training") -> None:
    """Notes in this file what its folder is filled with; UsageError where it is something else.

    A folder that was noted and never filled is anybody's. DataError where the note is damaged.
    """
    told, folder = json.loads(json.dumps(identity)), path.parent
    ours = (LOCK, path.name, f".{path.name}")
    if all(there.name.startswith(ours) for there in folder.iterdir()):
        write(path, told)
        return
    if not path.is_file():
        raise UsageError(f"{folder} holds something else than a {what}; give another --out")
    there = noted(path)
    for part, value in told.items():
        if there.get(part) != value:
            raise UsageError(f"{folder} holds a {what} with another {_where(part, there.get(part), value)}")


def noted(path: Path) -> dict[str, Any]:
    """What was noted of a folder; DataError, with what to do, where the file is damaged."""
    try:
        return object_of(path)
    except DataError as error:
        raise DataError(f"{error}; remove {path.parent} or give another --out") from error


def _where(part: str, there: Any, asked: Any) -> str:
    if isinstance(there, list) and isinstance(asked, list) and len(there) == len(asked):
        n = next(n for n, (one, other) in enumerate(zip(there, asked, strict=True)) if one != other)
        return _where(f"{part} {n + 1}", there[n], asked[n])
    if isinstance(there, dict) and isinstance(asked, dict):
        key = next(key for key in {**there, **asked} if there.get(key) != asked.get(key))
        if isinstance(there.get(key), dict):
            return _where(part, there[key], asked.get(key))
        return f"{part}: {key} is {there.get(key)!r} there, {asked.get(key)!r} here; give another --out"
    return f"{part} is another; give another --out"


def write(path: Path, thing: Any) -> None:
    """The object as a JSON file, whole or not at all."""
    durable.replace(path, json.dumps(thing, indent=1, ensure_ascii=False) + "\n")
