"""Model folders that a machine of a cluster does not see: sent to it once by Ray's object store, known by digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import digest, durable
from harness.errors import ModelError
from harness.model_places import FILES, TooMany

PIECE = 64 * 2**20
"""Bytes that travel as one object: neither side has more of a model in its memory."""

Mark = tuple[int, int]
"""Size of a file, and when it was changed, in nanoseconds."""


@dataclass(frozen=True)
class Listing:
    """What lies in a folder (or is a file, whose name is then empty), hidden files aside."""

    marks: Mapping[str, Mark]

    @classmethod
    def of(cls, path: Path) -> Listing | None:
        """None where nothing is there; TooMany where it is more than a model."""
        if path.is_file():
            return cls({"": _mark(path)})
        if not path.is_dir():
            return None
        return cls({file.relative_to(path).as_posix(): _mark(file) for file in _files(path)})


def _mark(path: Path) -> Mark:
    told = path.stat()
    return told.st_size, told.st_mtime_ns


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not (Path(where) / name).is_file():
                continue
            count += 1
            if count > FILES:
                raise TooMany(f"{folder} holds more than {FILES} files")
            yield Path(where) / name


@dataclass(frozen=True)
class Parcel:
    """A folder's files, or a file, by name: digest, and the pieces of its bytes as Ray's references."""

    name: str
    digests: Mapping[str, str]
    pieces: Mapping[str, tuple[Any, ...]]

    @property
    def digest(self) -> str:
        """What it is known by."""
        return digest.of_json([self.name, dict(sorted(self.digests.items()))])


def packed(path: Path, listing: Listing) -> Parcel:
    """The files of this listing put into the object store, a piece in memory at a time."""
    import ray

    digests, pieces = {}, {}
    for name in listing.marks:
        sha, refs = hashlib.sha256(), []
        with _at(path, name).open("rb") as file:
            while part := file.read(PIECE):
                sha.update(part)
                refs.append(ray.put(part))
        digests[name], pieces[name] = sha.hexdigest(), tuple(refs)
    return Parcel(path.name, digests, pieces)


def same(path: Path, listing: Listing) -> bool:
    """Whether that very folder is seen here: the same files, changed at the same time."""
    return _here(path) == listing


def unpacked(parcel: Parcel, told: Path, kept: Path) -> Path:
    """Where the parcel's files lie on this machine: as ``told`` where their bytes are the same, else below ``kept``.

    ModelError where what came is not what was sent.
    """
    there = _here(told)
    if there and there.marks.keys() == parcel.digests.keys() and _digests(told, parcel) == parcel.digests:
        return told
    folder = kept / parcel.digest
    if not folder.is_dir():
        durable.folder(folder, lambda draft: _write(parcel, draft / parcel.name))
    return folder / parcel.name


def _here(path: Path) -> Listing | None:
    try:
        return Listing.of(path)
    except (OSError, TooMany):
        return None


def _digests(path: Path, parcel: Parcel) -> dict[str, str]:
    return {name: digest.of_file(_at(path, name)) for name in parcel.digests}


def _write(parcel: Parcel, path: Path) -> None:
    import ray

    for name, refs in parcel.pieces.items():
        sha, file = hashlib.sha256(), _at(path, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            for ref in refs:
                part = ray.get(ref)
                sha.update(part)
                out.write(part)
        if sha.hexdigest() != parcel.digests[name]:
            raise ModelError(f"{parcel.name}/{name} came with other bytes than were sent; the same command tries again")


def _at(path: Path, name: str) -> Path:
    return path / name if name else path
