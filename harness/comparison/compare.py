"""Two sides over the same questions: every difference paired by image, flips, and whether it is sight or bias."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import stats, tallies
from harness.comparison import answer_sets, bias, probabilities, significance
from harness.comparison.answer_sets import AnswerSet
from harness.comparison.methods import Figures
from harness.comparison.significance import Flips
from harness.metrics import Metric
from harness.records import Record
from harness.stats import Difference, Estimate
from harness.tallies import Tally
from harness.types import Task

Key = tuple[str, str, str]
"""Task, group and metric: what names a line."""


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric of one group: the base, the candidate, their difference; p adjusted for all lines looked at."""

    task: str
    group: str
    metric: str
    better: str
    digits: int
    base: Estimate
    candidate: Estimate
    gap: Difference
    adjusted: float = float("nan")
    figures: Figures | None = None
    """Where trainings are compared: what the interval is made of, and each training's value."""

    @property
    def key(self) -> Key:
        """Which line it is: task, group and metric."""
        return self.task, self.group, self.metric

    @property
    def detectable(self) -> float:
        """The smallest true difference this data finds in four of five cases."""
        if self.figures:
            return self.figures.detectable
        return significance.detectable(self.gap.se, self.gap_images)

    @property
    def gap_images(self) -> int:
        """The images that the difference rests on."""
        return max(self.base.images, self.candidate.images)

    @property
    def worse(self) -> bool:
        """Whether the candidate is worse and the interval leaves out 0."""
        way = bias.moved(self.gap)
        return way != 0 and self.better != "neither" and (way < 0) == (self.better == "higher")


@dataclass(frozen=True)
class OneTask:
    """What a comparison found in one task: its lines by group, flips, and the reading of its yes-no questions."""

    task: Task
    samples: int
    images: int
    unpaired: int
    """Samples that some of the runs have answered, and not all."""
    lines: tuple[MetricChange, ...]
    flips: Mapping[str, Flips]
    readings: Mapping[str, bias.Reading]
    signal: Mapping[str, tuple[dict[str, float], dict[str, float]]]
    beliefs: tuple[probabilities.Believed, probabilities.Believed] | None
    floors: Mapping[str, Mapping[str, Mapping[str, float]]]

    def summary(self) -> list[tuple[str, str]]:
        """The groups and metrics by which the task is summed up."""
        return list(self.task.summary) or [("", self.task.headline)]

    def floor_lines(self) -> list[tuple[str, list[tuple[str, str, float, int]]]]:
        """What answers that never see a picture score, by floor: (group, metric, value, digits) of the summary."""
        wanted = self.summary()
        at = {(one.group, one.metric): one.digits for one in self.lines if (one.group, one.metric) in wanted}
        return [
            (floor, [(g, m, groups[g][m], d) for (g, m), d in at.items() if m in groups.get(g, {})])
            for floor, groups in self.floors.items()
        ]

    def tops(self) -> list[str]:
        """The widest groups of yes-no questions."""
        return [group for group in self.readings if not any(_above(other, group) for other in self.readings)]

    def short(self) -> list[MetricChange]:
        """The lines of a short table: the task's own choice, discrimination and bias, and what p(yes) adds."""
        chosen = self.summary()
        chosen += [(group, name) for group in self.tops() for name in bias.SHOWN]
        beliefs = {line.metric for line in self.lines} - set(self.task.metrics)
        chosen += [(line.group, line.metric) for line in self.lines if line.metric in beliefs and not line.group]
        by_name = {(line.group, line.metric): line for line in self.lines}
        return [by_name[pair] for pair in dict.fromkeys(chosen) if pair in by_name]


@dataclass(frozen=True)
class Comparison:
    """A base and a candidate over all the tasks both have."""

    base: AnswerSet
    candidate: AnswerSet
    tasks: tuple[OneTask, ...]
    joint: Difference | None
    about: tuple[str, ...] = ()
    """What of trainings the numbers speak: how many, with which seeds, and how they were put together."""

    def lines(self, full: bool = False) -> list[MetricChange]:
        """The lines to look at, their p-values adjusted for looking at all of them (Holm)."""
        return _adjusted([line for one in self.tasks for line in (one.lines if full else one.short())])

    def summary(self) -> list[MetricChange]:
        """The lines by which the tasks are summed up, adjusted for looking at all of them."""
        return self.named([(one.task.name, *pair) for one in self.tasks for pair in one.summary()])

    def named(self, keys: Sequence[Key]) -> list[MetricChange]:
        """The lines of these tasks, groups and metrics, in this order, adjusted for looking at all of them."""
        at = {line.key: line for one in self.tasks for line in one.lines}
        return _adjusted([at[key] for key in keys if key in at])


def _adjusted(shown: Sequence[MetricChange]) -> list[MetricChange]:
    adjusted = significance.holm({str(i): line.gap.p for i, line in enumerate(shown)})
    return [replace(line, adjusted=adjusted[str(i)]) for i, line in enumerate(shown)]


def compare(base: AnswerSet, candidate: AnswerSet, tasks: Sequence[Task]) -> Comparison:
    """What changed from base to candidate; UsageError where the two do not compare."""
    ours = [task for task in tasks if task.name in base.records and task.name in candidate.records]
    answer_sets.require_comparable(base, candidate, ours)
    found = tuple(_one_task(task, base, candidate) for task in ours)
    return Comparison(base, candidate, found, _joint(ours, base, candidate))


def _one_task(task: Task, base: AnswerSet, candidate: AnswerSet) -> OneTask:
    every = base.records[task.name], candidate.records[task.name]
    first, second = tallies.common(*every)
    pairs = tallies.paired_tallies(first, second)
    beliefs = _beliefs(first, second)
    believed = _belief_lines(task, beliefs) if beliefs else []
    lines: list[MetricChange] = []
    readings: dict[str, bias.Reading] = {}
    signal: dict[str, tuple[dict[str, float], dict[str, float]]] = {}
    drawn = stats.of_both(pairs)
    for group, (before, after) in pairs.items():
        chosen = _finite(task.metrics_of(group), before, after)
        changes = stats.compared(chosen, before, after, drawn=drawn[group])
        lines += [_line(task, group, name, task.metrics_of(group)[name], pair) for name, pair in changes.items()]
        if "balanced_accuracy" in task.metrics_of(group) and before.totals().get("n"):
            gaps = {name: gap for name, (_, _, gap) in changes.items()}
            if not any(_above(other, group) for other in readings):  # p(yes) is compared over all questions together
                gaps |= {line.metric: line.gap for line in believed}
            readings[group] = bias.read(gaps, before.totals(), after.totals())
            signal[group] = (before.totals(), after.totals())
    unpaired = len({r.id for one in every for r in one if r.scored}) - len(first)
    images = len({record.image for record in first})
    flips = _flips(first, second)
    floors = _floors(task.name, base, candidate)
    return OneTask(task, len(first), images, unpaired, (*lines, *believed), flips, readings, signal, beliefs, floors)


def _floors(task: str, base: AnswerSet, candidate: AnswerSet) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """The base's floors, and the candidate's where they are others: a task asked in another way may have its own."""
    first, second = (side.manifest.get("tasks", {}).get(task, {}).get("floors", {}) for side in (base, candidate))
    return {**first, **{f"{name} of {candidate.name}": one for name, one in second.items() if one != first.get(name)}}


def _finite(metrics: Mapping[str, Metric], *counted: Tally) -> dict[str, Metric]:
    """The metrics that have a value on both sides."""
    totals = [one.totals() for one in counted]
    return {name: metric for name, metric in metrics.items() if all(np.isfinite(metric(one)) for one in totals)}


def _line(task: Task, group: str, name: str, metric: Metric, pair: stats.Pair) -> MetricChange:
    return MetricChange(task.name, group, name, metric.better, metric.digits, *pair)


def _flips(first: Sequence[Record], second: Sequence[Record]) -> dict[str, Flips]:
    """The flips of every group."""
    members: dict[str, list[int]] = {}
    for i, record in enumerate(first):
        for group in tallies.groups_of(record.group):
            members.setdefault(group, []).append(i)
    found = {g: significance.flips([first[i] for i in at], [second[i] for i in at]) for g, at in members.items()}
    return {group: one for group, one in found.items() if one}


def _beliefs(
    first: Sequence[Record], second: Sequence[Record]
) -> tuple[probabilities.Believed, probabilities.Believed] | None:
    """Both sides' p(yes) on the same questions, where both have it and the questions have both answers."""
    both = [
        (a, tallies.placed(b, a.image, b.group))
        for a, b in zip(first, second, strict=True)
        if getattr(a.reply, "p_yes", None) is not None and getattr(b.reply, "p_yes", None) is not None
    ]
    images = tuple(sorted({a.image for a, _ in both if probabilities.truth(a) is not None}))
    before, after = (probabilities.believed([pair[i] for pair in both], images) for i in (0, 1))
    if not before.yes.any() or before.yes.all():
        return None
    return before, after


def _belief_lines(task: Task, beliefs: tuple[probabilities.Believed, probabilities.Believed]) -> list[MetricChange]:
    ratio = float((beliefs[0].p >= 0.5).mean())
    chosen = probabilities.measures(ratio)
    found = probabilities.estimates(list(beliefs), chosen)
    return [
        MetricChange(task.name, "", name, chosen[name].better, chosen[name].digits, values[0], values[1], gaps[1])
        for name, (values, gaps) in found.items()
        if gaps[1] is not None
    ]


def _joint(tasks: Sequence[Task], base: AnswerSet, candidate: AnswerSet) -> Difference | None:
    """The mean change of the tasks' headlines for the better; one draw of images for all tasks, as tasks share them."""
    chosen = headlined(tasks, (base, candidate))
    if len(chosen) < 2:
        return None
    pairs = [_clustered(*tallies.common(base.records[one.name], candidate.records[one.name])) for one in chosen]
    images = sorted({record.image for first, _ in pairs for record in first})
    groups, names = zip(*map(headline, chosen), strict=True)
    counted = {
        (n, side): tallies.tally(records, images, [groups[n]])[groups[n]]
        for n, both in enumerate(pairs)
        for side, records in enumerate(both)
    }
    drawn = stats.resampled(counted)
    value, spread = 0.0, np.zeros(stats.RESAMPLES)
    for n, task in enumerate(chosen):
        metric = task.metrics_of(groups[n])[names[n]]
        sign = (-1.0 if metric.better == "lower" else 1.0) / len(chosen)
        value += sign * float(metric(counted[n, 1].totals()) - metric(counted[n, 0].totals()))
        spread += sign * (np.asarray(metric(drawn[n, 1]), float) - np.asarray(metric(drawn[n, 0]), float))
    return stats.difference(value, spread, len(images))


def headlined(tasks: Iterable[Task], sides: Sequence[AnswerSet]) -> list[Task]:
    """The tasks whose headline says which way is better and has a value on all of these sides.

    Of MME a part has no sum over all kinds; of MMHal-Bench only length is known here.
    """

    def has_value(task: Task) -> bool:
        group, name = headline(task)
        metric = task.metrics_of(group)[name]
        counted = [tallies.tally(side.records[task.name], only=[group]).get(group) for side in sides]
        return metric.better != "neither" and all(
            one is not None and np.isfinite(metric(one.totals())) for one in counted
        )

    return [task for task in tasks if has_value(task)]


def headline(task: Task) -> tuple[str, str]:
    """The group and name of the metric that stands for the task."""
    named = [pair for pair in task.summary if pair[1] == task.headline]
    return named[0] if named else ("", task.headline)


def _clustered(first: Sequence[Record], second: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Both on the base's image: a control may have shown another one, and the two are still paired."""
    images = [answer_sets.cluster(record.image) for record in first]
    return _on(images, first), _on(images, second)


def _on(images: Sequence[str], records: Sequence[Record]) -> list[Record]:
    return [tallies.placed(record, image, record.group) for image, record in zip(images, records, strict=True)]


def _above(other: str, group: str) -> bool:
    return other != group and (not other or group.startswith(f"{other}/"))
