"""Runs that cross tower, projector and language model, as they are shown: each part's effect in each metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness.asking import evaluate
from harness.comparison import answer_sets, effects
from harness.comparison.effects import Effect
from harness.comparison.metric_table import gap, p_value, shown
from harness.errors import UsageError
from harness.result import Result, plain
from harness.types import OF_ENCODERS, Task

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Crossed(Result):
    """Main effects and interactions in every metric of these tasks."""

    tasks: Sequence[Task]
    found: Sequence[Effect]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each effect in each metric."""
        return [
            {"task": one.task, "group": one.group, "metric": one.metric, "parts": " × ".join(one.parts)}
            | asdict(one.change)
            for one in self.found
        ]

    def content(self) -> Any:
        """An object for each."""
        return plain([asdict(one) for one in self.found])

    def parts(self) -> Iterator[RenderableType]:
        """The metrics of each task's summary."""
        table = Table(
            header_style="bold",
            caption="Main effects average over the other parts; A × B is what both do beyond their sum.",
        )
        for head in ("task", "group", "metric", "parts"):
            table.add_column(head)
        for head in ("effect", "p"):
            table.add_column(head, justify="right")
        tasks = {task.name: task for task in self.tasks}
        for one in (one for one in self.found if (one.group, one.metric) in shown(tasks[one.task])):
            digits = tasks[one.task].metrics_of(one.group)[one.metric].digits
            said = gap(one.change, digits), p_value(one.change.p)
            table.add_row(one.task, one.group or "all", one.metric, " × ".join(one.parts), *said)
        yield table


def crossed(names: Sequence[str], results: Path, task: str) -> Crossed:
    """The effects in these kept runs, the all-base one first, in every task that asks the LVLM, or in the one named.

    UsageError where the runs are no whole cross, and where the task is one of encoders.
    """
    runs = [answer_sets.find_run(results, name) for name in names]
    if len(runs) < 2:
        raise UsageError("effects takes the runs of a whole cross: two, four or eight, the all-base one first")
    every, tasks = answer_sets.open_answer_sets([run.id for run in runs], results, task, None)
    spoken = [one for one in tasks if one.mode not in OF_ENCODERS]
    if not spoken:
        asked = ", ".join(one.name for one in evaluate.kept_tasks(runs) if one.mode not in OF_ENCODERS)
        raise UsageError(
            f"{', '.join(one.name for one in tasks)}: a task of encoders alone, in which no projector and no language "
            f"model has an effect; there is {asked or 'none of the LVLM in these runs'}"
        )
    for other in every[1:]:
        if other.control != every[0].control:
            raise UsageError(
                f"{every[0].name} was asked under the control {every[0].control}, {other.name} under {other.control}"
            )
        answer_sets.require_comparable(every[0], other, spoken)
    return Crossed(spoken, [one for of in spoken for one in effects.effects(of, runs)])
