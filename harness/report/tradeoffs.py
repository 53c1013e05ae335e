"""What each way of training gained over the encoder it began from, and what it forgot for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import digest
from harness.asking import evaluate
from harness.comparison import answer_sets, compare, groups, over_seeds
from harness.comparison.groups import Group
from harness.registry import parse_spec
from harness.stats import Difference
from harness.types import OF_ENCODERS, Task

if TYPE_CHECKING:
    from harness.report.plots import Plot
    from harness.store import Run

FORGETTING = "zero-shot"
"""The task that says what fine-tuning lost (the paper's Table 3)."""


@dataclass(frozen=True)
class Tradeoff:
    """Trainings that differ by seed alone, against their base: the change of each task's headline, and of zero-shot.

    ``interpolate`` is the share of the tuned weights (WiSE-FT, arXiv 2109.01903: 1 is all of them); ``way`` is equal
    for trainings that differ by it alone. ``trained`` are the digests of the trained encoders.
    """

    model: str
    base: str
    interpolate: float
    way: str
    seeds: int
    trained: frozenset[str]
    forgotten: Difference
    gains: Mapping[str, Difference]


def tradeoffs(kept: Sequence[tuple[Run, Mapping[str, Any]]]) -> list[Tradeoff]:
    """One for each way of training whose base was asked zero-shot over the same pictures; controls and parts aside."""
    whole = [(run, manifest) for run, manifest in kept if manifest.get("encoder") and _is_whole(manifest)]
    bases = [answer_sets.of_run(run) for run, _ in whole]
    found: dict[frozenset[str], Tradeoff] = {}
    for one in groups.together(run for run, manifest in whole if manifest.get("training")):
        made = _tradeoff(one, bases)
        if made and len(made.gains) > len(found[made.trained].gains if made.trained in found else ()):
            found[made.trained] = made
    return list(found.values())


def _is_whole(manifest: Mapping[str, Any]) -> bool:
    plain = manifest.get("control", "none") == "none" and not manifest.get("limit") and not manifest.get("part")
    return plain and manifest.get("status") == "complete"


def _tradeoff(one: Group, bases: Sequence[answer_sets.AnswerSet]) -> Tradeoff | None:
    tasks = [task for task in evaluate.kept_tasks(side.run for side in one.sides if side.run) if _shared(one, task)]
    forgetting = next((task for task in tasks if parse_spec(task.spec).name == FORGETTING), None)
    base = next((side for side in bases if forgetting and _began(one, side, forgetting)), None)
    if forgetting is None or base is None:
        return None
    against = Group(base.name, (base,))
    training = one.sides[0].manifest["training"]
    settings = training.get("recipe", {})
    recipe = {key: value for key, value in settings.items() if key != "interpolate"}
    changes = {task.name: change(against, one, task) for task in tasks if _asked_alike(one, base, task)}
    forgotten = changes.pop(forgetting.name, None)
    if forgotten is None:
        return None
    return Tradeoff(
        groups.model(one.sides, "encoder"),
        str(base.manifest["encoder"]["spec"]),
        float(settings.get("interpolate", 1.0)),
        digest.of_json([recipe, training.get("base"), training.get("data")]),
        len(set(one.units()[0])),
        frozenset(one.digests()),
        forgotten,
        {name: gain for name, gain in changes.items() if gain is not None},
    )


def _shared(one: Group, task: Task) -> bool:
    return task.mode in OF_ENCODERS and all(task.name in side.records for side in one.sides)


def _began(one: Group, base: answer_sets.AnswerSet, task: Task) -> bool:
    """Whether these trainings began from the encoder of this run, and it was asked the task as they were."""
    training, encoder = one.sides[0].manifest["training"], base.manifest["encoder"]
    if not training.keys() >= {"base", "recipe"}:
        return False
    # Trainings of version 0.1.0 noted another digest of their base, that of its weights alone: these know it by name.
    began = training["base"] == encoder["digest"] or training["recipe"].get("base") == encoder["spec"]
    return began and _asked_alike(one, base, task)


def _asked_alike(one: Group, base: answer_sets.AnswerSet, task: Task) -> bool:
    asked = [side.manifest.get("tasks", {}).get(task.name, {}) for side in (base, one.sides[0])]
    return all(asked) and all(asked[0].get(key) == asked[1].get(key) for key in ("samples_digest", "rules"))


def change(base: Group, tuned: Group, task: Task) -> Difference | None:
    """The change of the task's headline for the better, paired by image; over sets, of their average where it is one.

    None where either has no value.
    """
    arms = over_seeds.common((base, tuned), task.name)
    images = sorted({record.image for record in arms[0][0]})
    before, after = (over_seeds.tables(runs, images) for runs in arms)
    for group, name in _headlines(task):
        metric = task.metrics_of(group)[name]
        found = over_seeds.design(base, tuned).difference(before[group], after[group], metric)
        if np.isfinite(found.value):
            sign = -1 if metric.better == "lower" else 1
            low, high = sorted((sign * found.low, sign * found.high))
            return Difference(sign * found.value, low, high, found.p, found.se)
    return None


def _headlines(task: Task) -> Iterator[tuple[str, str]]:
    if "average" in task.metrics:
        yield "", "average"
    yield compare.headline(task)


def plot(found: Sequence[Tradeoff]) -> Plot:
    """Each task's gain over what was forgotten for it; trainings that differ by their interpolation on one line."""
    from harness.report.plots import FAINT, INK, Plot, axes_of, colour, mark, short

    tasks = list(dict.fromkeys(name for one in found for name in one.gains))
    ways = list(dict.fromkeys(one.way for one in found))

    def draw() -> Any:
        figure, axes = axes_of(6.6, 4.2)
        axes.axhline(0, color=FAINT, linewidth=1)
        axes.axvline(0, color=FAINT, linewidth=1)
        axes.plot([0], [0], "x", color=INK, markersize=6, label="base")
        for i, (way, task) in enumerate((way, task) for way in ways for task in tasks):
            points = sorted((one for one in found if one.way == way and task in one.gains), key=_share)
            if not points:
                continue
            x, y = [one.forgotten for one in points], [one.gains[task] for one in points]
            ink = colour(i)
            for a, b in zip(x, y, strict=True):
                axes.plot([a.low, a.high], [b.value, b.value], color=ink, linewidth=0.8)
                axes.plot([a.value, a.value], [b.low, b.high], color=ink, linewidth=0.8)
            label = short(f"{task} · {points[-1].model.rpartition('/')[2]}", 44)
            axes.plot([a.value for a in x], [b.value for b in y], f"{mark(i)}-", color=ink, markersize=4, label=label)
            for one, a, b in zip(points, x, y, strict=True):
                if len(points) > 1:
                    axes.annotate(f"{one.interpolate:g}", (a.value, b.value), fontsize=7, color=INK)
        axes.set(xlabel=f"{FORGETTING}: change to the base, points", ylabel="gain over the base, points")
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    says = (
        "Up is gained, left is forgotten; bars are 95 % intervals over images, and over trainings where there are "
        "several; on a line, trainings of which a share of the weights was mixed with the base's (WiSE-FT)."
    )
    return Plot("gain-against-cost", "Gain against what it cost", says, draw)


def _share(one: Tradeoff) -> float:
    return one.interpolate
