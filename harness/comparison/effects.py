"""Runs that cross tower, projector and language model: the main effect of each, and what two do only together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from harness import stats, tallies
from harness.errors import UsageError
from harness.metrics import Metric
from harness.stats import Difference
from harness.store import Run
from harness.tallies import Tally
from harness.types import Task

PARTS = ("tower", "projector", "language_model")


@dataclass(frozen=True, slots=True)
class Effect:
    """What changing these parts does to a metric, averaged over all states of the other parts."""

    task: str
    group: str
    metric: str
    parts: tuple[str, ...]
    change: Difference


def design(runs: Sequence[Run]) -> tuple[list[str], dict[tuple[int, ...], Run]]:
    """The parts that differ among these runs, and each run by the level of each part, the first run's being 0.

    UsageError where the runs are not a whole cross of two levels a part.
    """
    digests = [(run.manifest().get("lvlm") or {}).get("digests", {}) for run in runs]
    parts = [part for part in PARTS if len({one.get(part) for one in digests}) > 1]
    levels = {part: list(dict.fromkeys(one.get(part) for one in digests)) for part in parts}
    if not parts:
        raise UsageError("these runs do not differ in tower, projector or language model")
    for part in parts:
        if len(levels[part]) != 2:
            raise UsageError(f"the runs have {len(levels[part])} kinds of {part}; a factorial design has two of each")
    at = {tuple(levels[p].index(one.get(p)) for p in parts): run for run, one in zip(runs, digests, strict=True)}
    missing = [cell for cell in product((0, 1), repeat=len(parts)) if cell not in at]
    if missing or len(at) != len(runs):
        told = ", ".join(
            "/".join(f"{p}={'base' if x == 0 else 'new'}" for p, x in zip(parts, c, strict=True)) for c in missing
        )
        raise UsageError(
            f"the runs do not cross {', '.join(parts)}: " + (f"missing {told}" if told else "some are double")
        )
    return parts, at


def effects(task: Task, runs: Sequence[Run]) -> list[Effect]:
    """Main effects and two-part interactions in each metric of the task, on the samples that all runs answered."""
    parts, at = design(runs)
    kept = {cell: {r.id: r for r in run.records(task.name) if r.scored} for cell, run in at.items()}
    shared = sorted(set.intersection(*(set(one) for one in kept.values())))
    if not shared:
        raise UsageError(f"no sample of {task.name} was answered by all of these runs")
    first = kept[(0,) * len(parts)]
    images = sorted({first[id].image for id in shared})
    placed = {c: [tallies.placed(one[id], first[id].image, one[id].group) for id in shared] for c, one in kept.items()}
    counted = {cell: tallies.tally(records, images) for cell, records in placed.items()}
    found = []
    for group in counted[(0,) * len(parts)]:
        own = {cell: one[group] for cell, one in counted.items()}
        for names in (*((p,) for p in parts), *combinations(parts, 2)):
            sign = {cell: int(np.prod([2 * cell[parts.index(name)] - 1 for name in names])) for cell in own}
            changes = contrasts(task.metrics_of(group), own, sign)
            found += [Effect(task.name, group, name, names, change) for name, change in changes.items()]
    return found


def contrasts(
    metrics: Mapping[str, Metric], counted: Mapping[tuple[int, ...], Tally], sign: Mapping[tuple[int, ...], int]
) -> dict[str, Difference]:
    """The signed sum of each metric over the cells, over half their number; images as clusters."""
    first = next(iter(counted.values()))
    resampled = stats.resampled(counted)
    half = len(counted) / 2
    found = {}
    for name, metric in metrics.items():
        value = sum(sign[cell] * float(metric(one.totals())) for cell, one in counted.items()) / half
        if np.isfinite(value):
            spread = sum(sign[cell] * np.asarray(metric(one), float) for cell, one in resampled.items()) / half
            found[name] = stats.difference(value, np.asarray(spread), int(np.count_nonzero(first.n)))
    return found
