"""Keep what was answered: an append-only file of records for each task of a run, and the run's manifest."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from harness.errors import UsageError
from harness.types import Answer, Failure

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One answer as kept. ``key`` is the digest of all that made the answer, ``rules`` of how it was counted."""

    id: str
    image: str
    group: str
    key: str
    rules: str
    reply: Answer | Failure
    counts: Mapping[str, float] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether there is an answer."""
        return isinstance(self.reply, Answer)

    def line(self) -> str:
        """The record as one line of JSON."""
        row: dict[str, Any] = {"id": self.id, "image": self.image, "group": self.group, "key": self.key}
        if isinstance(self.reply, Failure):
            row["failed"] = self.reply.reason
        else:
            parts = {"text": self.reply.text, "p_yes": self.reply.p_yes, "scores": self.reply.scores}
            row |= {"rules": self.rules, "answer": {k: v for k, v in parts.items() if v is not None}}
            row["counts"] = {k: int(v) if float(v).is_integer() else v for k, v in self.counts.items()}
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"


def record_of(row: Mapping[str, Any]) -> Record:
    """The record of one parsed line; KeyError or TypeError where it is none."""
    if not all(isinstance(row[key], str) for key in ("id", "image", "group", "key")):
        raise TypeError("id, image, group and key are texts")
    reply: Answer | Failure
    if "failed" in row:
        reply = Failure(row["failed"])
    else:
        kept = row["answer"]
        scores = kept.get("scores")
        reply = Answer(kept.get("text"), kept.get("p_yes"), None if scores is None else tuple(scores))
    return Record(row["id"], row["image"], row["group"], row["key"], row.get("rules", ""), reply, row.get("counts", {}))


def read_records(path: Path) -> Iterator[Record]:
    """Every whole record of a ``records.jsonl``, in the order written; a torn last line is passed over.

    UsageError names file and line where a line that is not the last cannot be read.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                return
            try:
                yield record_of(json.loads(raw))
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{path}, line {number} is not a record ({error!r}); remove the line to ask it again"
                ) from error


def latest(path: Path) -> dict[str, Record]:
    """The last record of each sample id."""
    return {record.id: record for record in read_records(path)}


class Journal:
    """An open ``records.jsonl``: what is appended survives the process, and a torn last line is cut off first."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, records: list[Record]) -> None:
        """Add these records; each line is written whole."""
        data = memoryview("".join(record.line() for record in records).encode())
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Flush to the disk and close."""
        os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cut_torn_line(path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def write_json(path: Path, thing: Any) -> None:
    """Write a JSON file so that a reader sees the old one or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(thing, file, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


@dataclass(frozen=True)
class Run:
    """A run's folder: ``run.json`` and one folder of records for each task."""

    folder: Path

    @property
    def id(self) -> str:
        """The run's name: the folder's."""
        return self.folder.name

    def manifest(self) -> dict[str, Any]:
        """``run.json`` as a dict, empty where there is none yet; UsageError where it is not JSON."""
        path = self.folder / "run.json"
        if not path.exists():
            return {}
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{path} is not JSON ({error}); remove it to write it anew") from error
        entries = manifest.get("tasks", {}) if isinstance(manifest, dict) else None
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise UsageError(f"{path} is not a run's manifest; remove it to write it anew")
        if manifest.get("format", 0) > FORMAT:
            raise UsageError(f"{path} was written by a newer ohd-bench (format {manifest['format']})")
        return manifest  # type: ignore[no-any-return]

    def update(self, **changes: Any) -> dict[str, Any]:
        """Write ``run.json`` with these entries changed, and give it back."""
        manifest = self.manifest() | {"format": FORMAT, "id": self.id} | changes
        write_json(self.folder / "run.json", manifest)
        return manifest

    def records_path(self, task: str) -> Path:
        """Where this task's records lie."""
        return self.folder / task / "records.jsonl"

    def records(self, task: str) -> list[Record]:
        """The last record of each sample of this task, by id: not as they came, which hangs on batches and workers."""
        return sorted(latest(self.records_path(task)).values(), key=lambda record: (len(record.id), record.id))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for this process alone; UsageError where another one writes it, or the folder is read-only."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"cannot write to {self.folder}: {error.strerror}; name another --results") from error
        try:
            _lock(lock, self.folder)
            yield
        finally:
            os.close(lock)


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks, appends are still whole lines
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(f"another process is writing {folder}; wait for it, or name another --results") from error


def runs(results: Path) -> list[Run]:
    """Every run below a results folder, by name."""
    return [Run(path.parent) for path in sorted(results.glob("*/run.json"))]


def slug(text: str) -> str:
    """A file name made of a spec: letters, digits, dots, dashes and ``=``; of a path or hub id the last part."""
    head, _, query = text.partition("?")
    name, _, location = head.partition(":")
    named = [f"{key}={_last(value)}" for key, value in parse_qsl(query)]
    parts = [name, *([_last(location)] if location else []), *named]
    return re.sub(r"[^A-Za-z0-9.=-]+", "-", "-".join(parts)).strip("-.")[:100] or "model"


def _last(path: str) -> str:
    return path.rstrip("/").split("/")[-1]


def pick(results: Path, name: str) -> Run:
    """The run of this name, or the only one whose name begins so, controls aside; UsageError names all."""
    every = runs(results)
    found = [run for run in every if run.id == name] or [run for run in every if run.id.startswith(name)]
    if len(found) > 1:
        found = [run for run in found if run.manifest().get("control", "none") == "none"] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"'{name}' could be {', '.join(run.id for run in found)}")
    have = ", ".join(run.id for run in every) or "none yet"
    raise UsageError(f"{results} holds no run '{name}'; there is {have}")
