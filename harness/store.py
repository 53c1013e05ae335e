"""Keep what was answered: a folder for each run, with its manifest and a file of records for each task."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import durable, locks
from harness import manifest as manifests
from harness.errors import DataError, UsageError
from harness.journal import Journal
from harness.records import Record, answers_digest, latest

ENDED = ("complete", "partial")
RECORDS = "records.jsonl"


def write_json(path: Path, thing: Any) -> None:
    """Write a JSON file so that a reader sees the old one or the new one, never a half."""
    told = json.dumps(thing, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
    durable.replace(path, told + "\n")


def records_files(folder: Path) -> list[Path]:
    """Where the records of each task lie in a run's folder, compressed or not, by the names of the plain files."""
    return sorted({path.with_name(RECORDS) for path in folder.glob(f"*/{RECORDS}*")})


@dataclass(frozen=True)
class Run:
    """A run's folder: ``run.json`` and one folder of records for each task."""

    folder: Path

    @property
    def id(self) -> str:
        """The run's name: the folder's."""
        return self.folder.name

    def manifest(self) -> dict[str, Any]:
        """``run.json`` as a dict, empty where there is none yet; UsageError where it is no manifest."""
        path = self.folder / "run.json"
        return manifests.read(path) if path.exists() else {}

    def update(self, **changes: Any) -> dict[str, Any]:
        """Write ``run.json`` with these entries changed, and give it back."""
        manifest = self.manifest() | {"format": manifests.FORMAT, "id": self.id} | changes
        write_json(self.folder / "run.json", manifest)
        return manifest

    def sources(self) -> list[Path]:
        """The folders whose records are this run's."""
        return [self.folder]

    def known(self, task: str, keys: Mapping[str, str]) -> dict[str, Record]:
        """The last record of each sample of this task, by id; an answer under its key of ``keys`` before any other."""
        found: dict[str, Record] = {}
        for folder in self.sources():
            for id, record in latest(folder / task / RECORDS).items():
                if id not in found or (record.key == keys.get(id) and record.scored):
                    found[id] = record
        return found

    def records_path(self, task: str) -> Path:
        """Where this task's records lie."""
        return self.folder / task / RECORDS

    def records(self, task: str, words: bool = True) -> list[Record]:
        """The last record of each sample of this task, by id: not as they came, which hangs on batches and workers.

        Without ``words`` answers come without texts and scores, in a fraction of the memory.
        DataError where they are another run's, or where the run has ended and some of its answers are gone.
        """
        told = self.manifest()
        found = self._own(task, words, told)
        there, due = sum(record.scored for record in found.values()), _due(told, task)
        if there < due and told.get("status") in ENDED:
            path = self.records_path(task)
            raise DataError(f"{path} holds {there} of {due} answers; the command that asked them asks the rest again")
        return sorted(found.values(), key=lambda record: (len(record.id), record.id))

    def own(self, task: str, words: bool = True) -> Mapping[str, Record]:
        """The last record of each sample of this task, by id; DataError where they are another run's.

        Each of those is whole and its seal fits, but this run's manifest tells of others. Where some are gone nobody
        can tell, nor where a manifest of an older version tells nothing.
        """
        return self._own(task, words, self.manifest())

    def _own(self, task: str, words: bool, manifest: Mapping[str, Any]) -> Mapping[str, Record]:
        found = latest(self.records_path(task), words)
        scored = [record for record in found.values() if record.scored]
        told = manifest.get("answers", {}).get(task)
        if scored and len(scored) >= _due(manifest, task) and told not in (None, answers_digest(scored)):
            raise DataError(
                f"{self.records_path(task)} holds other answers than {self.id} was given;"
                " put its own back, or remove it and run the command that asked them again"
            )
        return found

    @contextlib.contextmanager
    def adding(self, task: str) -> Iterator[Journal]:
        """Add records to a task of a run that the caller holds; its manifest tells then which answers they come to.

        What it told goes before the first record comes: after a kill it tells nothing, and nothing that is wrong.
        """
        path = self.records_path(task)
        try:
            with Journal(path, lambda: self._tell(task, None)) as journal:
                yield journal
        finally:
            self._tell(task, answers_digest(record for record in latest(path).values() if record.scored))

    def _tell(self, task: str, answers: str | None) -> None:
        """Write into the manifest, where there is one, of which answers this task's records are."""
        manifest = self.manifest()
        told = manifest.get("answers", {})
        if manifest and told.get(task) != answers:
            others = {name: one for name, one in told.items() if name != task}
            self.update(answers=others | ({task: answers} if answers else {}))

    @contextlib.contextmanager
    def writing(self, patience: float = 0.0) -> Iterator[None]:
        """Hold the run for this process alone; UsageError where another one writes it, or the folder is read-only.

        ``patience`` is for how many seconds to wait for the other.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = locks.taken(self.folder / ".lock", patience)
        except locks.Held as error:
            raise UsageError(
                f"another process is writing {self.folder}; wait for it, or name another --results"
            ) from error
        except OSError as error:
            raise UsageError(f"cannot write to {self.folder}: {error.strerror}; name another --results") from error
        with lock:
            yield


def _due(manifest: Mapping[str, Any], task: str) -> int:
    """How many answers the manifest says that this task has."""
    return manifest.get("tasks", {}).get(task, {}).get("scored") or 0
