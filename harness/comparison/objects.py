"""Object by object: what a model misses and what it invents, shrunk towards the mean, and which object drags which."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import durable
from harness.asking import evaluate
from harness.comparison.existence import Claim, claims
from harness.data import Data
from harness.errors import UsageError
from harness.store import Run

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Rate:
    """Errors out of questions, and the rate shrunk towards the mean of all objects, with its 95 % credible interval."""

    errors: int
    asked: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """One object: how often images show it, and the rates of missing it and of claiming it falsely."""

    name: str
    frequency: float
    missed: Rate | None
    claimed: Rate | None


@dataclass(frozen=True, slots=True)
class Drag:
    """False claims of ``object`` where ``by`` is in the image, against where it is not."""

    by: str
    object: str
    errors: int
    asked: int
    rate: float
    elsewhere: float
    p: float


@dataclass(frozen=True)
class Objects:
    """What a run's answers say about objects."""

    run: str
    classes: tuple[ObjectClass, ...]
    drags: tuple[Drag, ...]


def of_run(run: Run, data: Data) -> Objects:
    """The object classes of a run's questions of presence; UsageError where it was asked none."""
    found: list[Claim] = []
    for name, entry in run.manifest().get("tasks", {}).items():
        task = evaluate.open_task(entry.get("spec") or name, data.root)
        if task.mode == "generate":
            kept = {record.id: record for record in run.records(name)}
            found += claims(name, (s for s in task.samples() if s.id in kept), kept)
    if not any(claim.said is not None for claim in found):
        raise UsageError(f"{run.id} holds no question whether an object is there; AMBER existence and POPE ask that")
    return examine(run.id, found)


def examine(run: str, found: Sequence[Claim]) -> Objects:
    """The object classes and drags of these claims; each (image, object) counts once."""
    asked = {(claim.image, claim.object): claim for claim in found if claim.said is not None}
    company: dict[Path, set[str]] = {}
    for claim in found:
        company.setdefault(claim.image, set())
        if claim.present:
            company[claim.image].add(claim.object)
    shown = Counter(name for names in company.values() for name in names)
    missed = rates((c.object, not c.said) for c in asked.values() if c.present)
    claimed = rates((c.object, bool(c.said)) for c in asked.values() if not c.present)
    classes = [
        ObjectClass(name, shown[name] / len(company), missed.get(name), claimed.get(name))
        for name in sorted({*missed, *claimed})
    ]
    return Objects(run, tuple(classes), tuple(_drags([c for c in asked.values() if not c.present], company)))


def rates(answers: Iterable[tuple[str, bool]]) -> dict[str, Rate]:
    """Each object's rate of errors: the posterior of a beta prior fitted to all objects (empirical Bayes)."""
    from scipy.stats import beta

    table: dict[str, list[int]] = {}
    for name, wrong in answers:
        counted = table.setdefault(name, [0, 0])
        counted[0] += wrong
        counted[1] += 1
    if not table:
        return {}
    names = sorted(table)
    k, n = (np.array([table[name][i] for name in names], float) for i in (0, 1))
    a, b = prior(k, n)
    low, high = beta.ppf([[0.025], [0.975]], a + k, b + n - k)
    mean = (a + k) / (a + b + n)
    return {
        name: Rate(int(k[i]), int(n[i]), float(mean[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)
    }


def prior(k: np.ndarray, n: np.ndarray) -> tuple[float, float]:
    """The beta prior whose beta-binomial makes k errors of n most likely; near one rate for all where none differ."""
    from scipy.optimize import minimize
    from scipy.special import betaln

    start = float(np.clip(k.sum() / n.sum(), 0.01, 0.99))

    def surprise(free: np.ndarray) -> float:
        mean, size = 1 / (1 + np.exp(-free[0])), np.exp(free[1])
        a, b = mean * size, (1 - mean) * size
        # a weak pull to a size of about 10 keeps the fit finite where all objects are alike
        return float(-np.sum(betaln(a + k, b + n - k) - betaln(a, b)) + (free[1] - np.log(10)) ** 2 / 18)

    fit = minimize(surprise, np.array([np.log(start / (1 - start)), np.log(10.0)]), method="Nelder-Mead")
    mean, size = 1 / (1 + np.exp(-fit.x[0])), np.exp(fit.x[1])
    return float(mean * size), float((1 - mean) * size)


def _drags(absent: Sequence[Claim], company: Mapping[Path, set[str]]) -> list[Drag]:
    """Each pair (present, absent) with false claims, those first whose rate stands out most (Fisher, one-sided)."""
    from scipy.stats import fisher_exact

    total: dict[str, list[int]] = {}
    beside: dict[Pair, list[int]] = {}
    for claim in absent:
        counted = total.setdefault(claim.object, [0, 0])
        counted[0] += bool(claim.said)
        counted[1] += 1
        for by in company[claim.image]:
            pair = beside.setdefault((by, claim.object), [0, 0])
            pair[0] += bool(claim.said)
            pair[1] += 1
    found = []
    for (by, name), (errors, asked) in beside.items():
        if not errors:
            continue
        other, rest = total[name][0] - errors, total[name][1] - asked
        p = fisher_exact([[errors, asked - errors], [other, rest - other]], "greater").pvalue
        found.append(Drag(by, name, errors, asked, errors / asked, other / rest if rest else float("nan"), float(p)))
    return sorted(found, key=lambda one: (one.p, -one.errors, one.by, one.object))


def hard_negatives(found: Objects, most: int = 8) -> list[dict[str, object]]:
    """What the trainer should contrast: each object that is claimed falsely, with the objects whose presence drags it.

    ``weight`` is the shrunk rate of false claims over the mean of all objects': how much oftener to draw it.
    """
    rated = [(one.name, one.claimed) for one in found.classes if one.claimed and one.claimed.errors]
    mean = np.mean([one.claimed.value for one in found.classes if one.claimed]) if rated else 1.0
    rows: list[dict[str, object]] = []
    for name, claimed in sorted(rated, key=lambda pair: -pair[1].value):
        by = [one.by for one in found.drags if one.object == name and not one.rate <= one.elsewhere][:most]
        rows.append({"object": name, "drags": by, "weight": round(float(claimed.value / mean), 4)})
    return rows


def write_hard_negatives(found: Objects, path: Path) -> int:
    """Write the hard negatives, one JSON object a line, and say how many."""
    rows = hard_negatives(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.output(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)
