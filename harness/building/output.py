"""Write built rows as OHD-Caps' files, split by picture, with the pictures beside them and a card that says all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from harness.digest import of_bytes
from harness.images import ImageError, open_image
from harness.micro.captions import shuffled

NEAR = 4
"""Of the 64 bits of two pictures' difference hashes, how many may differ in near-duplicates."""


def look(path: Path) -> int | None:
    """A picture's difference hash: which of 64 neighbouring places grow darker; None where it cannot be read."""
    try:
        grey = open_image(path).convert("L").resize((9, 8), Image.Resampling.BILINEAR)
    except ImageError:
        return None
    values = list(grey.tobytes())
    bits = [values[9 * y + x] > values[9 * y + x + 1] for y in range(8) for x in range(8)]
    return sum(bit << n for n, bit in enumerate(bits))


def groups(looks: Mapping[str, int]) -> dict[str, str]:
    """The group of each picture, named by its first: pictures that look nearly alike are in one.

    Two hashes that differ in at most ``NEAR`` of 64 bits agree in one of five parts: only those are compared.
    """
    parent = {name: name for name in looks}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    parts: dict[tuple[int, int], list[str]] = {}
    for name in sorted(looks):
        for part in range(5):
            key = (part, looks[name] >> (13 * part) & 0x1FFF)
            for other in parts.get(key, ())[:200]:
                if (looks[name] ^ looks[other]).bit_count() <= NEAR:
                    one, two = sorted((root(name), root(other)))
                    parent[two] = one
            parts.setdefault(key, []).append(name)
    return {name: root(name) for name in looks}


def split_of(group: str, shares: Mapping[str, float], seed: int) -> str:
    """The split a group of pictures falls to: by its name and the seed alone, whatever else is built."""
    at = int(of_bytes(f"{seed}/{group}".encode())[:12], 16) / 16**12 * sum(shares.values())
    for name, share in shares.items():
        at -= share
        if at < 0:
            return name
    return list(shares)[-1]


def write_split(folder: Path, split: str, name: str, annotations: Sequence[Mapping[str, Any]]) -> None:
    """The annotations and the label file of one split, under the names by which task and trainer find them."""
    _lines(folder / split / f"{name}_annotations.json", annotations)
    labels = [shuffled(row, str(row["file_path"])) for row in annotations]
    if split == "test":
        _lines(folder / split / f"{name}_out_label.json", labels)
        return
    masked = ({**row, "valid_caption": [1] * len(row["caption"])} for row in labels)
    start = "" if name == "coco" else f"{name}_"
    _lines(folder / split / f"{start}{split}_data.json", masked)


def picture_placer(link: bool) -> Callable[[Path, Path], None]:
    """Copies a picture to its place, or makes a hard link; what is there already is left."""

    def place(source: Path, to: Path) -> None:
        if to.exists():
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        draft = to.with_name(f".{to.name}.{os.getpid()}")
        (os.link if link else shutil.copyfile)(source, draft)
        draft.replace(to)

    return place


def _lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    draft.replace(path)
