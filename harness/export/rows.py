"""A kept run as rows that any other tool's format is made of: each sample with its question, answer and verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import units
from harness.asking import evaluate
from harness.comparison import metric_table
from harness.comparison.significance import correct
from harness.errors import DataError
from harness.records import Record
from harness.stats import Estimate
from harness.store import Run
from harness.types import Answer, Failure, Mode, Sample, Task


@dataclass(frozen=True)
class Asked:
    """One sample of a run: the question where the data is at hand, the record as kept."""

    number: int
    record: Record
    sample: Sample | None
    mode: Mode

    @property
    def prompt(self) -> str:
        """What was asked; for a ranking, the texts that were ranked."""
        if self.sample is None:
            return ""
        return self.sample.prompt or "\n".join(self.sample.texts)

    @property
    def target(self) -> str:
        """The right answer, as words: the text that is right, or the picture that a text is to find."""
        if self.sample is None:
            return ""
        told, texts = self.sample.target, self.sample.texts
        if not told and self.sample.image is not None and texts:  # retrieval: what belongs together is found
            return self.sample.image.name if self.sample.group == "text-to-image" else "\n".join(texts)
        return texts[int(told)] if texts and told.isdecimal() and int(told) < len(texts) else told

    @property
    def said(self) -> str:
        """What the model answered: its words, the text it ranked first, or the place at which it found what was sought.

        Why there is no answer where it failed.
        """
        reply = self.record.reply
        if isinstance(reply, Failure):
            return f"(failed: {reply.reason})"
        if reply.text is not None:
            return reply.text
        scores = reply.scores or ()
        if self.mode == "retrieve":
            return f"found at place {min(scores):g}" if scores else ""
        best = max(range(len(scores)), key=scores.__getitem__, default=0)
        texts = self.sample.texts if self.sample else ()
        return texts[best] if best < len(texts) else f"text {best}"

    @property
    def right(self) -> bool | None:
        """Whether the answer is right; None where that is no question."""
        return correct(self.record)

    @property
    def counts(self) -> dict[str, float]:
        """What the answer adds, by names that every sample of the task may have."""
        return units.flat(self.record.counts)[0]

    @property
    def units(self) -> dict[str, str]:
        """By kind the unit that the answer is a part of, where it is right only with others."""
        return units.flat(self.record.counts)[1]

    @property
    def p_yes(self) -> float | None:
        """The mass of yes against no at the first answer token, where it was kept."""
        return self.record.reply.p_yes if isinstance(self.record.reply, Answer) else None


@dataclass(frozen=True)
class TaskRows:
    """One task of a run: its rows, its metrics by group."""

    task: Task
    entry: dict[str, Any]
    rows: tuple[Asked, ...]
    scores: dict[str, dict[str, Estimate]]


def of_run(run: Run, data: Path | None) -> Iterator[TaskRows]:
    """Each task of a run. Where its data is not at hand, questions and targets are empty."""
    for name, entry in run.manifest().get("tasks", {}).items():
        task = evaluate.open_task(entry.get("spec") or name, data or Path())
        try:
            samples = {sample.id: sample for sample in task.samples()} if data else {}
        except DataError:  # the answers can be exported without their questions
            samples = {}
        records = run.records(name)
        rows = tuple(Asked(i, record, samples.get(record.id), task.mode) for i, record in enumerate(records))
        yield TaskRows(task, entry, rows, metric_table.scores(task, records))


def stamp(run: Run) -> str:
    """When the run began, as part of a file's name: letters, digits, dots and dashes, whatever the manifest says."""
    created = str(run.manifest().get("created", "1970-01-01T00:00:00+00:00"))
    return re.sub(r"[^A-Za-z0-9-]+", "-", created)[:40].strip("-") or "undated"


def model_name(run: Run) -> str:
    """The models of a run as one name."""
    from harness.comparison.answer_sets import title

    return title(run.manifest()) or run.id


def values(one: TaskRows) -> dict[str, Estimate]:
    """Every metric with a value, ``group/metric`` (the whole without a group)."""
    return {
        "/".join(filter(None, (group, name))): estimate
        for group, metrics in one.scores.items()
        for name, estimate in metrics.items()
        if estimate.value == estimate.value
    }
