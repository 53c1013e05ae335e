"""The leaderboard of a folder of kept runs: the page, and every number on it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.asking import evaluate
from harness.kept_runs import require_folder, runs
from harness.report import board
from harness.report import leaderboard as page
from harness.report.side_by_side import SideBySide
from harness.report.standings import Standings
from harness.result import Result, plain

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Leaderboard(Result):
    """The page as Markdown, and the runs it could not read with the reason."""

    results: Path
    folder: str
    markdown: str
    left_out: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def standings(self) -> dict[str, list[Standings]]:
        """The tables by the title of their world."""
        return page.by_world(self.results, self.left_out, self.names)

    def html(self) -> str:
        """The page that sorts and filters itself."""
        return board.html(self.standings, self.folder, page.tradeoffs_by_world(self.results, self.left_out))

    def csv(self) -> str:
        """A row for each task, model and metric, unrounded."""
        return board.as_csv(self.standings)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run, task, group and metric."""
        kept = [run for run in runs(self.results) if run.id not in self.left_out]
        tasks = evaluate.kept_tasks(kept)
        wanted = ("run", "model", "task", "group", "metric", "value", "low", "high")
        return [{key: row[key] for key in wanted} for run in kept for row in SideBySide([run], tasks).rows()]

    def content(self) -> Any:
        """The rows, and what was left out."""
        return plain({"rows": self.rows(), "left_out": dict(self.left_out)})

    def parts(self) -> Iterator[RenderableType]:
        """The page."""
        from rich.markdown import Markdown

        yield Markdown(self.markdown)


def leaderboard(results: Path, names: Mapping[str, str] | None = None, place: Path | None = None) -> Leaderboard:
    """The leaderboard that these kept results give; UsageError where there is no such folder.

    ``names`` are shown instead of specs, or for the runs of these names. ``place`` is the folder that the page is for,
    from which its links lead to the runs: beside the results where none is given.
    """
    require_folder(results)
    left_out = page.unreadable(results)
    folder = Path(os.path.relpath(results, results.absolute().parent if place is None else place)).as_posix()
    return Leaderboard(results, folder, page.render(results, folder, left_out, names), left_out, names or {})
