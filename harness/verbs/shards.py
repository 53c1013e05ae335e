"""Ask a share of what a run asks, and read all shares back into it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness.asking import evaluate, shard_runs
from harness.asking.run_options import RunOptions
from harness.kept_runs import pick, require_folder, runs
from harness.result import Result
from harness.store import Run
from harness.verbs.run import Watcher, performed

if TYPE_CHECKING:
    from rich.console import RenderableType


SHOWN = 5
"""So many samples that were answered in two ways are named; --json names all."""


@dataclass(frozen=True)
class Sharded(Result):
    """How a share of the runs that were asked for stands; what it comes to, only all shards together say."""

    options: RunOptions
    outcomes: Sequence[evaluate.Outcome]

    @property
    def complete(self) -> bool:
        """Whether every question of this share has an answer."""
        return all(one.complete for one in self.outcomes)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run and task."""
        return [
            {"run": one.run.sources()[0].name, "shard": self.options.shard, "task": task, **asdict(standing)}
            for one in self.outcomes
            for task, standing in one.tasks.items()
        ]

    def content(self) -> Any:
        """The same rows, and whether they are complete."""
        return {"shard": self.options.shard, "complete": self.complete, "tasks": self.rows()}

    def parts(self) -> Iterator[RenderableType]:
        """A line for each, and what to do when all shards are through."""
        for row in self.rows():
            failed = f", {row['failed']} failed: {row['first_failure']}" if row["failed"] else ""
            said = f"{row['run']}: {row['task']}: shard {row['shard']}: {row['scored']} of {row['expected']} scored"
            yield Text(said + failed)
        names = dict.fromkeys(row["run"] for row in self.rows())
        command = ["ohd-bench", "merge", *names, "--results", str(self.options.results)]
        yield Text(f"when all shards are through: {shlex.join(command)}")


def run_shard(options: RunOptions, watcher: Watcher) -> Sharded:
    """Ask the share that ``options.shard`` names, each run's kept in a folder of its own below the run's."""
    return Sharded(options, performed(options, watcher)[1])


@dataclass(frozen=True)
class Merged(Result):
    """Runs whose shards were read back, how many records each gained, and others whose questions lack answers."""

    came: Sequence[tuple[Run, shard_runs.ReadBack | None]]

    @property
    def complete(self) -> bool:
        """Whether every question of every run has an answer."""
        return all(_is_whole(run) for run, _ in self.came)

    @property
    def agree(self) -> bool:
        """Whether no sample was answered in two ways."""
        return not any(came.conflicts for _, came in self.came if came)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run and task."""
        return [
            {
                "run": run.id,
                "records": came.records if came else 0,
                "task": task,
                **{key: entry.get(key) for key in ("expected", "scored", "failed")},
                "conflicts": list(came.conflicts.get(task, ())) if came else [],
            }
            for run, came in self.came
            for task, entry in run.manifest().get("tasks", {}).items()
        ]

    def content(self) -> Any:
        """The same rows, and whether they are complete."""
        return {"complete": self.complete, "tasks": self.rows()}

    def parts(self) -> Iterator[RenderableType]:
        """A line for each task, and what to do where something has no answer yet."""
        for row in self.rows():
            yield Text(f"{row['run']}: {row['task']}: {row['scored']} of {row['expected']} scored")
            if clash := row["conflicts"]:
                told = f"{', '.join(clash[:SHOWN])}" + (f" and {len(clash) - SHOWN} more" if clash[SHOWN:] else "")
                yield Text(f"  answered otherwise, the last shard's answer is kept: {told}", style="bold red")
        if not any(came for _, came in self.came):
            yield Text("no run has shards that were not read back")
        if not self.complete:
            yield Text("what has no answer is asked by the same run without --shard, or by the shards that are missing")


def merge(results: Path, names: Sequence[str]) -> Merged:
    """Read the shards of these runs back (of every run where none is named); no model and no data are needed.

    UsageError where there is no such run, or where it or one of its shards is being written.
    """
    require_folder(results)
    wanted = [pick(results, name) for name in names] or runs(results)
    return Merged([(run, came) for run in wanted if (came := _read_back(run)) or names or not _is_whole(run)])


def _read_back(run: Run) -> shard_runs.ReadBack | None:
    """What came of a run's shards; None where it has none."""
    shard_runs.require_whole(run)
    if not shard_runs.shard_runs(run):
        return None
    with run.writing():
        return shard_runs.merge(run)


def _is_whole(run: Run) -> bool:
    return run.manifest().get("status") == "complete"
