"""Two ways of training side by side: every metric over their trainings and images, with what the numbers speak of."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import tallies
from harness.asking import available
from harness.comparison import answer_sets, bias, compare, methods
from harness.comparison.answer_sets import AnswerSet
from harness.comparison.compare import Comparison, MetricChange, OneTask
from harness.comparison.groups import Group
from harness.comparison.methods import Figures, Seeds
from harness.errors import UsageError
from harness.metrics import Metric
from harness.records import Record
from harness.stats import Difference, Estimate
from harness.tallies import Tally
from harness.types import Task

THESE = "one training seed: this is about these weights, not about the method"
FEW = "two or three trainings seldom carry a claim: their intervals are wide, and their power is uncertain"
WAYS = ("auto", "paired", "independent", "borrowed")
Units = tuple[Sequence[Hashable], Sequence[Hashable]]


class NoTaskInCommon(UsageError):
    """Two sides of which no task was asked of all runs."""


@dataclass(frozen=True)
class Design:
    """How two arms are put together: the trainings behind their runs, and whether seeds pair."""

    units: tuple[Units, ...]
    seeds: Seeds
    about: tuple[str, ...]

    def difference(self, base: Totals, candidate: Totals, metric: Metric) -> Figures:
        """Candidate minus base in this metric; with two crossed random things, by the one that leaves more open."""
        return methods.crossed([methods.difference(base, candidate, metric, *pair, self.seeds) for pair in self.units])


Totals = Mapping[str, np.ndarray]


def design(base: Group, candidate: Group, asked: str = "auto") -> Design:
    """How these two are to be compared, from their records alone; UsageError where trainings are shared in part."""
    arms = (base, candidate)
    shared = base.digests() & candidate.digests()
    several = [len(set(one.units()[0])) for one in arms]
    if shared and base.digests() != candidate.digests():
        raise UsageError(
            f"{base.name} and {candidate.name} share {len(shared)} of their trainings: as independent they would count "
            "twice, and they do not pair; name runs of the same trainings on both sides, or of different ones"
        )
    if shared and asked in ("independent", "borrowed"):
        raise UsageError(
            f"{base.name} and {candidate.name} are of the same trainings, so they are not independent: --seeds paired"
        )
    by_thing = [one.units() for one in arms]
    pairs = tuple((by_thing[0][min(i, len(by_thing[0]) - 1)], by_thing[1][min(i, len(by_thing[1]) - 1)])
                  for i in range(max(map(len, by_thing))))  # fmt: skip
    seeds: Seeds = "independent"
    if asked != "auto":
        seeds = asked  # type: ignore[assignment]
    elif min(several) > 1:
        seeds = "paired" if shared else methods.seeds_of(*pairs[0])
    return Design(pairs, seeds, tuple(_sentences(arms, several, seeds, bool(shared), len(pairs))))


def _sentences(arms: Sequence[Group], several: Sequence[int], seeds: str, shared: bool, things: int) -> Iterable[str]:
    for one, count in zip(arms, several, strict=True):
        yield f"{one.name}: {_told(one, count)}"
    if min(several) > 1 or seeds == "borrowed":
        yield {
            "paired": "paired by training: both are read from the same ones" if shared else "paired by seed",
            "independent": "the two are independent of each other",
            "borrowed": "ASSUMED: the single training spreads as those of the other side do",
        }[seeds]
    if things > 1:
        yield "trainings are crossed with alignments: of the intervals by the one and by the other, the wider is shown"
    if max(several) == 1:
        yield THESE
    elif max(several) < methods.FOR_PAIRS:
        yield FEW


def _told(one: Group, count: int) -> str:
    if one.given:
        return "one given model, random by images alone"
    what = (
        "trainings" if len(set(one.trainings)) > 1 or not any(s is not None for s in one.alignments) else "alignments"
    )
    seeds = one.trainings if what == "trainings" else one.alignments
    numbers = ", ".join(map(str, dict.fromkeys(seeds)))
    if count == 1:
        return f"one training (seed {numbers}): what follows is for this one, not for the method"
    runs = f" in {len(one.sides)} runs, averaged by training" if len(one.sides) != count else ""
    return f"{count} {what} (seeds {numbers}){runs}"


def compared(base: Group, candidate: Group, tasks: Sequence[Task], asked: str = "auto") -> Comparison:
    """What changed from base to candidate as ways of training; of one run each, the comparison of these two.

    NoTaskInCommon where there is nothing to compare, UsageError where the two do not compare.
    """
    every = (*base.sides, *candidate.sides)
    ours = [task for task in tasks if all(task.name in side.records for side in every)]
    if not ours:
        raise NoTaskInCommon(f"{base.name} and {candidate.name} have no task that all of their runs were asked")
    for side in (*base.sides[1:], *candidate.sides):
        shared = [task for task in tasks if task.name in base.sides[0].records and task.name in side.records]
        answer_sets.require_comparable(base.sides[0], side, shared)
    plan = design(base, candidate, asked)
    if len(base.sides) == len(candidate.sides) == 1:
        return of_two(base.sides[0], candidate.sides[0], tasks)
    found = tuple(_one_task(task, base, candidate, plan) for task in ours)
    about = (*plan.about, *_parts(every))
    return Comparison(_shown(base), _shown(candidate), found, _joint(ours, base, candidate, plan), about)


def of_two(base: AnswerSet, candidate: AnswerSet, tasks: Sequence[Task]) -> Comparison:
    """What changed from one run to another, images alone being random; and that it is about these two.

    NoTaskInCommon where there is nothing to compare.
    """
    if not any(task.name in base.records and task.name in candidate.records for task in tasks):
        raise NoTaskInCommon(f"{base.name} and {candidate.name} have no task in common")
    found = compare.compare(base, candidate, tasks)
    models = [(side.manifest.get("encoder"), side.manifest.get("lvlm")) for side in (base, candidate)]
    these = (THESE,) if all(map(any, models)) and models[0] != models[1] else ()
    return replace(found, about=(*these, *_parts((base, candidate))))


def _parts(sides: Iterable[AnswerSet]) -> Iterable[str]:
    """What has to be said where only a part of a task's pictures was there to be asked about."""
    return dict.fromkeys(f"in part: {mark}" for side in sides for mark in available.marks(side.manifest))


def _shown(one: Group) -> AnswerSet:
    """The group as a side: its name and what its runs have in common."""
    manifest = {
        key: value for key, value in one.sides[0].manifest.items() if key not in ("id", "training", "alignment")
    }
    return AnswerSet(one.name, {}, manifest)


def common(groups: Sequence[Group], task: str) -> list[list[list[Record]]]:
    """For each group and run the records of the samples that all of them answered, in one order, on one image each."""
    every = [[{r.id: r for r in side.records[task] if r.scored} for side in one.sides] for one in groups]
    flat = [run for runs in every for run in runs]
    first = {key: r for key, r in flat[0].items() if all(key in run for run in flat)}
    return [
        [[tallies.placed(run[key], answer_sets.cluster(r.image), r.group) for key, r in first.items()] for run in runs]
        for runs in every
    ]


def tables(runs: Sequence[Sequence[Record]], images: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """By group of samples, the totals of these runs as arrays [runs, images]."""
    counted = [tallies.tally(run, images) for run in runs]
    return {name: _table([one[name] for one in counted]) for name in counted[0]}


def _table(counted: Sequence[Tally]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for one in counted for name in one.counts)
    seen = counted[0].n > 0
    none = np.zeros(len(seen))
    return {name: np.stack([one.counts.get(name, none) for one in counted])[:, seen] for name in names}


def _one_task(task: Task, base: Group, candidate: Group, plan: Design) -> OneTask:
    arms = common((base, candidate), task.name)
    images = sorted({record.image for record in arms[0][0]})
    before, after = (tables(runs, images) for runs in arms)
    answers = {name: one.n for name, one in tallies.tally(arms[0][0], images).items()}
    lines: list[MetricChange] = []
    readings: dict[str, bias.Reading] = {}
    signal: dict[str, tuple[dict[str, float], dict[str, float]]] = {}
    for group in before:
        metrics, n = task.metrics_of(group), int(answers[group].sum())
        ours = [_line((task.name, group, name), metric, plan.difference(before[group], after[group], metric), n)
                for name, metric in metrics.items()]  # fmt: skip
        lines += [line for line in ours if np.isfinite(line.gap.value)]
        pooled = _pooled(before[group]), _pooled(after[group])
        if "balanced_accuracy" in metrics and pooled[0].get("n"):
            readings[group] = bias.read({line.metric: line.gap for line in ours}, *pooled)
            signal[group] = pooled
    every = [side.records[task.name] for one in (base, candidate) for side in one.sides]
    floors = base.sides[0].manifest.get("tasks", {}).get(task.name, {}).get("floors", {})
    unpaired = len({record.id for records in every for record in records if record.scored}) - len(arms[0][0])
    return OneTask(task, len(arms[0][0]), len(images), unpaired, tuple(lines), {}, readings, signal, None, floors)


def _pooled(totals: Totals) -> dict[str, float]:
    """Totals of one training on average: what the split between criterion and d' is read from."""
    return {name: float(table.sum() / len(table)) for name, table in totals.items()}


def _line(place: tuple[str, str, str], metric: Metric, found: Figures, n: int) -> MetricChange:
    arms = [Estimate(one.value, one.low, one.high, n, one.images) for one in (found.base, found.candidate) if one]
    return MetricChange(*place, metric.better, metric.digits, arms[0], arms[1], gap(found), figures=found)


def totals(one: Group, task: Task) -> dict[str, dict[str, np.ndarray]]:
    """By group of samples, the totals of all the group's runs [runs, images]; empty where not all were asked."""
    if not all(task.name in side.records for side in one.sides):
        return {}
    runs = common((one,), task.name)[0]
    return tables(runs, sorted({record.image for record in runs[0]}))


def mean_of(one: Group, found: Mapping[str, Totals], place: tuple[str, str], metric: Metric) -> Figures | None:
    """The mean of this metric over the group's trainings, from their ``totals``; None where none are of its place."""
    if place[0] not in found:
        return None
    return methods.crossed([methods.mean(found[place[0]], metric, units) for units in one.units()])


def gap(found: Figures) -> Difference:
    """A difference of methods as any other difference is shown."""
    return Difference(found.value, found.low, found.high, found.p, found.se)


def _joint(tasks: Sequence[Task], base: Group, candidate: Group, plan: Design) -> Difference | None:
    """The mean change of the tasks' headlines for the better; an image counts as one in all tasks that show it."""
    tasks = compare.headlined(tasks, (*base.sides, *candidate.sides))
    if len(tasks) < 2:
        return None
    arms = [common((base, candidate), task.name) for task in tasks]
    images = sorted({record.image for one in arms for record in one[0][0]})
    both: list[dict[str, np.ndarray]] = [{}, {}]
    for task, one in zip(tasks, arms, strict=True):
        for totals, runs in zip(both, one, strict=True):
            counted = [tallies.tally(run, images)[compare.headline(task)[0]] for run in runs]
            for name in dict.fromkeys(name for tally in counted for name in tally.counts):
                rows = [tally.counts.get(name, np.zeros(len(images))) for tally in counted]
                totals[f"{task.name}\n{name}"] = np.stack(rows)
    return gap(plan.difference(both[0], both[1], Metric(lambda totals: _mean_headline(tasks, totals), scale=1.0)))


def _mean_headline(tasks: Sequence[Task], totals: Mapping[str, np.ndarray]) -> np.ndarray:
    values = []
    for task in tasks:
        group, name = compare.headline(task)
        metric = task.metrics_of(group)[name]
        own = {key.partition("\n")[2]: value for key, value in totals.items() if key.partition("\n")[0] == task.name}
        values.append((-1.0 if metric.better == "lower" else 1.0) * metric(own))
    return np.asarray(np.mean(values, axis=0))
