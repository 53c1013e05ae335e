"""What is known of each data set: its files with digest and size, and where they, and its pictures, come from."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import UsageError

FOLDER = Path(__file__).parent / "files"


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file as its authors publish it; ``path`` is where it belongs in a data folder.

    Where no SHA-256 is known (""), ``md5`` does, or ``rows`` alone, the number of its rows, tells one version from
    another. ``version`` is "" where there is only one. With a ``suffix`` it is a folder that holds ``rows`` files of
    this suffix, with the pictures among them. Of an archive at its ``urls`` it is the ``member``.
    """

    path: str
    part: str = ""
    version: str = ""
    size: int = 0
    sha256: str = ""
    md5: str = ""
    rows: int = 0
    suffix: str = ""
    member: str = ""
    urls: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A data set. ``tasks`` are the specs that read it, ``pictures`` says where its pictures are to be had.

    Pictures that several data sets share go into ``images/`` once; ``picture_url`` may fetch one at a time.
    """

    name: str
    about: str
    version: str
    source: str
    licence: str
    citation: str
    tasks: Sequence[str] = ()
    pictures: str = ""
    picture_url: str = ""
    shared_pictures: bool = False
    where: str = ""
    files: Sequence[PublishedFile] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A data set as it is asked for: the files of one version, or of one part of it."""

    manifest: Manifest
    files: tuple[PublishedFile, ...]
    text: str

    @property
    def tasks(self) -> tuple[str, ...]:
        """The specs of the tasks that read it; those of its part where the name has one."""
        part = self.text.partition("@")[0].partition("/")[2]
        every = tuple(self.manifest.tasks)
        return tuple(spec for spec in every if spec.endswith(f"={part}")) or every if part else every


@cache
def manifests() -> dict[str, Manifest]:
    """Every data set there is a manifest of, by name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.toml"))}


def _read(path: Path) -> Manifest:
    told: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return Manifest(name=path.stem, **{**told, "files": tuple(PublishedFile(**one) for one in told.get("files", ()))})


def chosen(text: str) -> Chosen:
    """The data set of a name, ``NAME[/PART][@VERSION]``; UsageError says what there is instead."""
    place, _, version = text.partition("@")
    name, _, part = place.partition("/")
    if name not in manifests():
        raise UsageError(f"no data set is called '{name}'; there is {', '.join(['micro', 'nltk', *manifests()])}")
    manifest = manifests()[name]
    _known(f"{name} has the parts", part, {one.part for one in manifest.files})
    _known(f"{name} has the versions", version, {manifest.version, *(one.version for one in manifest.files)})
    wanted = version or manifest.version
    files = [one for one in manifest.files if part in ("", one.part) and one.version in ("", wanted)]
    return Chosen(manifest, tuple(files), text)


def _known(what: str, said: str, known: set[str]) -> None:
    if said and said not in known:
        raise UsageError(f"{what} {', '.join(sorted(known - {''})) or 'none'}, not '{said}'")


def other_versions(file: PublishedFile, manifest: Manifest) -> list[PublishedFile]:
    """The other published versions of a file: what lies in its place may be one of them."""
    return [one for one in manifest.files if one.path == file.path and one.version != file.version]
