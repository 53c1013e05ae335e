"""Find the runs that a results folder keeps: all of them, those that cannot be read, and the one that is meant."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from harness.console import say
from harness.errors import OhdBenchError, UsageError
from harness.store import Run

SHARDS = "shards"
"""The folder of a run in which its shards lie until they are read back."""
_SHOWN = 6
"""So many runs are named to one who names none of them."""


def runs(results: Path) -> list[Run]:
    """Every run below a results folder whose manifest can be read, by name."""
    return [run for run in _folders(results) if not fault(run.manifest)]


def require_folder(results: Path) -> None:
    """UsageError where what somebody names as a folder of runs is none."""
    if not results.is_dir():
        raise UsageError(f"{results} is not a folder of runs; 'ohd-bench run' makes one")


def odd(results: Path) -> dict[str, str]:
    """What is wrong with every other one, by name."""
    return {run.id: why for run in _folders(results) if (why := fault(run.manifest))}


def _folders(results: Path) -> list[Run]:
    return [Run(path.parent) for path in sorted(results.glob("*/run.json"))]


def fault(read: Callable[[], object]) -> str:
    """What is wrong with what this reads; nothing where it can be read."""
    try:
        read()
    except OhdBenchError as error:
        return str(error)
    return ""


def slug(text: str) -> str:
    """A file name made of a spec: letters, digits, dots, dashes and ``=``; of a path or hub id the last part."""
    head, _, query = text.partition("?")
    name, _, location = head.partition(":")
    named = [f"{key}={_last(value)}" for key, value in parse_qsl(query)]
    parts = [name, *([_last(location)] if location else []), *named]
    return re.sub(r"[^A-Za-z0-9.=-]+", "-", "-".join(parts)).strip("-.")[:100] or "model"


def _last(path: str) -> str:
    return path.rstrip("/").split("/")[-1]


def say_shards(run: Run) -> None:
    """A remark where this run's shards hold answers that it does not have yet."""
    if any(run.folder.glob(f"{SHARDS}/*/run.json")):
        say(
            f"{run.id} has shards whose answers are not counted yet: "
            f"ohd-bench merge {run.id} --results {shlex.quote(str(run.folder.parent))}"
        )


def pick(results: Path, name: str) -> Run:
    """The run of this name, or the only one whose name begins so, controls aside; UsageError names the nearest."""
    require_folder(results)
    every = runs(results)
    found = begun_so(every, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"'{name}' could be {', '.join(run.id for run in found)}")
    for id, why in odd(results).items():
        if id.startswith(name):
            raise UsageError(why)
    raise UsageError(f"{results} holds no run '{name}'; there is {_near(name, [run.id for run in every])}")


def begun_so(every: Sequence[Run], name: str) -> list[Run]:
    """The run of this name, or all whose names begin so; no controls where there are others."""
    found = [run for run in every if run.id == name] or [run for run in every if run.id.startswith(name)]
    if len(found) > 1:
        found = [run for run in found if run.manifest().get("control", "none") == "none"] or found
    return found


def _near(name: str, ids: list[str]) -> str:
    """The names a person may have meant: those that begin most like theirs, and how many more there are."""
    by_start = sorted(ids, key=lambda id: -difflib.SequenceMatcher(None, name, id[: len(name)]).ratio())
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(by_start[:_SHOWN]) + more or "none yet"
