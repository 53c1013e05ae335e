"""Everything that a training reads, examined before the first step: rows, captions, pictures; and one digest of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.training import dataset, negatives
from encoders.training.dataset import Pair
from encoders.training.evaluation import ZeroShot
from harness import digest
from harness.errors import DataError, UsageError
from harness.images import ImageError, image_digest, open_image

if TYPE_CHECKING:
    from encoders.towers.tokens import Words
    from encoders.training.settings import Training

AT_ONCE = 4096
READERS = 4


@dataclass(frozen=True)
class Material:
    """What a training reads, and what is to be said of it."""

    rows: Sequence[Pair]
    dev: Sequence[Pair]
    replay: Sequence[Pair]
    zero_shot: ZeroShot | None
    noted: dict[str, dict[str, int]]
    """What is cut or lacking, in words and how often, by ``train``, ``dev`` and ``replay``."""
    digest: str

    @property
    def told(self) -> dict[str, Any]:
        """What recipe.json says of the data."""
        return {"rows": len(self.rows), "digest": self.digest, "noted": self.noted}

    def remarks(self) -> Iterator[str]:
        """One line for each part of which something is cut or lacking."""
        for part, counts in self.noted.items():
            if counts:
                yield f"{part}: " + ", ".join(f"{often} {what}" for what, often in counts.items())


def read(recipe: Training, root: Path, words: Words, known: Container[str] = ()) -> Material:
    """The material of this recipe; DataError where a file or a picture is missing or cannot be read.

    Pictures whose SHA-256 is ``known`` were decoded before.
    """
    fence = None if recipe.allow_outside else root
    rows = dataset.chosen(dataset.pairs(root, "train", fence), recipe.fraction, recipe.max_samples, recipe.seed)
    rows = dataset.shuffled(rows, recipe.seed) if recipe.shuffle_images else rows
    dev = dataset.chosen(dataset.pairs(root, "dev", fence), 1.0, recipe.dev_samples, 0)
    replay = dataset.replayed(root, fence) if recipe.replay else []
    watched = _watched(recipe, root)
    noted = {"train": {"rows that bring no negative caption": negatives.lacking(rows, recipe)}, "dev": {}, "replay": {}}
    total = hashlib.sha256()
    for part, pairs in zip(noted, (rows, dev, replay), strict=True):
        ids, cut = _tokens([text for pair in pairs for text in pair.captions], words)
        noted[part]["captions cut to what the text tower reads"] = cut
        total.update(ids.encode())
        total.update(digest.of_json(pictures([pair.image for pair in pairs], known)).encode())
    if watched:
        seen = pictures([path for path, _ in watched.pictures], known)
        total.update(digest.of_json([watched.texts, [number for _, number in watched.pictures], seen]).encode())
    noted = {part: {what: often for what, often in counts.items() if often} for part, counts in noted.items()}
    return Material(rows, dev, replay, watched, noted, total.hexdigest())


def _watched(recipe: Training, root: Path) -> ZeroShot | None:
    """The classes to watch for forgetting: those the recipe names, or the data's own where it has some."""
    if recipe.zero_shot:
        return ZeroShot(Path(recipe.zero_shot))
    if (root / "zero_shot").is_dir():
        return ZeroShot(root / "zero_shot")
    if recipe.keep == "zero_shot":
        raise UsageError(f"keep=zero_shot: {root / 'zero_shot'} holds no classes to watch; --set zero_shot=FOLDER")
    return None


def _tokens(texts: Sequence[str], words: Words) -> tuple[str, int]:
    """A digest of the token ids of these captions in order, and how many of them are cut."""
    total, full, longest = hashlib.sha256(), list[str](), 0
    for start in range(0, len(texts), AT_ONCE):
        some = texts[start : start + AT_ONCE]
        found = words(some)
        total.update(json.dumps(found).encode())
        # Whatever is cut is as long as anything can be, so that only the longest are worth a second look.
        most = max(map(len, found))
        if most > longest:
            full, longest = [], most
        full += [text for text, ids in zip(some, found, strict=True) if len(ids) == longest]
    return total.hexdigest(), words.cut(full) if full else 0


def pictures(paths: Sequence[Path], known: Container[str] = ()) -> list[str]:
    """SHA-256 of each picture's file, each decoded once where it is not ``known``.

    DataError where some cannot be decoded, with their number.
    """
    once = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(READERS) as readers:
        found = dict(zip(once, readers.map(lambda path: _examined(path, known), once), strict=True))
    broken = [error for error in found.values() if isinstance(error, ImageError)]
    if broken:
        more = f" (and {len(broken) - 1} more of {len(found)} pictures)" if len(broken) > 1 else ""
        raise DataError(f"{broken[0]}{more}")
    return [str(found[path]) for path in paths]


def _examined(path: Path, known: Container[str]) -> str | ImageError:
    """The digest of the picture's file as it lies there now, or why it cannot be read."""
    of = image_digest(path)
    return of if of in known else _decodable(path, of)


@lru_cache(maxsize=1_000_000)
def _decodable(path: Path, of: str) -> str | ImageError:
    """The digest of this file's bytes again, or why they cannot be decoded."""
    try:
        open_image(path)
    except ImageError as error:
        return error
    return of
