"""What shards of a run have answered: each in a folder of its own below the run's, read back into the run by one."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import packed
from harness.asking import engine, run_identity
from harness.asking.shards import Shard
from harness.console import say
from harness.errors import UsageError
from harness.kept_runs import SHARDS as FOLDER
from harness.records import Record, latest
from harness.store import RECORDS, Run

PATIENCE = 30.0
"""Seconds that a shard waits for others to begin: each holds the run while it begins, and no longer."""
OWN = ("expected", "scored", "failed", "first_failure", "seconds")
"""What a shard's entry of a task says of the shard alone."""


@dataclass(frozen=True)
class ShardRun(Run):
    """A shard of a run: it knows the answers of all, and writes to a folder of its own."""

    @property
    def whole(self) -> Run:
        """The run it is a shard of."""
        return Run(self.folder.parents[1])

    @property
    def id(self) -> str:
        """The run's name and the shard's."""
        return f"{self.whole.id}/{FOLDER}/{self.folder.name}"

    def sources(self) -> list[Path]:
        """The run's own folder, and those of all shards, whoever writes them."""
        return [self.whole.folder, *(part.folder for part in shard_runs(self.whole))]


def shard_runs(run: Run) -> list[ShardRun]:
    """Every shard of this run that was not read back yet, by name."""
    return [ShardRun(path.parent) for path in sorted(run.folder.glob(f"{FOLDER}/*/run.json"))]


@contextlib.contextmanager
def written(run: Run, shard: Shard | None, begun: Mapping[str, Any], patience: float = PATIENCE) -> Iterator[Run]:
    """Where to keep what is answered: the run, its shards read back first, or with a ``shard`` that shard's folder.

    The run is held by the one, a shard by the other; UsageError where another process holds it, and where either is to
    begin while the other is being written. ``begun`` is what the manifest of a run says that only shards have begun.
    """
    if shard is None:
        with run.writing():
            for name, ids in merge(run, settled=False).conflicts.items():
                say(f"{name}: {len(ids)} samples were answered in two ways by shards, {ids[0]} the first")
            yield run
        return
    part = ShardRun(run.folder / FOLDER / str(shard))
    with contextlib.ExitStack() as held:
        with run.writing(patience):
            _begin(run, begun)
            held.enter_context(part.writing())
            part.update(**part.manifest())  # so that it is one of the run's shards from now on
        yield part


def _begin(run: Run, begun: Mapping[str, Any]) -> None:
    """The run's manifest tells of every task that a shard asks, and of how many samples there are for all shards."""
    known = run.manifest()
    if not known:
        run.update(status="sharded", **begun)
        return
    told = known.get("tasks", {})
    new = {name: one for name, one in begun.get("tasks", {}).items() if not packed.files(run.records_path(name))}
    if any(told.get(name) != one for name, one in new.items()):
        status = "partial" if known.get("status") == "complete" else known.get("status")
        run.update(tasks=told | new, status=status)


@dataclass(frozen=True)
class ReadBack:
    """How many records came of a run's shards, and by task the samples that two of them answered in two ways."""

    records: int = 0
    conflicts: Mapping[str, Sequence[str]] = field(default_factory=dict)


def merge(run: Run, settled: bool = True) -> ReadBack:
    """Read every shard back into the run, which the caller holds. UsageError where one is held, or is another run's.

    Where a sample was answered before in another way, the shard's answer is kept and the sample is named. ``settled``
    says that nobody looks at the data after: UsageError where two hold answers to other questions.
    A kill amid it loses nothing: a shard goes when the run's records, its own among them, are on the disk.
    """
    require_whole(run)
    found = shard_runs(run)
    clash: dict[str, list[str]] = {}
    with contextlib.ExitStack() as held:
        for part in found:
            run_identity.require_one_run(part, run)
            held.enter_context(part.writing())
        if settled:
            run_identity.require_same_questions([run, *found])
        came = sum(_read_back(run, part, clash) for part in found)
    if found:
        entries = {name: stands(run, name, entry) for name, entry in run.manifest()["tasks"].items()}
        done = all(entry.get("scored", -1) == entry.get("expected") for entry in entries.values())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        run.update(tasks=entries, status="complete" if done else "partial", finished=now)
        for part in found:  # no longer held, as an open file cannot be taken away on Windows; the run still is
            _taken_away(part.folder)
    for left in (*run.folder.glob(f"{FOLDER}/*"), run.folder / FOLDER):
        with contextlib.suppress(OSError):  # what is not empty stays
            left.rmdir()
    return ReadBack(came, clash)


def require_whole(run: Run) -> None:
    """UsageError where a folder of answers lies among the shards that is none."""
    for path in sorted(run.folder.glob(f"{FOLDER}/*/*/{RECORDS}*")):
        if not (path.parents[1] / "run.json").is_file():
            raise UsageError(f"{path.parents[1]} has no run.json, so it is no shard: copy it whole, or remove it")


def _taken_away(folder: Path) -> None:
    """What lies behind a link stays. The manifest goes last: answers without one are nobody's (``require_whole``)."""
    if folder.is_symlink():
        folder.unlink()
        return
    for path in folder.iterdir():
        if path.name != "run.json":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.rmtree(folder)


def _read_back(run: Run, part: ShardRun, clash: dict[str, list[str]]) -> int:
    """The shard's records that say something new, added to the run's; and what its manifest says, to the run's."""
    came = 0
    entries = run.manifest().get("tasks", {})
    for name, told in part.manifest().get("tasks", {}).items():
        there = run.own(name)
        new = [record for record in part.own(name).values() if _adds(record, there.get(record.id))]
        if otherwise := [record.id for record in new if _contradicts(record, there.get(record.id))]:
            clash.setdefault(name, []).extend(otherwise)
        with run.adding(name) as journal:
            journal.append(new)
        came += len(new)
        entry = told_of(told) | entries.get(name, {})
        if new:
            entry["seconds"] = round(entry.get("seconds", 0.0) + told.get("seconds", 0.0), 1)
        entries[name] = entry
    run.update(tasks=entries)
    return came


def told_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a shard's entry of a task says of the task."""
    return {key: value for key, value in entry.items() if key not in OWN}


def _adds(record: Record, there: Record | None) -> bool:
    """Whether a shard's record is to be kept beside what the run has: a failure never stands over an answer."""
    if there is None or (record.scored and not there.scored):
        return True
    return record != there and (record.scored or not there.scored)


def _contradicts(record: Record, there: Record | None) -> bool:
    """Whether the very same question has two answers: of two machines, whose last digits may differ."""
    return there is not None and there.scored and record.key == there.key and record.reply != there.reply


def stands(run: Run, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The task's entry with how it stands now."""
    kept = [record for record in latest(run.records_path(name)).values() if record.reply != engine.GONE]
    scored = sum(record.scored for record in kept)
    return {**entry, "scored": scored, "failed": len(kept) - scored, "expected": entry.get("expected", len(kept))}
