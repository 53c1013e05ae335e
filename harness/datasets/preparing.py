"""Put a data set's files where its tasks look: found in a folder by what they hold, or fetched from a server."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import digest, durable
from harness.datasets import archives, checking, pictures
from harness.datasets.fetching import fetch, offline
from harness.datasets.manifests import Chosen, PublishedFile, other_versions
from harness.errors import DataError, UsageError


@dataclass
class Prepared:
    """What became of one data set: what was there or was put there, and a line for each thing that is not."""

    name: str
    there: int = 0
    placed: int = 0
    pictures: int = 0
    wrong: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """A folder of the user's, in whatever layout: its files by size, and its pictures by name."""

    folder: Path
    by_size: Mapping[int, Sequence[Path]]
    by_name: Mapping[str, Sequence[Path]]
    pictures: Mapping[str, Sequence[Path]]
    link: bool = False

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, root: Path, link: bool = False) -> Iterator[Source]:
        """Everything below this folder (or in this archive), and in the archives there; DataError where there is none.

        Archives are unpacked beside the data (``root``) as long as the source is open.
        """
        if not folder.is_dir() and not (folder.is_file() and archives.is_archive(folder)):
            raise DataError(f"--from {folder} is neither a folder nor an archive ({', '.join(archives.ENDS)})")
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
        packed = [path for path in files if archives.is_archive(path)]
        if not packed:
            yield cls._of(folder, files, link)
            return
        root.mkdir(parents=True, exist_ok=True)
        with durable.scratch(root / "unpacked") as scratch:
            for n, archive in enumerate(packed):
                files += archives.unpack(archive, scratch / str(n))
            yield cls._of(folder, files, link)

    @classmethod
    def _of(cls, folder: Path, files: Sequence[Path], link: bool) -> Source:
        sizes, names = defaultdict(list), defaultdict(list)
        for path in files:
            sizes[path.stat().st_size].append(path)
            names[path.name].append(path)
        return cls(folder, sizes, names, pictures.index(files), link)

    def find(self, file: PublishedFile) -> Path | None:
        """The file with this content, wherever it lies and whatever it is called; a folder by its name."""
        if file.sha256:
            return next((one for one in self.by_size.get(file.size, ()) if digest.of_file(one) == file.sha256), None)
        return next((one for one in self._called(file) if checking.holds(file, one)), None)

    def holds(self, file: PublishedFile) -> bool:
        """Whether it is there, or something else of its name, which then has to be named."""
        return bool(self.by_name.get(Path(file.path).name) or self._called(file)) or self.find(file) is not None

    def _called(self, file: PublishedFile) -> Sequence[Path]:
        """What has this file's name; the folders of this name, where it is one."""
        name = Path(file.path).name
        if not file.suffix:
            return self.by_name.get(name, ())
        above = {one for paths in self.by_name.values() for path in paths for one in path.parents if one.name == name}
        return sorted(one for one in above if one.is_dir())

    def place(self, found: Path, to: Path) -> None:
        """Copies the file, or links it (a hard link, so that it lies inside the data folder); whole or not at all.

        Of a folder every file, each in its place below.
        """
        if found.is_dir():
            self._place_all(found, to)
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        draft = durable.draft_name(to)  # what a killed process left goes before the first file is placed
        if self.link:
            try:
                os.link(found, draft)
            except OSError as error:
                raise UsageError(f"--link: {found} and {to.parent} cannot share a file ({error.strerror})") from error
        else:
            shutil.copyfile(found, draft)
        draft.replace(to)

    def _place_all(self, found: Path, to: Path) -> None:
        with contextlib.ExitStack() as held:
            # A folder is known by how many files it has: half of it would be another's.
            into = to if to.exists() else held.enter_context(durable.draft(to))
            for path in sorted(path for path in found.rglob("*") if path.is_file()):
                self.place(path, into / path.relative_to(found))


def prepare(chosen: Chosen, root: Path, source: Source | None, mirrors: Sequence[str] = ()) -> Prepared:
    """Puts one data set in place, as far as it can be: what is as published is left, what is another file is named.

    With a source nothing is fetched. A file that lies in the way is replaced only by another version of itself.
    """
    root.mkdir(parents=True, exist_ok=True)
    durable.clear_below(root)
    notes = checking.Notes.of(root)
    done = Prepared(chosen.text)
    found = checking.findings(chosen, notes)
    if source is not None and len(found) > 1 and not any(one.there or source.holds(one.file) for one in found):
        found = []
        done.wrong.append(_nothing(source, chosen))
    for finding in found:
        if finding.there and not finding.wrong:
            done.there += 1
        elif finding.there and not _another_version(chosen, finding.file, notes):
            done.wrong.append(f"{root / finding.file.path} {finding.wrong}; move it away, and say this again")
        else:
            _put_file(done, chosen, root, finding.file, (source, mirrors))
    _put_pictures(done, chosen, root, source)
    checking.findings(chosen, notes)
    notes.keep()
    return done


def _another_version(chosen: Chosen, file: PublishedFile, notes: checking.Notes) -> bool:
    path = notes.root / file.path
    return any(checking.is_it(one, path, notes) for one in other_versions(file, chosen.manifest))


def _put_file(
    done: Prepared, chosen: Chosen, root: Path, file: PublishedFile, ways: tuple[Source | None, Sequence[str]]
) -> None:
    source, mirrors = ways
    target = root / file.path
    if source is not None:
        if found := source.find(file):
            source.place(found, target)
            done.placed += 1
        else:
            done.wrong.append(_not_found(source, file))
        return
    urls = [f"{mirror.rstrip('/')}/{file.path}" for mirror in mirrors] if mirrors else file.urls
    if not urls:
        done.wrong.append(f"{file.path}: {chosen.manifest.where or 'no server has it; use --from DIR'}")
        return
    try:
        if file.member and not mirrors:
            _fetch_member(urls, file, root)
        else:
            fetch(urls, target, file.sha256, lambda path: bool(file.sha256) or checking.holds(file, path))
        done.placed += 1
    except DataError as error:
        done.wrong.append(str(error))


def _fetch_member(urls: Sequence[str], file: PublishedFile, root: Path) -> None:
    """Fetches the archive, beside the data, and puts the one file of it in place; DataError where it is another."""
    archive = root / f".{Path(urls[0]).name}"
    fetch(urls, archive)
    with durable.scratch(root / "unpacked") as scratch:
        archives.unpack(archive, scratch)
        found = scratch / file.member
        if not found.is_file() or not checking.holds(file, found):
            raise DataError(f"{file.path}: {urls[0]} holds no such file as is published")
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        found.replace(root / file.path)
    archive.unlink()


def _nothing(source: Source, chosen: Chosen) -> str:
    where = chosen.manifest.where or f"they are at {chosen.manifest.source}"
    return f"{source.folder} has none of its {len(chosen.files)} files; {where}"


def _not_found(source: Source, file: PublishedFile) -> str:
    alike = source.by_name.get(Path(file.path).name, ())
    if not alike:
        what = "folder of this name and number of files" if file.suffix else "file of this content"
        return f"{file.path}: {source.folder} has no {what}"
    size = alike[0].stat().st_size
    what = f"{size:,} of {file.size:,} bytes" if file.size and size != file.size else "its bytes are others"
    return f"{file.path}: {alike[0]} is not the published file ({what})"


def _put_pictures(done: Prepared, chosen: Chosen, root: Path, source: Source | None) -> None:
    if source is not None:
        done.pictures, damaged = pictures.put(chosen, root, source.pictures, source.place)
        done.wrong += [f"{path} cannot be read as a picture; it was left" for path in damaged]
    elif chosen.manifest.picture_url and not offline():
        try:
            done.pictures = pictures.fetch_missing(chosen, root)
        except DataError as error:
            done.wrong.append(str(error))
    seen = pictures.album(chosen, root)
    if seen.missing:
        have = len(seen.needed) - len(seen.missing)
        done.remarks.append(
            f"{have:,} of {len(seen.needed):,} pictures are there; the rest: {chosen.manifest.pictures}"
        )
    elif not seen.needed and not chosen.files:
        done.remarks.append(f"no task here asks about its pictures; they come from: {chosen.manifest.pictures}")
