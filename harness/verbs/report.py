"""Write one HTML page of a comparison, and its figures and tables as files for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import kinds
from harness.asking import evaluate
from harness.comparison import answer_sets, metric_table
from harness.comparison.compare import Comparison, Key
from harness.data import Data, resolve
from harness.errors import UsageError
from harness.report.comparisons import Comparisons, controlled
from harness.report.page import Material
from harness.stats import Estimate
from harness.types import Task
from harness.verbs.compare import CompareOptions, named, opened


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Where the page and its files are written, and what stands in it beside the comparison.

    The files for a paper show the ``metrics`` named (METRIC, TASK:METRIC or TASK:GROUP:METRIC; without a group that of
    the task's short table), figures are as wide as ``width`` says: ``neurips``, ``acl``, ``cvpr`` (a column of theirs)
    or points.
    """

    out: Path = Path("report.html")
    export: Path | None = None
    sweep: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    width: str = ""
    allow_outside: bool = False

    def __post_init__(self) -> None:
        kinds.require(self)


@dataclass(frozen=True)
class Report(Comparisons):
    """The comparisons of a page, and the files that were written: the page first."""

    files: Sequence[Path] = ()


def report(asked: CompareOptions, options: ReportOptions) -> Report:
    """Write the page of these comparisons, and with ``export`` its figures and tables as files."""
    from harness.export import paper
    from harness.report import page, print_style

    wide = print_style.width_of(options.width) if options.width else 0.0
    if not options.export and (options.metrics or options.width):
        raise UsageError("--metrics and --width are of the files for a paper: name their folder by --export DIR")
    made = material(asked, options)
    page.write(made, options.out)
    files = paper.write(made, options.export, wide) if options.export else []
    return Report(made.found, asked.results, files=(options.out, *files))


def material(asked: CompareOptions, options: ReportOptions) -> Material:
    """Everything the page is made of."""
    found = opened(asked)
    metrics = dict.fromkeys(key for name in options.metrics for key in _metric(found, name))
    where = resolve(asked.data, options.allow_outside)
    tasks = {one.task.name: _over(one.task, where) for one in found[0].tasks}
    points, metric = _sweep(options.sweep, asked.results, found[0].tasks[0].task)
    parts: dict[str, Any] = {one.candidate.name: controlled(one, asked.results) for one in found}
    controls = {name: tables for name, tables in parts.items() if tables}
    return Material(found, where, tasks, points, metric, controls, tuple(metrics))


def _metric(found: Sequence[Comparison], name: str) -> list[Key]:
    """The lines that --metrics names; where it names no group, those of the tasks' short tables, else of the whole."""
    keys = list(dict.fromkeys(line.key for line in named(found, [name], "--metrics")))
    short = [line.key for one in found[0].tasks for line in one.short() if line.key in keys]
    return (short or [key for key in keys if not key[1]] or keys) if name.count(":") < 2 else keys


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
