"""What ``report`` gathers and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.asking import evaluate
from harness.cli.comparing import Asked, controlled, opened
from harness.comparison import answer_sets, metric_table
from harness.console import say, tell
from harness.data import Data, resolve
from harness.errors import UsageError
from harness.report.page import Material
from harness.stats import Estimate
from harness.types import Task


def material(
    names: Sequence[str], task: str, data: str, results: Path, sweep: Sequence[str], outside: bool = False
) -> Material:
    """Everything the page is made of."""
    found = opened(Asked([names]), results, task, data)
    where = resolve(data, outside)
    tasks = {one.task.name: _over(one.task, where) for one in found[0].tasks}
    points, metric = _sweep(sweep, results, found[0].tasks[0].task)
    parts: dict[str, Any] = {one.candidate.name: controlled(one, results) for one in found}
    return Material(found, where, tasks, points, metric, {name: tables for name, tables in parts.items() if tables})


def _over(task: Task, data: Data) -> Task:
    """The same task over this data, so that its questions and pictures can be shown."""
    return evaluate.open_task(task.spec or task.name, data.root)


def _sweep(points: Sequence[str], results: Path, fallback: Task) -> tuple[list[tuple[float, Estimate]], str]:
    """The points of a data-efficiency curve, in the headline of the first task that all its runs have."""
    read = []
    for point in points:
        percent, _, name = point.partition("=")
        try:
            read.append((float(percent), answer_sets.of_run(answer_sets.find_run(results, name))))
        except ValueError as error:
            raise UsageError(f"--sweep {point}: write PERCENT=RUN, such as 5=micro-ohd-5") from error
    if not read:
        return [], ""
    shared = set.intersection(*(set(side.records) for _, side in read))
    tasks = [task for task in evaluate.kept_tasks([side.run for _, side in read if side.run]) if task.name in shared]
    task = next((task for task in tasks if task.mode == "rank"), tasks[0] if tasks else fallback)
    scores = [
        (percent, metric_table.scores(task, side.records[task.name]))
        for percent, side in sorted(read, key=lambda p: p[0])
    ]
    group = next(iter([g for g, m in task.summary if m == task.headline]), "")
    return [(percent, found[group][task.headline]) for percent, found in scores], f"{task.name} {task.headline}"


def write(material: Material, out: Path, export: Path | None) -> None:
    """Write the page, and with ``export`` its figures and tables as files."""
    from harness.report import page

    page.write(material, out)
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, opens from disk")
    if export:
        from harness.export import paper

        for path in paper.write(material, export):
            say(str(path))
    tell(out)
