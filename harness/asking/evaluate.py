"""Put an encoder and an LVLM together, ask them every question of the chosen tasks, and keep it as one run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import images, registry
from harness.asking import available, controls, cost, engine, remembered, run_identity, settled, shard_runs, software
from harness.asking.estimate import TimeEstimate
from harness.asking.foretold import Foretelling, Rates
from harness.asking.models import Models
from harness.asking.run_options import RunOptions
from harness.asking.settled import Ticking
from harness.asking.shards import Shard
from harness.console import say
from harness.data import Data
from harness.datasets import checking
from harness.datasets.manifests import manifests
from harness.errors import DataError
from harness.kept_runs import slug
from harness.records import Record
from harness.store import Run
from harness.tallies import tally
from harness.types import Answer, Sample, Task

if TYPE_CHECKING:
    from harness.asking.workers import Far


@dataclass(frozen=True)
class RunPlan:
    """What every run of one command has in common: its options, and what is asked of its data."""

    options: RunOptions
    data: Data
    questions: tuple[engine.Questions, ...]
    parts: tuple[available.Part, ...] = ()
    """The tasks of which only a part of the pictures is there, where that is to be asked."""
    begun: float = field(default_factory=time.time)
    """When it was made, before any model is loaded."""


def open_task(text: str, data: Path, outside: bool = False) -> Task:
    """The task a spec names, ``NAME[?option=value]``, over this data; its images may lie ``outside`` it, or not."""
    spec = registry.parse_spec(text)
    cls = registry.find(registry.tasks, spec.name, "task")
    known = [name for name in inspect.signature(cls).parameters if name != "data"]
    registry.no_more_options(spec, *known)
    task = cls(data, **spec.options)
    task.spec, task.outside = text, outside
    task.name = "-".join([spec.name, *(slug(f"{key}={value}") for key, value in sorted(spec.options.items()))])
    return task


def kept_tasks(runs: Iterable[Run]) -> list[Task]:
    """The tasks these runs were asked, by name: enough to count and to measure, without the data."""
    specs = {name: entry.get("spec") or name for run in runs for name, entry in run.manifest().get("tasks", {}).items()}
    return [open_task(specs[name], Path()) for name in sorted(specs)]


def plan(options: RunOptions, tasks: Sequence[Task], data: Data) -> RunPlan:
    """What is to be asked, with every image it needs in its place; DataError names what is missing.

    With ``available`` only what shows an image that is there, and of each task how much of it that is.
    """
    questions, parts = [], []
    for task in tasks:
        samples = task.every()
        if options.available:
            samples, part = available.there(task.name, samples)
            parts += [] if part.whole else [part]
            if not samples and not options.tasks:
                continue
            if not samples:
                raise DataError(f"{part.said()}; docs/data.md says where they belong")
        samples = engine.limited(samples, options.limit, options.seed)
        found = engine.questions(task, controls.samples(samples, options.control, options.seed))
        images.check(found.images, task.name, data.fence)
        questions.append(found)
    if not questions:
        raise DataError(f"{data.root} holds no image of any task; docs/data.md says where they belong")
    if options.shard:
        questions = engine.sharded(questions, Shard.parse(options.shard))
    return RunPlan(options, data, tuple(questions), tuple(parts))


@dataclass(frozen=True)
class Outcome:
    """A finished run: how each task stands."""

    run: Run
    tasks: Mapping[str, engine.Progressed]

    @property
    def complete(self) -> bool:
        """Whether every expected sample has an answer."""
        return all(task.scored == task.expected for task in self.tasks.values())


def perform(plan: RunPlan, pair: Models | Far, ticking: Ticking) -> Outcome:
    """Ask this pair of models every question of the plan; what was answered before is not asked again."""
    encoder, lvlm = pair.encoder, pair.lvlm
    with registry.loading(encoder.spec if encoder else "the LVLM"):
        identity = run_identity.identity(plan, encoder, lvlm)
    about = {**identity, **pair.made()}
    unasked = {
        one.task.name: run_identity.entry(one, engine.Progressed(len(one.samples), 0, 0)) for one in plan.questions
    }
    whole, shard = Run(run_identity.folder(plan, encoder, lvlm, identity)), plan.options.shard
    begun = {**about, **_circumstances(plan, {}), "tasks": unasked}
    with shard_runs.written(whole, Shard.parse(shard) if shard else None, begun) as run:
        if kept := settled.standings(run, plan, (encoder, lvlm), about, ticking):
            _remember(plan, about, lvlm)
            return Outcome(run, kept)
        known = run.manifest()
        told = known.get("tasks", {})
        known_tasks = told | {
            one.task.name: unasked[one.task.name] | told.get(one.task.name, {}) | run_identity.questions(one)
            for one in plan.questions
        }
        run.update(status="running", **about, **_circumstances(plan, known), tasks=known_tasks)
        standings: dict[str, engine.Progressed] = {}
        status = "interrupted"
        rates = _rates(pair, plan) if isinstance(pair, Models) else None
        left = {name: known_tasks[name]["expected"] - known_tasks[name]["scored"] for name in unasked}
        foretelling = Foretelling(say, left)
        if rates and not shard:
            foretelling.before(rates)
        try:
            for asked in plan.questions:
                standings[asked.task.name] = _ask(run, plan, asked, pair, ticking, foretelling)
                if rates:
                    rates.note(asked.task.name, foretelling.seconds, foretelling.heard)
            done = all(one.get("scored", -1) == one.get("expected") for one in run.manifest()["tasks"].values())
            status = "complete" if done else "partial"
            if done:
                _remember(plan, about, lvlm)
        finally:
            run.update(status=status, finished=_now(), cost=cost.costs(run, pair.spent()))
    return Outcome(run, standings)


def _remember(plan: RunPlan, about: Mapping[str, Any], lvlm: run_identity.OfLvlm | None) -> None:
    """Keep what these models are, so that the same command finds its run finished without loading them."""
    options = plan.options
    if options.ray:  # the same command here would compute elsewhere than there
        return
    prompts = {s.prompt for one in plan.questions if one.task.mode == "generate" for s in one.samples if s.prompt}
    rendered = {prompt: lvlm.render(prompt) for prompt in sorted(prompts)} if lvlm else {}
    spec = about["encoder"]["spec"] if about["encoder"] else ""
    remembered.keep((spec, options.host), options.place, about, rendered, plan.begun)


def _ask(
    run: Run, plan: RunPlan, asked: engine.Questions, pair: Models | Far, ticking: Ticking, foretelling: Foretelling
) -> engine.Progressed:
    """Ask one task of the run, and write into the manifest how it went."""
    mode, control = asked.task.mode, plan.options.control
    model = run_identity.of_answers(asked, pair.encoder, pair.lvlm, control)
    spoken = pair.lvlm is not None and mode == "generate"
    first = {"first_prompt": pair.first_prompt(asked.samples, control)} if spoken else {}
    ask, see = pair.asked(mode, asked.samples, control)
    began = time.perf_counter()
    floors = floor_values(asked)
    expected = engine.expected(asked, model, ask.batch)
    with ticking(f"{run.id}  {asked.task.name}", expected) as tick:
        listened = foretelling.listening(asked.task.name, ask)
        foretelling.due[asked.task.name] = expected

        def done(count: int) -> None:
            tick(count)
            foretelling.due[asked.task.name] -= count

        standing = engine.answer(run, asked, model, listened, done, see)
    kept = run.manifest().get("tasks", {})
    seconds = kept.get(asked.task.name, {}).get("seconds", 0.0) + time.perf_counter() - began
    entry = run_identity.entry(asked, standing) | {"floors": floors, "seconds": round(seconds, 1)} | first
    entry |= {"remarks": list(remarks)} if (remarks := asked.task.remarks()) else {}
    if plan.options.verify:
        answers = {r.id: r.reply for r in run.records(asked.task.name) if isinstance(r.reply, Answer)}
        drawing = plan.options.verify, plan.options.seed
        shown = see if mode == "retrieve" else controls.view(control)
        verdict = pair.verified(mode, answers, asked.samples, shown, drawing)
        entry |= {"verify": verdict.record() | {"said": verdict.said()}}
    run.update(tasks=kept | {asked.task.name: entry})
    return standing


def estimates(plan: RunPlan, pair: Models) -> dict[str, TimeEstimate]:
    """What each task of the plan will cost with this pair of models, from asking a few images; no answer is kept.

    The estimate itself is, in the cache: the run's manifest says it beside what the run then took.
    """
    view = controls.view(plan.options.control)
    found = {asked.task.name: pair.estimated(asked.task.mode, samples, view) for asked, samples in _to_ask(plan, pair)}
    identity = run_identity.identity(plan, pair.encoder, pair.lvlm)
    for name, one in found.items():
        _rates(pair, plan).note(name, one.measured_s, one.samples)
    cost.note(Run(run_identity.folder(plan, pair.encoder, pair.lvlm, identity)), found)
    return found


def _to_ask(plan: RunPlan, pair: Models) -> Iterator[tuple[engine.Questions, list[Sample]]]:
    """Each task of the plan, and what a run of all asks for it where nothing is answered yet."""
    known: set[str] = set()
    for asked in plan.questions:
        model = run_identity.of_answers(asked, pair.encoder, pair.lvlm, plan.options.control)
        yield asked, engine.to_ask(asked, model, pair.fresh(asked.task.mode).batch, known)


def _rates(pair: Models, plan: RunPlan) -> Rates:
    return Rates(pair.encoder.spec if pair.encoder else "", plan.options.host, plan.options.place)


def floor_values(asked: engine.Questions) -> dict[str, dict[str, dict[str, float]]]:
    """What each of the task's pictureless answers scores: floor → group → metric → value."""
    found = {}
    floors: dict[str, Mapping[str, Answer]] = {
        name: dict.fromkeys((s.id for s in asked.samples), reply) for name, reply in asked.task.floors().items()
    }
    for name, replies in (floors | dict(asked.task.blind())).items():
        counted = [
            Record(s.id, asked.labels[s.image] if s.image else s.id, s.group, "", "", reply, asked.task.count(s, reply))
            for s, reply in ((s, replies[s.id]) for s in asked.samples if s.id in replies)
        ]
        found[name] = {
            group: {
                key: value
                for key, metric in asked.task.metrics_of(group).items()
                if (value := float(metric(one.totals()))) == value
            }
            for group, one in tally(counted).items()
        }
    return found


def _circumstances(plan: RunPlan, known: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of the run may want to know, and what does not change an answer."""
    return {
        "created": known.get("created", _now()),
        "versions": software.versions(),
        "data_versions": _data_versions(plan),
        "git": software.git_state(Path(__file__).parent),
        "place": {"device": plan.options.place.device, "batch_size": plan.options.place.batch_size or "auto"},
    }


def _data_versions(plan: RunPlan) -> dict[str, str]:
    """The version of each published data set whose files lie here and that these tasks read."""
    asked = {registry.parse_spec(one.task.spec).name for one in plan.questions}
    read = [one for one in manifests().values() if asked & {registry.parse_spec(spec).name for spec in one.tasks}]
    return checking.versions(plan.data.root, read)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
