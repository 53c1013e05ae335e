"""Ask models every question of the chosen tasks: one kept run for each encoder, side by side."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

from harness import registry
from harness.abilities import Engined
from harness.asking import choosing, engine, evaluate, finished
from harness.asking.foretold import A_MINUTE, Rates
from harness.asking.models import Models
from harness.asking.run_identity import OfEncoder
from harness.asking.run_options import RunOptions
from harness.asking.workers import Far, Workers
from harness.compute.forecast import duration
from harness.data import resolve
from harness.errors import ModelError, UsageError
from harness.report.side_by_side import SideBySide
from harness.types import Encoder, LvlmHost
from harness.verbs.estimated import Estimated, Way
from harness.vision_language.vllm import install


class Watcher(Protocol):
    """Who is told how it goes: ``harness.console``, or nobody."""

    def say(self, text: str) -> None:
        """A remark."""

    def ticking(self, title: str, total: int) -> AbstractContextManager[engine.Progress]:
        """Shows progress while it is open."""

    def say_assumed(self, encoder: OfEncoder) -> None:
        """What had to be assumed about an encoder."""


@dataclass(frozen=True)
class Asked(SideBySide):
    """The runs that were asked for, and how each stands."""

    outcomes: Sequence[evaluate.Outcome] = ()

    @property
    def complete(self) -> bool:
        """Whether every question of every run has an answer; the same call goes on where it stopped."""
        return all(one.complete for one in self.outcomes)

    def remarks(self) -> Iterator[str]:
        """What failed, and why the first did."""
        for one in self.outcomes:
            for name, standing in one.tasks.items():
                where = f"{one.run.id}: {name}: "
                if standing.failed:
                    yield f"{where}{standing.failed} of {standing.expected} failed: {standing.first_failure}"
                if unasked := standing.expected - standing.scored - standing.failed:
                    yield f"{where}{unasked} of {standing.expected} came back with no reply"

    def verdicts(self) -> Iterator[str]:
        """What came out of asking a share again."""
        for one in self.outcomes:
            for name, entry in one.run.manifest()["tasks"].items():
                if name in one.tasks and entry.get("verify"):
                    yield f"{one.run.id}: {name}: {entry['verify']['said']}"


def run(options: RunOptions, watcher: Watcher) -> Asked:
    """One run for each encoder (or one of the LVLM as it came), each kept in its folder below ``options.results``."""
    if options.shard:
        raise UsageError("a shard has no table of its own: ask it by harness.verbs.shards.run_shard")
    plan, outcomes = performed(options, watcher)
    tasks = [questions.task for questions in plan.questions]
    return Asked([one.run for one in outcomes], tasks, outcomes=outcomes)


def performed(options: RunOptions, watcher: Watcher) -> tuple[evaluate.RunPlan, list[evaluate.Outcome]]:
    """What is asked, and how each run, or the share of it that ``options.shard`` names, stands after.

    A run of which every answer is kept is found so without loading its models, where these are known from before.
    """
    outcomes = []
    plan = _planned(options, watcher)
    with _hosting(options) as host, _workers(plan, watcher) as workers:
        for text in _specs(options):
            outcome = finished.finished(plan, text, watcher)
            if outcome is None:
                if workers:
                    pair: Models | Far = workers.pair(text, options.host, plan.questions)
                else:
                    loaded = host()  # what names no LVLM is told before an encoder is loaded
                    encoder = registry.make_encoder(text, options.place) if text else None
                    pair = Models.paired(encoder, loaded, options.place)
                if pair.encoder:
                    watcher.say_assumed(pair.encoder)
                outcome = evaluate.perform(plan, pair, watcher.ticking)
            outcomes.append(outcome)
    return plan, outcomes


def _workers(plan: evaluate.RunPlan, watcher: Watcher) -> AbstractContextManager[Workers | None]:
    """Who asks beside this process, if anybody is to: galleries and servers are asked by it alone."""
    options = plan.options
    if not options.spread or all(asked.task.mode == "retrieve" for asked in plan.questions):
        return nullcontext()
    if registry.elsewhere(options.host):
        watcher.say(f"{options.host} is asked by this process; ?concurrency=N is how many questions at once")
        return nullcontext()
    workers = Workers(options, watcher.say)  # which says first where there can be none
    _advise(plan, watcher)
    return workers


def _advise(plan: evaluate.RunPlan, watcher: Watcher) -> None:
    """Where it is known from before that all there is to ask is less than workers take to start."""
    due = {asked.task.name: len(asked.samples) for asked in plan.questions}
    rates = [Rates(text, plan.options.host, plan.options.place).expected(due) for text in _specs(plan.options)]
    known = [seconds for seconds in rates if seconds is not None]
    if len(known) == len(rates) and sum(known) < A_MINUTE:
        watcher.say(
            f"all of it is about {duration(sum(known))} of asking by what it took here before: below a minute "
            "one process is the faster way, as workers take some ten seconds to start"
        )


def estimate(options: RunOptions, watcher: Watcher) -> Estimated:
    """How long ``run`` will take, from asking a few images of each task; nothing is kept.

    Where another program is to answer, also how long it would take this process, and which is the quicker.
    """
    plan = _planned(options, watcher)
    way, own = _way(plan, watcher)
    ways = [way, *(_by_this_process(plan, own, watcher) if own else ())]
    found = way.found
    if not own and _may_be_served(options):
        watcher.say(f"vLLM is here ({install.VARIABLE}): with engine=vllm in --lvlm's spec both ways are measured")
    if options.shard:
        watcher.say(f"--estimate measures the whole run; --shard {options.shard} asks a share of it")
    if options.spread:
        asked = "--ray" if options.ray else f"--workers {options.workers}"
        watcher.say(f"--estimate measures one process; what {asked} gains is not part of it")
        if sum(one.seconds for tasks in found.values() for one in tasks.values()) < A_MINUTE:
            watcher.say("below a minute of work one process is the faster way: workers take some ten seconds to start")
    return Estimated(ways)


def _way(plan: evaluate.RunPlan, watcher: Watcher) -> tuple[Way, str]:
    """What it takes to ask this plan's LVLM; the spec by which this process answers, where another program does."""
    options, began = plan.options, time.perf_counter()
    with _hosting(options) as loading:
        host = loading()
        found = {
            text: evaluate.estimates(plan, Models.paired(_encoder(text, options, watcher), host, options.place))
            for text in _specs(options)
        }
        took = time.perf_counter() - began
    asked = sum(one.measured_s for tasks in found.values() for one in tasks.values())
    return Way(options.host, took - asked, found), host.own if isinstance(host, Engined) else ""


def _by_this_process(plan: evaluate.RunPlan, own: str, watcher: Watcher) -> Iterator[Way]:
    """The way without the other program, where this process can go it."""
    try:
        yield _way(replace(plan, options=replace(plan.options, lvlm=own, align="")), watcher)[0]
    except ModelError as error:
        watcher.say(f"not measured: {own}: {error}")


def _may_be_served(options: RunOptions) -> bool:
    """Whether the LVLM could be answered by the vLLM that the user has named, and is not."""
    could = bool(options.host) and registry.parse_spec(options.host).name in registry.served
    return could and not registry.elsewhere(options.host) and install.named()


def _planned(options: RunOptions, watcher: Watcher) -> evaluate.RunPlan:
    """What is to be asked, checked before any model is loaded."""
    if not options.encoders and not options.lvlm:
        raise UsageError("nothing to ask: name an --encoder, an --lvlm or both; 'ohd-bench list' says what there is")
    registry.load(options.include)
    for text in options.encoders:
        registry.find(registry.encoders, registry.parse_spec(text).name, "encoder")
    if options.host:
        registry.find(registry.lvlms, registry.parse_spec(options.host).name, "LVLM")
    data = resolve(options.data, options.allow_outside)
    tasks = choosing.chosen(options, data, watcher.say)
    plan = evaluate.plan(options, tasks, data)
    for part in plan.parts:
        watcher.say(f"asked in part: {part.said()}")
    return plan


@contextmanager
def _hosting(options: RunOptions) -> Iterator[Callable[[], LvlmHost | None]]:
    """What loads the LVLM when it is first called; a program that was started to answer for it ends with this."""
    load = functools.cache(lambda: _host(options))
    try:
        yield load
    finally:
        host = load() if load.cache_info().currsize else None
        if isinstance(host, Engined):
            host.end()


def _host(options: RunOptions) -> LvlmHost | None:
    return registry.make_lvlm(options.host, options.place) if options.host else None


def _specs(options: RunOptions) -> tuple[str, ...]:
    """The encoders' specs, none of them twice; one empty spec where the LVLM is asked as it came."""
    return tuple(dict.fromkeys(options.encoders or ("",)))


def _encoder(text: str, options: RunOptions, watcher: Watcher) -> Encoder | None:
    """The encoder of this spec, and what had to be assumed about it said."""
    encoder = registry.make_encoder(text, options.place) if text else None
    if encoder is not None:
        watcher.say_assumed(encoder)
    return encoder
