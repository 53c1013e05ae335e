"""Runs of several people in one folder: what each has answered is put together, and where they disagree is named."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness import durable, packed
from harness.asking import shard_runs
from harness.asking.run_identity import require_one_run, require_same_questions
from harness.errors import UsageError
from harness.kept_runs import fault, odd, runs
from harness.records import Record, latest
from harness.result import Result
from harness.store import Run

if TYPE_CHECKING:
    from rich.console import RenderableType

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
    answer. UsageError where a folder holds no run, one that cannot be read, or a run of a name that is another's there;
    DataError where records are damaged or another run's.
    """
    found: list[tuple[Path, Run]] = []
    for folder in folders:
        if faults := odd(folder):
            raise UsageError(f"{folder}: {next(iter(faults.values()))}")
        every = runs(folder)
        if not every:
            hint = f" but one of them: name {folder.parent}" if (folder / "run.json").is_file() else ""
            raise UsageError(f"{folder} is not a folder of runs{hint}")
        for run in every:
            _require_sound(run)
        found += [(folder, run) for run in every]
    for name in dict.fromkeys(run.id for _, run in found):
        _require_one(Run(results / name), [run for _, run in found if run.id == name])
    return United([row for folder, run in found for row in _brought(folder, run, Run(results / run.id))])


def _require_one(there: Run, came: Sequence[Run]) -> None:
    """UsageError where these, and what is there of them, are not one run or were not asked the same questions."""
    for one, other in itertools.combinations((there, *came), 2):
        require_one_run(other, one)
    require_same_questions(part for run in (there, *came) for part in (run, *shard_runs.shard_runs(run)))


def _require_sound(run: Run) -> None:
    """What is damaged, and what is another run's, is said before anything comes."""
    for one in (run, *shard_runs.shard_runs(run)):
        require_one_run(one, run)
        for name in one.manifest().get("tasks", {}):
            one.own(name)


def _brought(folder: Path, run: Run, there: Run) -> Iterator[dict[str, Any]]:
    shards = shard_runs.shard_runs(run)
    with there.writing():
        if not there.manifest() and not shards and not fault(lambda: _read_whole(run)):
            yield from _copied(folder, run, there)
            return
        if not there.manifest():
            there.update(**{key: told for key, told in run.manifest().items() if key != "answers"})
        entries = there.manifest().get("tasks", {})
        for one in (run, *shards):
            for name, told in one.manifest().get("tasks", {}).items():
                new, clash = _told_apart(one, there, name)
                with there.adding(name) as journal:
                    journal.append(new)
                about = told if one is run else shard_runs.told_of(told)
                entries[name] = shard_runs.stands(there, name, {**about, **entries.get(name, {})})
                yield _row(folder if one is run else one.folder, run, name, len(new), clash)
        done = all(entry.get("scored", -1) == entry.get("expected") for entry in entries.values())
        there.update(tasks=entries, status="complete" if done else "partial")


def _read_whole(run: Run) -> None:
    """DataError where answers are gone: what is left comes record by record then, and is counted anew."""
    for name in run.manifest().get("tasks", {}):
        run.records(name, words=False)


def _copied(folder: Path, run: Run, there: Run) -> Iterator[dict[str, Any]]:
    """A run that is new, as it is; its manifest comes last, so that what breaks off is begun again."""
    for name in run.manifest().get("tasks", {}):
        there.records_path(name).parent.mkdir(parents=True, exist_ok=True)
        for path in packed.files(run.records_path(name)):
            durable.copy(path, there.records_path(name).with_name(path.name))
        yield _row(folder, run, name, len(latest(run.records_path(name))), [])
    there.update(**run.manifest())


def _told_apart(run: Run, there: Run, task: str) -> tuple[list[Record], list[str]]:
    """The records that say something new, and the samples that were answered in another way."""
    ours = there.own(task)
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
