"""Write built rows as OHD-Caps' files, split by picture, with the pictures beside them and a card that says all."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

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


class SplitFiles:
    """The annotations and label files of every split, row by row, under the names that task and trainer read.

    Leaving it without an error puts them in their places, whole; a split that got no row has none.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._drafts: dict[Path, IO[str]] = {}
        self.rows: Counter[str] = Counter()

    def __enter__(self) -> SplitFiles:
        return self

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        """One more annotation of this split, with its 28 captions in a random order in the label file."""
        start = "" if self._name == "coco" else f"{self._name}_"
        label: Mapping[str, Any] = shuffled(row, str(row["file_path"]))
        labels = f"{self._name}_out_label.json"
        if split != "test":
            labels, label = f"{start}{split}_data.json", {**label, "valid_caption": [1] * len(label["caption"])}
        self._write(self._folder / split / f"{self._name}_annotations.json", row)
        self._write(self._folder / split / labels, label)
        self.rows[split] += 1

    def _write(self, path: Path, row: Mapping[str, Any]) -> None:
        if path not in self._drafts:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._drafts[path] = _draft_of(path).open("w", encoding="utf-8")
        self._drafts[path].write(f"{json.dumps(row, ensure_ascii=False)}\n")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for path, file in self._drafts.items():
            file.close()
            if kind is None:
                _draft_of(path).replace(path)
            else:
                _draft_of(path).unlink(missing_ok=True)


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def picture_placer(link: bool) -> Callable[[Path, Path], None]:
    """Copies a picture to its place, or makes a hard link; what is there already is left."""

    def place(source: Path, to: Path) -> None:
        if to.exists():
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft_of(to)
        draft.unlink(missing_ok=True)  # a killed build's, which a link would not be put over
        (os.link if link else shutil.copyfile)(source, draft)
        draft.replace(to)

    return place
