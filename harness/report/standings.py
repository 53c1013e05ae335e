"""The rows of a leaderboard: for each task its models, best first; controls and runs on a part of the data apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.asking import available, evaluate
from harness.comparison import groups, methods, metric_table, over_seeds
from harness.comparison.groups import Group
from harness.registry import parse_spec
from harness.report.tradeoffs import FORGETTING, tradeoffs
from harness.stats import Difference, Estimate
from harness.store import Run
from harness.types import OF_ENCODERS, Task

Kept = tuple[Run, Mapping[str, Any]]
Column = tuple[str, str]
"""A group and a metric of a task."""
MODELS = ("encoder", "lvlm")


@dataclass(frozen=True)
class Standing:
    """One run of a task, or several that differ by training seed alone."""

    models: tuple[str, str]
    data: str
    marks: tuple[str, ...]
    seeds: int
    date: str
    runs: tuple[str, ...]
    values: Mapping[Column, Estimate]
    best: bool = False
    forgotten: Difference | None = None
    """Of a trained encoder, where its base was asked too: the change of zero-shot from its base."""

    @property
    def whole(self) -> bool:
        """Whether all questions were asked, about their own pictures."""
        return not self.marks


@dataclass(frozen=True)
class Standings:
    """A task's table: its columns, the headline first, and its rows, the best first."""

    task: Task
    columns: tuple[Column, ...]
    rows: tuple[Standing, ...]

    def parts(self) -> dict[str, tuple[Standing, ...]]:
        """The rows that compare with one another, and under a title of their own those that do not."""
        whole = tuple(row for row in self.rows if row.whole)
        rest = tuple(row for row in self.rows if not row.whole)
        return {"": whole, "Controls, and runs on a part of the data": rest}

    @property
    def tells_forgetting(self) -> bool:
        """Whether any row says what its training forgot."""
        return any(row.forgotten for row in self.rows)


def standings(kept: Sequence[Kept], names: Mapping[str, str] | None = None) -> list[Standings]:
    """A table for each task that any of these runs was asked; ``names`` are shown for specs or runs of these names."""
    tasks = evaluate.kept_tasks(run for run, _ in kept)
    found = groups.together(run for run, _ in sorted(kept, key=lambda pair: _order(pair[1])))
    made = [_of_task(task, [one for one in found if _asked(one, task)], names or {}) for task in tasks]
    lost = {one.trained: one.forgotten for one in tradeoffs(kept)}
    trained = {side.run.id: frozenset(one.digests()) for one in found for side in one.sides if side.run}
    return [_with_forgotten(one, {run: lost[of] for run, of in trained.items() if of in lost}) for one in made]


def _with_forgotten(one: Standings, lost: Mapping[str, Difference]) -> Standings:
    """The table of a task of encoders with what each row's training forgot; zero-shot's own says it already."""
    if one.task.mode not in OF_ENCODERS or parse_spec(one.task.spec).name == FORGETTING:
        return one
    return replace(one, rows=tuple(replace(row, forgotten=lost.get((*row.runs, "")[0])) for row in one.rows))


def columns(task: Task) -> tuple[Column, ...]:
    """The metrics of a short table, the task's headline first."""
    summary = list(task.summary) or [("", task.headline)]
    return tuple(sorted(summary, key=lambda pair: pair != ("", task.headline)))


def _asked(one: Group, task: Task) -> bool:
    return any(task.name in side.manifest.get("tasks", {}) for side in one.sides)


def _of_task(task: Task, found: Sequence[Group], names: Mapping[str, str]) -> Standings:
    shown = columns(task)
    sign = -1 if task.metrics_of(shown[0][0])[shown[0][1]].better == "lower" else 1

    def place(pair: tuple[Group, Standing]) -> tuple[bool, float]:
        value = pair[1].values[shown[0]].value
        return (not pair[1].whole, math.inf if value != value else -sign * value)

    rows = sorted(((one, _standing(one, task, shown, names)) for one in found), key=place)
    directed = task.metrics_of(shown[0][0])[shown[0][1]].better != "neither"
    best = directed and len(rows) > 1 and rows[1][1].whole and _is_better(task, shown[0], rows[0], rows[1])
    made = [row for _, row in rows]
    if best:
        made[0] = replace(made[0], best=True)
    return Standings(task, shown, tuple(made))


def _is_better(task: Task, column: Column, first: tuple[Group, Standing], second: tuple[Group, Standing]) -> bool:
    """Whether the first is better beyond chance: by the paired difference; of several seeds, by intervals apart."""
    runs = [one.sides[0].run for one, _ in (first, second) if len(one.sides) == 1]
    if len(runs) == 2 and runs[0] and runs[1]:
        rows = metric_table.rows(task, [run for run in runs if run], [column])
        gap = next((row.differences[1] for row in rows if (row.group, row.metric) == column), None)
        return gap is not None and (gap.low > 0 or gap.high < 0)
    a, b = (row.values[column] for _, row in (first, second))
    return a.low > b.high or a.high < b.low


def _standing(one: Group, task: Task, shown: Sequence[Column], names: Mapping[str, str]) -> Standing:
    manifests = [side.manifest for side in one.sides]
    runs = tuple(side.run.id for side in one.sides if side.run)
    if len(one.sides) == 1 and one.sides[0].run:
        scores = metric_table.scores(task, one.sides[0].run.records(task.name, words=False), shown)
        values = {(group, name): scores.get(group, {}).get(name) or NONE for group, name in shown}
        models = [str((manifests[0].get(part) or {}).get("spec", "")) for part in MODELS]
    else:
        totals = over_seeds.totals(one, task)
        values = {column: _mean(one, task, totals, column) for column in shown}
        models = [groups.model(one.sides, part) for part in MODELS]
    named = [names.get(model, model) for model in models]
    if runs and runs[0] in names:
        named[0] = names[runs[0]]
    return Standing(
        (named[0], named[1]),
        str(manifests[0].get("data", "?")),
        tuple(_marks(manifests[0])),
        len(set(one.units()[0])),
        max(str(manifest.get("finished") or manifest.get("created") or "")[:10] for manifest in manifests),
        runs,
        values,
    )


NONE = Estimate(math.nan, math.nan, math.nan, 0, 0)


def _mean(one: Group, task: Task, totals: Mapping[str, methods.Totals], column: Column) -> Estimate:
    found = over_seeds.mean_of(one, totals, column, task.metrics_of(column[0])[column[1]])
    return Estimate(found.value, found.low, found.high, len(one.sides), found.images) if found else NONE


def _order(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """By control, data, LVLM and encoder: where the headline is equal, the order is still one."""
    specs = [(manifest.get(part) or {}).get("spec", "") for part in ("lvlm", "encoder")]
    return (manifest.get("control", "none"), manifest.get("data", ""), *specs)


def _marks(manifest: Mapping[str, Any]) -> list[str]:
    """Why a run does not compare with those that were asked everything."""
    marks = []
    if manifest.get("control", "none") != "none":
        marks.append(f"control: {manifest['control']}")
    if manifest.get("limit"):
        marks.append(f"{manifest['limit']} images only")
    marks += available.marks(manifest)
    if manifest.get("status") != "complete":
        marks.append(str(manifest.get("status", "unknown")))
    return marks
