"""What lies in a data folder against what is published: there, missing, half-written, or another file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import digest
from harness.datasets.manifests import Chosen, Manifest, PublishedFile, other_versions
from harness.store import write_json

NOTES = ".ohd-bench.json"
"""Size, time and digest of each file when it was last read: as long as the first two stand, so does the third."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one published file stands in a data folder; ``wrong`` is "" where it is as published."""

    file: PublishedFile
    there: bool
    wrong: str = ""


@dataclass
class Notes:
    """The digests of a data folder's files, worked out once as long as a file's size and time stay what they were."""

    root: Path
    deep: bool = False
    known: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, deep: bool = False) -> Notes:
        """What was noted of this folder; ``deep`` believes none of it."""
        try:
            known = json.loads((root / NOTES).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        return cls(root, deep, known if isinstance(known, dict) and not deep else {})

    def digest(self, path: Path) -> str:
        """SHA-256 of a file of the folder."""
        state = path.stat()
        name = path.relative_to(self.root).as_posix()
        noted = self.known.get(name)
        if not isinstance(noted, list) or noted[:2] != [state.st_size, state.st_mtime_ns]:
            noted = self.known[name] = [state.st_size, state.st_mtime_ns, digest.of_file(path)]
        return str(noted[2])

    def keep(self) -> None:
        """Writes the notes beside the data; a folder that cannot be written goes without."""
        try:
            write_json(self.root / NOTES, self.known)
        except OSError:
            return


def findings(chosen: Chosen, notes: Notes) -> list[Finding]:
    """How each file of a data set stands."""
    return [finding(file, chosen.manifest, notes) for file in chosen.files]


def finding(file: PublishedFile, manifest: Manifest, notes: Notes) -> Finding:
    """How one file stands, and where it is not as published, in what way."""
    path = notes.root / file.path
    part = path.with_name(f"{path.name}.part")
    if not path.is_file():
        half = f"half fetched ({part.stat().st_size:,} bytes)" if part.is_file() else "missing"
        return Finding(file, False, half)
    return Finding(file, True, _wrong(file, manifest, path, notes))


def _wrong(file: PublishedFile, manifest: Manifest, path: Path, notes: Notes) -> str:
    if is_it(file, path, notes):
        return ""
    if other := next((one for one in other_versions(file, manifest) if is_it(one, path, notes)), None):
        return f"is version {other.version}, not {file.version}"
    size = path.stat().st_size
    if file.size and size < file.size:
        return f"is half-written: {size:,} of {file.size:,} bytes"
    if file.size and size > file.size:
        return f"is too long: {size:,} bytes, not {file.size:,}"
    return f"differs: SHA-256 is not {file.sha256[:12]}…" if file.sha256 else f"has not the {file.rows:,} rows of it"


def is_it(file: PublishedFile, path: Path, notes: Notes) -> bool:
    """Whether this is the published file: by its digest, or where none is known by its number of rows."""
    if file.sha256:
        return path.stat().st_size == file.size and notes.digest(path) == file.sha256
    return rows_of(path) == file.rows


def rows_of(path: Path) -> int:
    """The number of lines that hold something."""
    with path.open("rb") as lines:
        return sum(bool(line.strip()) for line in lines)


def versions(root: Path, names: Iterable[Manifest]) -> dict[str, str]:
    """By data set, the version of its files that lies here; left out where none is as published."""
    notes = Notes.of(root)
    found = {}
    for manifest in names:
        there = [one for one in manifest.files if (root / one.path).is_file() and is_it(one, root / one.path, notes)]
        if there:
            found[manifest.name] = next((one.version for one in there if one.version), manifest.version)
    return found
