"""Whether what a study names is there and can be done, asked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

from harness import registry
from harness.asking.controls import NAMES as CONTROLS
from harness.errors import UsageError
from harness.study.schema import RUNGS, Alignment, Study, assigned


def check(study: Study) -> None:
    """UsageError names the first thing that the study's trainings, alignments or tables would stumble over."""
    registry.find(registry.encoders, registry.parse_spec(study.base).name, "encoder")
    if study.lvlm:
        registry.find(registry.lvlms, registry.parse_spec(study.lvlm).name, "LVLM")
    for wrong in (*_asked(study), *_made(study)):
        raise UsageError(f"study '{study.name}': {wrong}")
    for name, rung in study.alignments.items():
        _aligned(study.name, name, rung)


def _asked(study: Study) -> Iterator[str]:
    twice = [task for n, task in enumerate(study.tasks) if task in study.tasks[:n]]
    if not study.tasks or twice:
        yield f"tasks {'names ' + twice[0] + ' twice' if twice else 'is empty'}; right would be each task once"
    for table in study.tables:
        if table.task not in study.tasks:
            yield f"table '{table.title}' is of {table.task}; the tasks are {', '.join(study.tasks)}"
    for control in study.controls:
        if control not in CONTROLS:
            yield f"no control is called '{control}'; there is {', '.join(CONTROLS)}"


def _made(study: Study) -> Iterator[str]:
    if study.quick.limit < 0:
        yield f"quick: limit is {study.quick.limit}; right would be a number of images, or 0 for all"
    for name, arm in study.arms.items():
        if len(set(arm.fractions)) < len(arm.fractions):
            yield f"the fractions of arm '{name}' name one share twice"
        if "seed" in arm.set:
            yield f"arm '{name}' sets a seed; its trainings have the seeds 0, 1, 2 …"


def _aligned(study: str, name: str, rung: Alignment) -> None:
    """UsageError where a rung is none, or its stages and their data do not go together."""
    from harness.vision_language.align import recipes

    if not rung.trained:
        if rung.how != "none" and not rung.images:
            raise UsageError(f"study '{study}': alignment '{name}' is {rung.how} and names no 'images' to learn from")
        return
    stages, data = rung.how.split(","), rung.data.split(",")
    try:
        recipes.chosen(stages, assigned(rung.set))
    except UsageError as error:
        raise UsageError(f"study '{study}', alignment '{name}': {error}; or how = {', '.join(RUNGS)}") from error
    if len(data) not in (1, len(stages)) or not all(data):
        raise UsageError(
            f"study '{study}': alignment '{name}' has {len(stages)} stages and {len(data)} places of data; "
            "right would be one for each stage, or one for all"
        )
