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
    if not is_there(file, path):
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
        return f"is half-written, or another file: {size:,} of {file.size:,} bytes"
    if file.size and size > file.size:
        return f"is too long: {size:,} bytes, not {file.size:,}"
    if file.sha256:
        return f"differs: SHA-256 is not {file.sha256[:12]}…"
    if file.suffix:
        return f"holds {rows_of(path, file.suffix):,} {file.suffix} files, not {file.rows:,}"
    return f"differs: MD5 is not {file.md5[:12]}…" if file.md5 else f"has not the {file.rows:,} rows of it"


def is_there(file: PublishedFile, path: Path) -> bool:
    """Whether something lies in the place of this file, or of this folder."""
    return path.is_dir() if file.suffix else path.is_file()


def is_it(file: PublishedFile, path: Path, notes: Notes) -> bool:
    """Whether this is the published file: by its digest, or where none is known by its number of rows."""
    if file.sha256:
        return path.stat().st_size == file.size and notes.digest(path) == file.sha256
    return holds(file, path)


def holds(file: PublishedFile, path: Path) -> bool:
    """Whether this is a published file (or folder) of which no SHA-256 is known: by its MD5, or its number of rows."""
    return digest.md5_of_file(path) == file.md5 if file.md5 else rows_of(path, file.suffix) == file.rows


def rows_of(path: Path, suffix: str = "") -> int:
    """The items of a JSON list (or of ``images``, as Karpathy's files have it), else the lines that hold something.

    Of a folder the number of files of this suffix, in it or below.
    """
    if suffix:
        return sum(one.is_file() for one in path.rglob(f"*{suffix}"))
    with path.open("rb") as lines:
        first = next((line.strip() for line in lines if line.strip()), b"")
        number = bool(first) + sum(bool(line.strip()) for line in lines)
    if first[:1] == b"[" or (number == 1 and b'"images"' in first):
        return _items(path)
    return number


def _items(path: Path) -> int:
    try:
        told = json.loads(path.read_bytes())
    except ValueError:
        return 0
    listed = told.get("images") if isinstance(told, dict) else told
    return len(listed) if isinstance(listed, list) else 0


def versions(root: Path, names: Iterable[Manifest]) -> dict[str, str]:
    """By data set, the version of its files that lies here; left out where none is as published."""
    notes = Notes.of(root)
    found = {}
    for manifest in names:
        there = [one for one in manifest.files if is_there(one, root / one.path) and is_it(one, root / one.path, notes)]
        if there:
            found[manifest.name] = next((one.version for one in there if one.version), manifest.version)
    return found
