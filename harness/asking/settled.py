"""Whether a run has nothing left to ask: every answer of a plan is kept, counted as now, and its manifest says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from harness.asking import engine, run_identity, shard_runs
from harness.kept_runs import fault
from harness.store import Run

if TYPE_CHECKING:
    from harness.asking.evaluate import RunPlan

Ticking = Callable[[str, int], AbstractContextManager[engine.Progress]]
"""What shows progress: called with a title and a total, gives something to tick with."""
Models = tuple[run_identity.OfEncoder | None, run_identity.OfLvlm | None]
"""An encoder and an LVLM, loaded or not."""


def standings(
    run: Run, plan: RunPlan, models: Models, told: Mapping[str, Any], ticking: Ticking
) -> dict[str, engine.Progressed] | None:
    """How each task of the plan stands in a run that has nothing left to ask; None where anything is left to do.

    ``told`` is what its manifest must say of the models, in whatever words they were asked for. Such a run stays as it
    is, to the byte.
    """
    options, manifest = plan.options, run.manifest()
    if options.shard or options.verify or manifest.get("status") != "complete" or shard_runs.shard_runs(run):
        return None
    due, known = (run_identity.nameless(one) for one in (json.loads(json.dumps(told)), manifest))
    if any(known.get(key) != value for key, value in due.items()):
        return None
    found = {}
    for asked in plan.questions:
        standing = _settled(run, asked, run_identity.of_answers(asked, *models, options.control), manifest)
        if standing is None:
            return None
        found[asked.task.name] = standing
    for name, standing in found.items():
        with ticking(f"{run.id}  {name}", standing.expected) as tick:
            tick(standing.expected)
    return found


def _settled(
    run: Run, asked: engine.Questions, model: engine.Identity, manifest: Mapping[str, Any]
) -> engine.Progressed | None:
    """How a task stands where all of it is answered and the manifest says so; else None."""
    name = asked.task.name
    try:
        standing = engine.settled(run, asked, model)
    except KeyError:  # a prompt that was never rendered here
        return None
    if standing is None or fault(lambda: run.own(name)):
        return None
    told = json.loads(json.dumps(run_identity.entry(asked, standing)))
    return standing if told.items() <= dict(manifest.get("tasks", {}).get(name, {})).items() else None
