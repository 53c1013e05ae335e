"""The leaderboard of a folder of kept runs: the page, and every number on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.asking import evaluate
from harness.errors import UsageError
from harness.report import leaderboard as page
from harness.report.side_by_side import SideBySide
from harness.result import Result, plain
from harness.store import runs

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Leaderboard(Result):
    """The page as Markdown, and the runs it could not read with the reason."""

    results: Path
    markdown: str
    left_out: Mapping[str, str]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run, task, group and metric."""
        kept = [run for run in runs(self.results) if run.id not in self.left_out]
        tasks = evaluate.kept_tasks(kept)
        wanted = ("run", "model", "task", "group", "metric", "value", "low", "high")
        return [{key: row[key] for key in wanted} for run in kept for row in SideBySide([run], tasks).rows()]

    def json(self) -> Any:
        """The rows, and what was left out."""
        return plain({"rows": self.rows(), "left_out": dict(self.left_out)})

    def parts(self) -> Iterator[RenderableType]:
        """The page."""
        from rich.markdown import Markdown

        yield Markdown(self.markdown)


def leaderboard(results: Path) -> Leaderboard:
    """The leaderboard that these kept results give; UsageError where there is no such folder."""
    if not results.is_dir():
        raise UsageError(f"{results} is not a folder of runs; 'ohd-bench run' makes one")
    left_out = page.unreadable(results)
    return Leaderboard(results, page.render(results, left_out), left_out)
