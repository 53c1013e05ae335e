"""One file's answers under one task's rules, and every number of them: values, intervals, readings, signal, floors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness import stats, tallies, yes_no
from harness.metrics import Metric
from harness.records import Record
from harness.tallies import Tally
from harness.types import Answer, Sample, Task

NAMED = {
    "captions": ("CHAIR", "Cover", "Hal", "Cog"),
    "amber": ("accuracy", "precision", "recall", "f1"),
    "pope": ("accuracy", "precision", "recall", "f1", "yes_ratio"),
    "chair": ("CHAIRs", "CHAIRi", "recall", "f1"),
    "dash-b": ("accuracy", "tnr", "tpr", "harmonic_mean"),
}
"""The metrics that head the table; every other metric of a group stands under it."""


@dataclass(frozen=True)
class Scored:
    """One file's answers under one task's rules."""

    task: Task
    path: Path
    format: str
    samples: Sequence[Sample]
    asked: Sequence[Sample]
    replies: Sequence[Answer]
    failed: int
    off_list: int
    records: Sequence[Record] = field(repr=False)
    remarks: Sequence[str] = ()
    published: Scored | None = None
    """The same answers by the labels as they were published, where the task's own are corrected ones."""

    @cached_property
    def tallies(self) -> dict[str, Tally]:
        """Totals by image of every group, a row for every image that was answered."""
        return tallies.tally(self.records)

    @cached_property
    def groups(self) -> dict[str, str]:
        """The path of each group, the whole first, by the name it has in tables."""
        return {path.rpartition("/")[2] or self.task.whole: path for path in self._firsts}

    @cached_property
    def _firsts(self) -> dict[str, Sample]:
        """A sample of each group."""
        by_group = {sample.group: sample for sample in reversed(self.samples)}
        return {path: one for group, one in reversed(by_group.items()) for path in tallies.groups_of(group)}

    @cached_property
    def _totals(self) -> dict[str, dict[str, float]]:
        kinds = {path: self.task.count(one, Answer("")) if path else () for path, one in self._firsts.items()}
        found = {path: dict.fromkeys(keys, 0.0) for path, keys in kinds.items()}
        for group, counted in _summed(self.records).items():
            for path in tallies.groups_of(group):
                for key, value in counted.items():
                    found[path][key] = found[path].get(key, 0.0) + value
        return found

    def totals(self, path: str) -> dict[str, float]:
        """What was counted in this group, 0 where nothing was."""
        return self._totals[path]

    @property
    def missing(self) -> int:
        """How many questions of the task's list have no answer here."""
        return len({sample.id for sample in self.samples} - {sample.id for sample in self.asked})

    def means(self) -> dict[str, tuple[float, tuple[float, float]]]:
        """Means of a metric over the task's groups, each group counting the same: name → value, interval."""
        found = {}
        for name, of in getattr(self.task, "means", {}).items():
            each = {path: self.task.metrics_of(path)[of] for path in self.groups.values() if path}
            value = float(np.mean([self.value(path, metric) for path, metric in each.items()]))
            low = high = np.nan
            if all(map(self._resampled, each)):
                drawn = np.mean([metric(self._resampled(path)) for path, metric in each.items()], axis=0)
                low, high = stats.interval(drawn, images=len(self.tallies[""].images))
            found[name] = (value, (low, high))
        return found

    def answered(self, path: str) -> int:
        """How many answers count in this group."""
        return int(self.tallies[path].n.sum()) if path in self.tallies else 0

    def value(self, path: str, metric: Metric) -> float:
        """A metric's value in this group."""
        return float(metric(self.totals(path)))

    def interval(self, path: str, metric: Metric) -> tuple[float, float]:
        """The 95 % interval of a metric, from resampled images of the whole task; nan where it cannot be told."""
        drawn = self._resampled(path)
        if not drawn:
            return np.nan, np.nan
        return stats.interval(np.asarray(metric(drawn), float), images=int((self.tallies[path].n > 0).sum()))

    def _resampled(self, path: str) -> Mapping[str, Any]:
        counted = self.tallies.get(path)
        return self._drawn[path] if counted and int((counted.n > 0).sum()) > 1 else {}

    @cached_property
    def _drawn(self) -> Mapping[str, Mapping[str, Any]]:
        return stats.resampled(self.tallies)

    def readings(self) -> dict[str, dict[str, dict[str, float]]]:
        """What the same answers score as each named reading of yes and no reads them: reading → group → metric."""
        positive = getattr(self.task, "positive", None)
        if positive is None:
            return {}
        wanted = {**yes_no.answer_metrics(positive), **{k: yes_no.SIGNAL[k] for k in ("yes_ratio", "unread")}}
        found: dict[str, dict[str, dict[str, float]]] = {}
        for name, read in yes_no.READINGS.items():
            totals = _added(self._questions(), lambda sample, text, read=read: yes_no.counts(sample.target, read(text)))
            found[name] = {
                group: {key: float(metric(totals[path])) for key, metric in wanted.items()}
                for group, path in self.groups.items()
                if path in totals and totals[path].get("n")
            }
        return found

    def _questions(self) -> list[tuple[Sample, str]]:
        pairs = zip(self.asked, self.replies, strict=True)
        return [(s, a.text or "") for s, a in pairs if s.target in ("yes", "no")]

    def signal(self) -> dict[str, dict[str, float]]:
        """Discrimination and bias of every group of questions; with p(yes) in the file, what that adds."""
        found = {}
        for group, path in self.groups.items():
            metrics = {key: metric for key, metric in self.task.metrics_of(path).items() if key in yes_no.SIGNAL}
            if metrics and self.totals(path).get("n"):
                found[group] = {key: self.value(path, metric) for key, metric in metrics.items()}
                found[group] |= self._from_probabilities(path)
        return found

    @cached_property
    def _with_probability(self) -> list[tuple[Sample, float]]:
        pairs = zip(self.asked, self.replies, strict=True)
        return [(sample, reply.p_yes) for sample, reply in pairs if reply.p_yes is not None]

    def _from_probabilities(self, path: str) -> dict[str, float]:
        pairs = [(s.target, p) for s, p in self._with_probability if path in tallies.groups_of(s.group)]
        if not pairs:
            return {}
        return yes_no.of_probabilities([truth for truth, _ in pairs], [p for _, p in pairs])

    def floors(self) -> dict[str, dict[str, dict[str, float]]]:
        """What answers that need no picture score on the questions answered here: floor → group → metric."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for name, floor in self.task.floors().items():
            pairs = [(sample, floor.text or "") for sample, _ in self._questions()]
            totals = _added(pairs, lambda sample, text: self.task.count(sample, Answer(text)))
            found[name] = {
                group: {key: float(metric(totals[path])) for key, metric in self.named(path).items()}
                for group, path in self.groups.items()
                if path in totals and self.named(path)
            }
        return found

    def named(self, path: str) -> dict[str, Metric]:
        """The metrics of this group that head the table."""
        every = self.task.metrics_of(path)
        names = NAMED["captions"] if "Cover" in every and path else NAMED.get(self.task.name, tuple(every))
        return {name: every[name] for name in names if name in every}


def _summed(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """The counts of each group's own records added up."""
    found: dict[str, dict[str, float]] = {}
    for record in records:
        into = found.setdefault(record.group, dict.fromkeys(record.counts, 0.0))
        for key, value in record.counts.items():
            into[key] += value
    return found


def _added(pairs: Iterable[tuple[Sample, str]], count: Any) -> dict[str, dict[str, float]]:
    """Totals by group; equal answers to questions of one group and truth are counted once and multiplied."""
    kinds: dict[tuple[str, str, str], list[Any]] = {}
    for sample, text in pairs:
        kinds.setdefault((sample.group, sample.target, text), [sample, 0])[1] += 1
    totals: dict[str, dict[str, float]] = {}
    for (group, _, text), (sample, times) in kinds.items():
        for key, value in count(sample, text).items():
            for path in tallies.groups_of(group):
                into = totals.setdefault(path, {})
                into[key] = into.get(key, 0.0) + times * value
    return totals
