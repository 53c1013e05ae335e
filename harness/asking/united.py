"""Runs of several people in one folder: what each has answered is put together, and where they disagree is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness import packed
from harness.asking import shard_runs
from harness.errors import UsageError
from harness.journal import Journal
from harness.kept_runs import odd, runs
from harness.result import Result
from harness.store import Record, Run, latest

if TYPE_CHECKING:
    from rich.console import RenderableType

ABOUT = ("data", "control", "limit", "seed", "part")
"""What two runs of one name agree on, or are not one run; of the models, the digests."""
SHOWN = 5


@dataclass(frozen=True)
class United(Result):
    """What came of each run: ``records`` are new in it, ``conflicts`` the samples that were answered otherwise."""

    came: Sequence[dict[str, Any]]

    @property
    def agree(self) -> bool:
        """Whether no sample was answered in two ways."""
        return not any(row["conflicts"] for row in self.came)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run, folder it came from, and task."""
        return list(self.came)

    def content(self) -> Any:
        """The same rows, and whether all agree."""
        return {"agree": self.agree, "tasks": self.rows()}

    def parts(self) -> Iterator[RenderableType]:
        """A line for each, conflicts named below it."""
        for row in self.came:
            yield Text(f"{row['run']}: {row['task']}: {row['records']} records came from {row['from']}")
            if clash := row["conflicts"]:
                more = f" and {len(clash) - SHOWN} more" if len(clash) > SHOWN else ""
                told = ", ".join(clash[:SHOWN]) + more
                yield Text(f"  answered otherwise, what was here first is kept: {told}", style="bold red")


def unite(folders: Sequence[Path], results: Path) -> United:
    """Bring the runs of these folders into ``results``: whole where they are new there, else record by record.

    What an answer was asked with is part of its key: two answers of one key may differ (another machine), two of other
    keys are of other models; either is a conflict, and what was in ``results`` first is kept. A failure gives way to an
    answer. UsageError where a folder holds no run, one that cannot be read, or a run of a name that is another's there.
    """
    found = []
    for folder in folders:
        if faults := odd(folder):
            raise UsageError(f"{folder}: {next(iter(faults.values()))}")
        every = runs(folder)
        if not every:
            raise UsageError(f"{folder} is not a folder of runs")
        for run in every:
            _require_same(run, Run(results / run.id))
        found += [(folder, run) for run in every]
    return United([row for folder, run in found for row in _brought(folder, run, Run(results / run.id))])


def _require_same(one: Run, there: Run) -> None:
    first, second = one.manifest(), there.manifest()
    if not second:
        return
    for name in ABOUT:
        if first.get(name) != second.get(name):
            raise UsageError(f"{one.folder} and {there.folder} are not one run: '{name}' differs; rename one of them")
    for part in ("encoder", "lvlm"):
        models = [told.get(part) or {} for told in (first, second)]
        if any(models[0].get(name) != models[1].get(name) for name in ("digest", "digests")):
            raise UsageError(f"{one.folder} and {there.folder} are not one run: the {part}'s weights differ")


def _brought(folder: Path, run: Run, there: Run) -> Iterator[dict[str, Any]]:
    with there.writing():
        if not there.manifest():
            for name in run.manifest().get("tasks", {}):
                there.records_path(name).parent.mkdir(parents=True, exist_ok=True)
                for path in packed.files(run.records_path(name)):
                    shutil.copyfile(path, there.records_path(name).with_name(path.name))
                yield _row(folder, run, name, len(latest(run.records_path(name))), [])
            there.update(**run.manifest())  # last, so that what breaks off is begun again
            return
        entries = there.manifest().get("tasks", {})
        for name, told in run.manifest().get("tasks", {}).items():
            new, clash = _told_apart(run, there, name)
            with Journal(there.records_path(name)) as journal:
                journal.append(new)
            entries[name] = shard_runs.stands(there, name, entries.get(name, told))
            yield _row(folder, run, name, len(new), clash)
        done = all(entry.get("scored", -1) == entry.get("expected") for entry in entries.values())
        there.update(tasks=entries, status="complete" if done else "partial")


def _told_apart(run: Run, there: Run, task: str) -> tuple[list[Record], list[str]]:
    """The records that say something new, and the samples that were answered in another way."""
    ours = latest(there.records_path(task))
    new, clash = [], []
    for record in latest(run.records_path(task)).values():
        own = ours.get(record.id)
        if own is None or (record.scored and not own.scored):
            new.append(record)
        elif record.scored and (record.key, record.reply) != (own.key, own.reply):
            clash.append(record.id)
    return new, clash


def _row(folder: Path, run: Run, task: str, records: int, conflicts: list[str]) -> dict[str, Any]:
    return {"run": run.id, "from": str(folder), "task": task, "records": records, "conflicts": conflicts}
