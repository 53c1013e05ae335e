"""What the answers of a study show: each cell's means, each contrast's differences, in words that say no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.comparison import answer_sets, groups, over_seeds, significance
from harness.comparison.compare import Comparison, MetricChange
from harness.comparison.groups import Group
from harness.comparison.methods import Figures
from harness.store import Run
from harness.study.jobs import Ask, Cell, Place
from harness.study.schema import BASE, Contrast, Study, listed
from harness.types import Task

NAMES = {"ohd-caps": "OHD-Caps", "zero-shot": "zero-shot", "amber": "AMBER", "pope": "POPE", "chair": "CHAIR"}


@dataclass(frozen=True)
class Row:
    """One cell of the study in one table: its name, how many trainings, and each column's mean."""

    cell: Cell
    title: str
    trainings: int
    means: tuple[Figures | None, ...]


@dataclass(frozen=True)
class Told:
    """A contrast on one rung (or of the encoders alone), line by line, p adjusted for every line of the study."""

    contrast: Contrast
    rung: str
    found: Comparison
    lines: tuple[MetricChange, ...]


@dataclass(frozen=True)
class Findings:
    """Everything a study shows."""

    study: Study
    cells: Mapping[Cell, Group]
    tasks: Mapping[str, Task]
    contrasts: tuple[Told, ...]
    _totals: dict[tuple[Cell, str], Mapping[str, over_seeds.Totals]] = field(default_factory=dict)

    def title(self, cell: Cell) -> str:
        """What a cell is called in tables."""
        arm = self.study.arms.get(cell.arm)
        name = (arm.title if arm else "") or ("base: " + self.study.base if cell.arm == BASE else cell.arm)
        rung = self.study.alignments[cell.rung].title or cell.rung if cell.rung else ""
        share = "" if cell.fraction == 1 else f", {100 * cell.fraction:g} % of the data"
        return name + share + (f" · {rung}" if rung else "") + ("" if cell.control == "none" else f" ({cell.control})")

    def rows(self, task: str, columns: Sequence[str]) -> list[Row]:
        """Every cell that was asked this task, with its mean in each column (GROUP:METRIC)."""
        found = []
        for cell, group in self.cells.items():
            if task in self.tasks and all(task in side.records for side in group.sides):
                means = tuple(self.mean(cell, task, column) for column in columns)
                found.append(Row(cell, self.title(cell), len(set(group.units()[0])), means))
        return found

    def mean(self, cell: Cell, task: str, column: str) -> Figures | None:
        """The mean of a column over the cell's trainings; None where it has none."""
        one, group = self.tasks[task], self.cells[cell]
        if (cell, task) not in self._totals:
            self._totals[cell, task] = over_seeds.totals(group, one)
        place = place_of(one, column)
        return over_seeds.mean_of(group, self._totals[cell, task], place, one.metrics_of(place[0])[place[1]])


def place_of(task: Task, column: str) -> tuple[str, str]:
    """The path of the group and the metric that a column GROUP:METRIC names; the whole by its name, or by none."""
    group, _, metric = column.rpartition(":")
    if group in ("", task.whole):
        return "", metric
    return next((path for path, _ in task.summary if path.split("/")[-1] == group), group), metric


def of(study: Study, asked: Sequence[Ask], place: Place, tasks: Sequence[Task]) -> Findings:
    """Everything that the answers given so far show."""
    return find(study, gather(asked, place), tasks)


def gather(asked: Iterable[Ask], place: Place) -> dict[Cell, Group]:
    """The finished runs of each cell as a group; UsageError where they differ in more than seeds."""
    runs: dict[Cell, dict[str, Run]] = {}
    for job in asked:
        if job.done:
            runs.setdefault(job.cell, {})[job.run] = Run(place.results / job.run)
    return {
        cell: groups.group([answer_sets.of_run(run) for run in found.values()], str(cell))
        for cell, found in runs.items()
    }


def find(study: Study, cells: Mapping[Cell, Group], tasks: Sequence[Task]) -> Findings:
    """Every contrast of the study, of encoders and on every rung that both its arms stand on."""
    told = []
    for contrast in study.contrasts:
        for rung in ("", *study.alignments):
            at = [_largest(cells, arm, rung) for arm in (contrast.base, contrast.candidate)]
            if at[0] in cells and at[1] in cells:
                found = over_seeds.compared(cells[at[0]], cells[at[1]], tasks)
                told.append(Told(contrast, rung, found, tuple(_asked(study, found))))
    return Findings(study, cells, {task.name: task for task in tasks}, tuple(_adjusted(told)))


def _asked(study: Study, found: Comparison) -> Iterator[MetricChange]:
    """The lines of the columns that the study's tables have; of a task without a table, those of a summary."""
    for one in found.tasks:
        columns = [column for table in study.tables if table.task == one.task.name for column in table.columns]
        wanted = {place_of(one.task, column) for column in columns}
        every = one.lines if columns else one.short()
        yield from (line for line in every if not columns or (line.group, line.metric) in wanted)


def _largest(cells: Mapping[Cell, Group], arm: str, rung: str) -> Cell:
    """The arm's cell at its largest share of the data."""
    found = [cell for cell in cells if (cell.arm, cell.rung, cell.control) == (arm, rung, "none")]
    return max(found, key=lambda cell: cell.fraction, default=Cell(arm, 1.0, rung))


def _adjusted(told: Sequence[Told]) -> Iterator[Told]:
    """The same, each p adjusted for every line of every contrast (Holm)."""
    values = {f"{i} {j}": line.gap.p for i, one in enumerate(told) for j, line in enumerate(one.lines)}
    holm = significance.holm(values)
    for i, one in enumerate(told):
        yield replace(one, lines=tuple(replace(line, adjusted=holm[f"{i} {j}"]) for j, line in enumerate(one.lines)))


def headlines(told: Told) -> list[MetricChange]:
    """The lines a verdict is about: of each task the metrics that a summary shows, the directed ones."""
    return [
        line for line in told.lines if line.better != "neither" and line.digits == 1 and line.gap.low == line.gap.low
    ]


def verdicts(findings: Findings) -> list[str]:
    """What is shown and what is not, a sentence for each contrast and kind of model; never more than the interval."""
    return [sentence for one in findings.contrasts for sentence in _verdict(findings, one)]


def _verdict(findings: Findings, told: Told) -> Iterator[str]:
    lines = headlines(told)
    if not lines:
        return
    says, over = told.contrast.says, told.contrast.over
    where = (
        "the encoders alone"
        if not told.rung
        else f"the LVLM, {findings.study.alignments[told.rung].title or told.rung}"
    )
    yield f"{says[0].upper()}{says[1:]}, against {over}; {where}; {_seeds(told)}:"
    shown = [line for line in lines if line.adjusted < 0.05]
    hinted = [line for line in lines if line not in shown and not line.gap.low <= 0 <= line.gap.high]
    rest = [line for line in lines if line not in shown and line not in hinted]
    if shown:
        yield "– shown: " + "; ".join(f"{named(line)} {signed(line)}{_worth(line)}" for line in shown) + "."
    if hinted:
        told_of = "; ".join(f"{named(line)} {signed(line)}{_worth(line)}" for line in hinted)
        yield f"– not beyond what looking at so many lines brings (p, Holm, above 0.05): {told_of}."
    if rest:
        left = "; ".join(f"{named(line)} from {line.gap.low:+z.1f} to {line.gap.high:+z.1f}" for line in rest)
        yield f"– nothing is shown, and a difference may still be anything in {left}."


def _seeds(told: Told) -> str:
    counts = [len(one.seeds) for line in told.lines[:1] if line.figures
              for one in (line.figures.base, line.figures.candidate) if one]  # fmt: skip
    if not counts:
        return over_seeds.THESE
    return f"{listed([str(count) for count in counts])} trainings"


def named(line: MetricChange) -> str:
    """A line in words: ``AMBER generative CHAIR``."""
    part = line.group.split("/")[-1]
    return " ".join(filter(None, (NAMES.get(line.task, line.task), part, line.metric.replace("_", " "))))


def signed(line: MetricChange) -> str:
    """``+6.5 [+3.5, +9.6]``."""
    return f"{line.gap.value:+z.1f} [{line.gap.low:+z.1f}, {line.gap.high:+z.1f}]"


def _worth(line: MetricChange) -> str:
    return " (worse)" if (line.gap.value > 0) == (line.better == "lower") else ""
