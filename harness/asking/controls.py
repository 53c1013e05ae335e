"""Controls: the same questions with the picture exchanged, blanked or taken away, to see what the picture was worth."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageStat

from harness.asking.opening import See
from harness.errors import UsageError
from harness.images import open_image
from harness.kept_runs import runs
from harness.metrics import Metric
from harness.records import Record
from harness.stats import Difference, Estimate, compared, of_both
from harness.store import Run
from harness.tallies import paired_tallies
from harness.types import OF_ENCODERS, Mode, Sample, Task

NAMES = ("none", "shuffle-image", "blank-image", "text-only")


def unasked(mode: Mode, control: str) -> str:
    """Why tasks of this mode are not asked under this control; empty where they are.

    UsageError where there is no such control.
    """
    if control not in NAMES:
        raise UsageError(f"no control is called '{control}'; there is {', '.join(NAMES)}")
    if control == "text-only" and mode in OF_ENCODERS:
        return "it shows no picture, and an encoder answers by pictures"
    if control != "none" and mode == "retrieve":
        return "a gallery has no other pictures to show"
    return ""


def samples(every: Sequence[Sample], control: str, seed: int) -> list[Sample]:
    """The samples as this control asks them: ``shuffle-image`` asks each image's questions of another image.

    Every image gets another one's questions (a seeded derangement by one cycle), so that no question keeps its own.
    """
    require(control)
    if control != "shuffle-image":
        return list(every)
    order = sorted({sample.image for sample in every if sample.image}, key=lambda path: (path.name, path))
    if len(order) < 2:
        raise UsageError("--control shuffle-image needs at least two images")
    random.Random(f"{seed}/shuffle-image").shuffle(order)
    other = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [replace(sample, image=other[sample.image]) if sample.image else sample for sample in every]


def require(control: str) -> None:
    """UsageError where no control is called so."""
    if control not in NAMES:
        raise UsageError(f"no control is called '{control}'; there is {', '.join(NAMES)}")


def view(control: str) -> See:
    """What a model is shown of an image file under this control; None is shown where there is only text."""
    return {"blank-image": _blank, "text-only": _nothing}.get(control, open_image)


def _blank(path: Path) -> Image.Image:
    """An image of the same size in the mean colour of its pixels."""
    image = open_image(path)
    red, green, blue = (round(value) for value in ImageStat.Stat(image).mean)
    return Image.new("RGB", image.size, (red, green, blue))


def _nothing(path: Path) -> None:
    return None


@dataclass(frozen=True, slots=True)
class ImageDependent:
    """What a score owes to the picture: the score, the control's on the same questions, and their difference."""

    score: Estimate
    control: Estimate
    part: Difference


def image_dependent(
    answers: Sequence[Record], control: Sequence[Record], task: Task, only: Collection[tuple[str, str]] | None = None
) -> dict[tuple[str, str], ImageDependent]:
    """By (group, metric): score, control's and the part that the picture makes, paired by question, images as clusters.

    All of them, or ``only`` these. The part is score minus control in the metric's own direction: for a metric where
    lower is better, a picture that helps makes it negative.
    """
    pairs = paired_tallies(answers, control)
    chosen = {group: metrics for group in pairs if (metrics := _metrics(task, group, only))}
    both = {group: (pairs[group][1], pairs[group][0]) for group in chosen}
    drawn = of_both(both)
    return {
        (group, name): ImageDependent(score, without, part)
        for group, metrics in chosen.items()
        for name, (without, score, part) in compared(metrics, *both[group], drawn=drawn[group]).items()
        if part.value == part.value
    }


def _metrics(task: Task, group: str, only: Collection[tuple[str, str]] | None) -> dict[str, Metric]:
    return {name: one for name, one in task.metrics_of(group).items() if only is None or (group, name) in only}


def of(run: Run, results: Path) -> dict[str, Run]:
    """The kept control runs of the same models, data and limit, by the control's name; a control has none itself."""
    if run.manifest().get("control", "none") != "none":
        return {}
    ours = _models(run.manifest())
    found = {}
    for other in runs(results):
        manifest = other.manifest()
        controlled = manifest.get("control", "none") != "none" and manifest.get("status") == "complete"
        if controlled and _models(manifest) == ours:
            found[str(manifest["control"])] = other
    return dict(sorted(found.items(), key=lambda pair: NAMES.index(pair[0])))


def _models(manifest: Mapping[str, Any]) -> list[Any]:
    """What a run and its controls have in common."""
    parts = [{k: v for k, v in (manifest.get(part) or {}).items() if k != "spec"} for part in ("encoder", "lvlm")]
    drawn = manifest.get("seed") if manifest.get("limit") else None
    return [*parts, manifest.get("data"), manifest.get("limit"), manifest.get("part"), drawn]
