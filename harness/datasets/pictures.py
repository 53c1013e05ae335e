"""The pictures that a data set's tasks ask about: which are there, which can be read, and putting them in place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from harness import registry
from harness.datasets.fetching import fetch
from harness.datasets.manifests import Chosen
from harness.errors import DataError
from harness.images import PICTURES, ImageError, open_image, plain_name

Place = Callable[[Path, Path], None]
"""Puts a file of the user's where it belongs: by copying, or by a link."""


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures a data set needs, and of these the ones that are absent and, where looked at, that are damaged."""

    needed: frozenset[Path]
    missing: tuple[Path, ...]
    damaged: tuple[Path, ...] = ()


def needed(chosen: Chosen, root: Path) -> frozenset[Path]:
    """Where each picture lies, or belongs, that this data set's tasks ask about; of tasks whose files are there."""
    found: set[Path] = set()
    for text in chosen.tasks:
        spec = registry.parse_spec(text)
        task = registry.find(registry.tasks, spec.name, "task")(root, **spec.options)
        try:
            found |= {sample.image for sample in task.samples() if sample.image is not None}
        except DataError:  # its files are not there, which the findings say
            continue
    return frozenset(found)


def album(chosen: Chosen, root: Path, deep: bool = False) -> Album:
    """How the pictures stand: by their being there and not empty, or ``deep`` by decoding every one."""
    every = needed(chosen, root)
    missing = sorted(path for path in every if not path.is_file() or not path.stat().st_size)
    damaged = [path for path in sorted(every - set(missing)) if deep and not readable(path)]
    return Album(every, tuple(missing), tuple(damaged))


def readable(path: Path) -> bool:
    """Whether the picture can be decoded whole."""
    try:
        open_image(path)
    except ImageError:
        return False
    return True


def index(files: Iterable[Path]) -> Mapping[str, Sequence[Path]]:
    """Pictures by the name they are looked for: their own, COCO's without what stands before the number."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        if path.suffix.lower() in PICTURES:
            found[plain_name(path.name)].append(path)
    return found


def put(chosen: Chosen, root: Path, source: Mapping[str, Sequence[Path]], place: Place) -> tuple[int, list[Path]]:
    """Puts the pictures that are missing where the tasks look; how many, and those of the source that are damaged.

    Where several that are asked about share a name, and are not one picture of several data sets, a picture of the
    source has to lie in folders of the same names.
    """
    number, damaged = 0, []
    seen = album(chosen, root)
    depth = {} if chosen.manifest.shared_pictures else _depths(seen.needed)
    for path in seen.missing:
        found = _likest(path, source.get(plain_name(path.name), ()), depth.get(path, 1))
        if found is None:
            continue
        if not readable(found):
            damaged.append(found)
            continue
        place(found, _target(chosen, root, path))
        number += 1
    return number, damaged


def _depths(paths: Iterable[Path]) -> dict[Path, int]:
    """How many names, from the file upwards, tell each of these from all others."""
    found: dict[Path, int] = {}
    left, depth = list(paths), 1
    while left:
        tails: dict[tuple[str, ...], list[Path]] = defaultdict(list)
        for path in left:
            tails[(*path.parts[-depth:-1], plain_name(path.name))].append(path)
        found |= {same[0]: depth for same in tails.values() if len(same) == 1 or depth >= len(same[0].parts)}
        left = [path for same in tails.values() for path in same if path not in found]
        depth += 1
    return found


def _likest(path: Path, candidates: Sequence[Path], least: int) -> Path | None:
    """The candidate whose folders are called most alike, from the file upwards; of at least so many equal names."""

    def alike(one: Path) -> int:
        pairs = zip(reversed(one.parts[:-1]), reversed(path.parts[:-1]), strict=False)
        return 1 + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    return max((one for one in candidates if alike(one) >= least), key=alike, default=None)


def _target(chosen: Chosen, root: Path, path: Path) -> Path:
    return root / "images" / path.name if chosen.manifest.shared_pictures else path


def fetch_missing(chosen: Chosen, root: Path) -> int:
    """Fetches, one by one, the pictures that the data set's server has under their names; how many came."""
    number = 0
    for path in album(chosen, root).missing:
        split = re.match(r"COCO_((?:train|val)20\d\d)_", path.name)
        if split:
            url = chosen.manifest.picture_url.format(split=split[1], name=path.name)
            fetch([url], _target(chosen, root, path), right=readable)
            number += 1
    return number
