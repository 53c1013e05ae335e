"""What the cache folder holds, by kind: how much of what, and cleared where that is asked for."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data import cache_dir
from harness.errors import UsageError

MOST = {"OHD_BENCH_MERGED": 50.0, "OHD_BENCH_PIXELS": 20.0}
"""Gigabytes that are kept at most of two kinds, where these variables of the environment say nothing else."""
KINDS = {
    "classifiers": "zero-shot classifiers, by encoder and captions",
    "estimates": "what runs were estimated to cost",
    "features": "image features, by encoder and batch",
    "merged": "LLaVAs with a tower merged in, for vLLM to serve (OHD_BENCH_MERGED, in GB, is the most; 50)",
    "micro": "the bundled micro world",
    "models": "what models were found to be when they were last loaded",
    "objects": "what networks saw in pictures that rows were built for",
    "pixels": "pictures resized for a tower, by the picture's digest (OHD_BENCH_PIXELS, in GB, is the most; 20)",
    "records": "records files as columns, their seals checked",
    "shown": "small copies of pictures that `show sample` named",
    "tagged-words.sqlite": "captions tagged for AMBER's and CHAIR's counting",
    "shipped": "models that a cluster's other machines sent here, by digest",
    "text-only": "what a reader of the captions alone scores",
}
"""All of it is made again when it is needed. What else lies in the folder is not ohd-bench's, and never touched."""


def most_bytes(variable: str) -> float:
    """The most bytes to keep, by this variable of ``MOST``; UsageError where it holds no number."""
    told = os.environ.get(variable) or MOST[variable]
    try:
        return max(0.0, float(told)) * 1e9
    except ValueError as error:
        raise UsageError(f"{variable}={told} is no number of gigabytes") from error


@dataclass(frozen=True)
class Held:
    """One kind of what the cache holds: where, how many files, how many bytes."""

    kind: str
    about: str
    places: tuple[Path, ...]
    files: int
    size: int


def held() -> list[Held]:
    """What ohd-bench keeps in the cache folder, by kind."""
    root = cache_dir()
    found: dict[str, list[Path]] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if (kind := _kind(path)) in KINDS:
            found.setdefault(kind, []).append(path)
    return [_held(kind, tuple(paths)) for kind, paths in sorted(found.items())]


def _kind(path: Path) -> str:
    return "micro" if path.is_dir() and path.name.startswith("micro-") else path.name


def _held(kind: str, places: tuple[Path, ...]) -> Held:
    sizes = [size for place in places for size in _sizes(place)]
    return Held(kind, KINDS[kind], places, len(sizes), sum(sizes))


def _sizes(place: Path) -> Iterator[int]:
    """Of the files there, without those that go meanwhile: others use the cache, or clear it."""
    inside = [Path(at, name) for at, _, names in os.walk(place) for name in names] if place.is_dir() else [place]
    for path in inside:
        with contextlib.suppress(FileNotFoundError):
            yield path.stat().st_size


def clear(kinds: Sequence[str]) -> list[Held]:
    """Take these kinds away (``all`` is every one); what was taken. UsageError where the cache holds no such kind."""
    there = {one.kind: one for one in held()}
    for kind in kinds:
        if kind not in ("all", *KINDS):
            raise UsageError(f"nothing of the cache is called '{kind}'; there is {', '.join([*KINDS, 'all'])}")
    gone = [one for kind, one in there.items() if kind in kinds or "all" in kinds]
    for one in gone:
        for place in one.places:
            _remove(place)
    return gone


def _remove(place: Path) -> None:
    """What another takes away at the same time, or writes into it, is no error."""
    while place.is_dir():
        try:
            shutil.rmtree(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return
    place.unlink(missing_ok=True)
