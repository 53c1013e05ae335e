"""A run that has nothing left to ask is found so from what is kept, before any model is loaded."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from harness.asking import engine, evaluate, remembered, run_identity, settled
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
    known = None if options.shard or options.ray else remembered.recall(encoder, options.host, options.place)
    if known is None:
        return None
    identity = run_identity.identity(plan, known.encoder, known.lvlm)
    run = Run(run_identity.folder(plan, known.encoder, known.lvlm, identity))
    standings = settled.standings(run, plan, (known.encoder, known.lvlm), {**identity, **known.made}, watcher.ticking)
    if standings is None:
        return None
    if known.encoder:
        watcher.say_assumed(known.encoder)
    return evaluate.Outcome(run, standings)
