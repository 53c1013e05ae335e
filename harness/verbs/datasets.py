"""Prepare and verify data sets by name: what the ``data`` commands and Python both call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registry
from harness.data import is_micro
from harness.datasets import checking, pictures, preparing
from harness.datasets.manifests import Chosen, Manifest, chosen, manifests
from harness.errors import DataError, UsageError


@dataclass(frozen=True)
class Verified:
    """How one data set stands: its files and pictures counted, a line for each thing that is not as published."""

    name: str
    version: str
    files: tuple[int, int]
    pictures: tuple[int, int]
    wrong: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def state(self) -> str:
        """As published, or what is not; pictures that are absent are no fault: ``score`` needs none."""
        if self.wrong:
            return f"{len(self.wrong)} wrong"
        return "as published" if self.pictures[0] == self.pictures[1] else "files as published, pictures missing"

    def json(self) -> dict[str, Any]:
        """The findings as plain data."""
        return {
            "data set": self.name,
            "version": self.version,
            "files": f"{self.files[0]} of {self.files[1]}",
            "pictures": f"{self.pictures[0]} of {self.pictures[1]}",
            "state": self.state,
            "wrong": list(self.wrong),
        }


def prepare(
    names: Sequence[str], root: Path, source: Path | None = None, *, link: bool = False, mirrors: Sequence[str] = ()
) -> Iterator[tuple[Manifest, preparing.Prepared]]:
    """Puts data sets in place one after another, from a folder or from their servers; one that fails stops no other."""
    registry.load()
    every = [chosen(name) for name in names]
    with preparing.Source.opened(source, root, link) if source is not None else nullcontext() as folder:
        for one in every:
            yield one.manifest, preparing.prepare(one, root, folder, mirrors)


def verify(names: Sequence[str], root: Path, deep: bool = False) -> list[Verified]:
    """How these data sets stand; with no name all of which a file is there, DataError where there is none.

    UsageError where they are the micro world's, which are nobody's published files.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    if is_micro(root):
        raise UsageError(
            "the micro world is drawn here and published nowhere: there is nothing to verify it against; where it was "
            "changed, 'ohd-bench data cache --clear micro' takes it away, and the next command draws it anew"
        )
    registry.load()
    every = [chosen(name) for name in names] or [one for one in map(chosen, manifests()) if _begun(one, root)]
    if not every:
        raise DataError(f"{root} holds no file of a known data set; `ohd-bench data prepare` puts them there")
    notes = checking.Notes.of(root, deep)
    told = [_verified(one, root, notes, deep) for one in every]
    notes.keep()
    return told


def _begun(one: Chosen, root: Path) -> bool:
    return any(checking.is_there(file, root / file.path) for file in one.files)


def _verified(one: Chosen, root: Path, notes: checking.Notes, deep: bool) -> Verified:
    found = checking.findings(one, notes)
    seen = pictures.album(one, root, deep)
    wrong = [f"{root / each.file.path} {each.wrong}" for each in found if each.wrong]
    wrong += [f"{path} cannot be read as a picture" for path in seen.damaged]
    have = len(seen.needed) - len(seen.missing)
    absent = f"{len(seen.missing):,} pictures are missing: {one.manifest.pictures}"
    version = one.text.partition("@")[2] or one.manifest.version
    right = sum(each.there and not each.wrong for each in found)
    return Verified(
        one.text, version, (right, len(found)), (have - len(seen.damaged), len(seen.needed)),
        tuple(wrong), ((absent,) if seen.missing else ()) + _unsure(found),
    )  # fmt: skip


def _unsure(found: Sequence[checking.Finding]) -> tuple[str, ...]:
    """A remark where what is there was told by its number of rows alone."""
    unsure = [one.file for one in found if one.there and not one.file.sha256 and not one.file.md5]
    told = f"no digest of {len(unsure)} of these files is published: they are known by their number of rows"
    return (told,) if unsure else ()
