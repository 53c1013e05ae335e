"""A run that has nothing left to ask is found so from what is kept, before any model is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from harness.asking import engine, evaluate, remembered, run_identity, shard_runs
from harness.store import Run


class Watcher(Protocol):
    """Who is told how it goes."""

    def ticking(self, title: str, total: int) -> AbstractContextManager[engine.Progress]:
        """Shows progress while it is open."""

    def say_assumed(self, encoder: run_identity.OfEncoder) -> None:
        """What had to be assumed about an encoder."""


def finished(plan: evaluate.RunPlan, encoder: str, watcher: Watcher) -> evaluate.Outcome | None:
    """How the run of this plan with this encoder's spec stands, where every answer of it is kept; else None.

    None as well wherever that cannot be told without the models: a file of theirs changed, or was never seen.
    """
    options = plan.options
    known = (
        None
        if options.shard or options.verify or options.ray
        else remembered.recall(encoder, options.host, options.place)
    )
    if known is None:
        return None
    identity = run_identity.identity(plan, known.encoder, known.lvlm)
    run = Run(run_identity.folder(plan, known.encoder, known.lvlm, identity))
    manifest = run.manifest()
    told = {**identity, **known.made}
    if manifest.get("status") != "complete" or any(manifest.get(key) != value for key, value in told.items()):
        return None
    if shard_runs.shard_runs(run):
        return None
    standings = {}
    for asked in plan.questions:
        standing = _settled(run, asked, known, plan, manifest.get("tasks", {}).get(asked.task.name, {}))
        if standing is None:
            return None
        standings[asked.task.name] = standing
    if known.encoder:
        watcher.say_assumed(known.encoder)
    for name, standing in standings.items():
        with watcher.ticking(f"{run.id}  {name}", standing.expected) as tick:
            tick(standing.expected)
    return evaluate.Outcome(run, standings)


def _settled(
    run: Run, asked: engine.Questions, known: remembered.Pair, plan: evaluate.RunPlan, entry: Mapping[str, Any]
) -> engine.Progressed | None:
    """How a task stands where all of it is answered and its entry says so; else None."""
    model = run_identity.of_answers(asked, known.encoder, known.lvlm, plan.options.control)
    try:
        standing = engine.settled(run, asked, model)
    except KeyError:  # a prompt that was never rendered here
        return None
    told = json.loads(json.dumps(run_identity.entry(asked, standing))) if standing else {}
    return standing if standing and told.items() <= dict(entry).items() else None
