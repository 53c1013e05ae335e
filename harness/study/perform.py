"""Do the jobs of a study one after another; the same command goes on where it was stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.asking import evaluate
from harness.asking.evaluate import RunPlan
from harness.asking.models import Models
from harness.asking.run_options import RunOptions
from harness.asking.settled import Ticking
from harness.asking.workers import Far, Workers
from harness.data import Data
from harness.study.jobs import Align, Ask, Job, Train, answers
from harness.study.schema import assigned
from harness.types import LvlmHost, Place, Recipe

if TYPE_CHECKING:
    from harness.vision_language.align.stages import Plan


@dataclass
class Bench:
    """What does the jobs: how is asked (tasks of either kind, device, where answers are kept). An LVLM stays loaded."""

    options: RunOptions
    data: Data
    ticking: Ticking
    workers: Workers | None = None
    """Who asks; None is this process."""
    _host: tuple[str, LvlmHost | None] = field(default=("", None))

    def do(self, job: Job) -> None:
        """Does this job; what a stopped one has finished is not done again."""
        if isinstance(job, Train):
            reading(job.recipe, self.data.outside).train(self.data.root, job.address)
        elif isinstance(job, Align):
            align(job, self.options.place, self.data.outside)
        else:
            self._ask(job)

    def asking(self, job: Ask, encoder: str, lvlm: str) -> RunPlan:
        """The questions of this job, and how they are asked of these models."""
        opened = [evaluate.open_task(name, self.data.root, self.data.outside) for name in self.options.tasks]
        tasks = [task for task in opened if answers(task.mode, lvlm)]
        options = replace(self.options, encoders=(encoder,), lvlm=lvlm, control=job.cell.control, limit=job.limit)
        return evaluate.plan(options, tasks, self.data)

    def paired(self, encoder: str, lvlm: str) -> Models:
        """These models, loaded in this process."""
        loaded = registry.make_encoder(encoder, self.options.place)
        return Models.paired(loaded, self._loaded(lvlm), self.options.place)

    def spent(self) -> dict[str, Any]:
        """On what it is asked, and the most memory that took: where workers ask, theirs."""
        return self.workers.spent if self.workers else {}

    def _ask(self, job: Ask) -> None:
        lvlm = job.after.spec if job.after else job.lvlm
        plan = self.asking(job, job.encoder, lvlm)
        if self.workers and not registry.elsewhere(lvlm):
            pair: Models | Far = self.workers.pair(job.encoder, lvlm, plan.questions)
        else:
            pair = self.paired(job.encoder, lvlm)
        outcome = evaluate.perform(plan, pair, self.ticking)
        if outcome.complete:
            job.keep(outcome.run.id)

    def _loaded(self, lvlm: str) -> LvlmHost | None:
        if lvlm and lvlm != self._host[0]:
            self._host = ("", None)  # the old one goes before the new one comes
            self._host = (lvlm, registry.make_lvlm(lvlm, self.options.place))
        return self._host[1] if lvlm else None


def reading(recipe: Recipe, outside: bool) -> Recipe:
    """The recipe, allowed to read images outside the data folder or not: it makes the same, and is named the same."""
    return replace(recipe, allow_outside=True) if outside and hasattr(recipe, "allow_outside") else recipe  # type: ignore[type-var]


def align(job: Align, compute: Place, outside: bool = False) -> None:
    """Aligns the LVLM with the encoder's tower, by the stages of ``ohd-bench align``."""
    from harness.vision_language.align import stages

    stages.align(job.lvlm, job.encoder, aligning(job, compute, outside), job.address)


def aligning(job: Align, compute: Place, outside: bool = False) -> Plan:
    """The stages of an alignment, and what they read."""
    from harness.vision_language.align import stages

    words = [f"{name}={value}" for name, value in assigned(job.how.set).items()]
    plan = stages.planned(job.lvlm, job.how.how, job.how.data.split(","), words, job.seed)
    return replace(plan, place=compute, allow_outside=outside)
