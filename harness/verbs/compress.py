"""Compress the records of kept runs: the same runs to every reader, in the seventh part of the room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness import packed
from harness.kept_runs import pick, require_folder, runs
from harness.result import Result
from harness.store import ENDED, Run, records_files

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Compressed(Result):
    """What was compressed: of each run and task, the bytes of its lines and those that keep them now."""

    tasks: Sequence[dict[str, Any]]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run and task."""
        return list(self.tasks)

    def content(self) -> Any:
        """The same rows."""
        return {"tasks": self.rows()}

    def parts(self) -> Iterator[RenderableType]:
        """A line for each run, and one for all."""
        for run in dict.fromkeys(row["run"] for row in self.tasks):
            yield Text(f"{run}: {_told([row for row in self.tasks if row['run'] == run])}")
        yield Text(f"together {_told(self.tasks)}" if self.tasks else "nothing came since it was last compressed")


def _told(rows: Sequence[dict[str, Any]]) -> str:
    before, after = (sum(row[name] for row in rows) / 1e6 for name in ("bytes", "compressed"))
    return f"{before:.2f} MB of records in {after:.2f} MB"


def compress(results: Path, names: Sequence[str]) -> Compressed:
    """Compress the records of these runs; of every run that has ended where none is named.

    UsageError where there is no such run or another process writes it, DataError where its records are damaged,
    compressed ones among them, or are another run's.
    """
    require_folder(results)
    ended = (run for run in runs(results) if run.manifest().get("status") in ENDED)
    wanted = [pick(results, name) for name in names] or list(ended)
    return Compressed([row for run in wanted for row in _compressed(run)])


def _compressed(run: Run) -> Iterator[dict[str, Any]]:
    with run.writing():
        for path in records_files(run.folder):
            run.own(path.parent.name, words=False)  # what is damaged is said as it is read
            if size := packed.pack(path):
                kept = packed.beside(path).stat().st_size
                yield {"run": run.id, "task": path.parent.name, "bytes": size, "compressed": kept}
