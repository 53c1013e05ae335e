"""Whether what a study names is there and can be done, asked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness import registry
from harness.asking.controls import NAMES as CONTROLS
from harness.errors import UsageError
from harness.study.findings import place_of
from harness.study.jobs import Ask, Job, answers
from harness.study.schema import BASE, RUNGS, Alignment, Contrast, Study, Table, assigned
from harness.tallies import groups_of
from harness.types import Task


def check(study: Study) -> None:
    """UsageError names the first thing that the study's trainings, alignments or tables would stumble over."""
    registry.find(registry.encoders, registry.parse_spec(study.base).name, "encoder")
    if study.lvlm:
        registry.find(registry.lvlms, registry.parse_spec(study.lvlm).name, "LVLM")
    for wrong in (*_asked(study), *_made(study)):
        raise UsageError(f"study '{study.name}': {wrong}")
    for name, rung in study.alignments.items():
        _aligned(study.name, name, rung)


def check_shown(study: Study, tasks: Sequence[Task], jobs: Sequence[Job]) -> None:
    """UsageError names the first task that these jobs ask nobody, column that is none, or contrast without a sense."""
    asked = [job for job in jobs if isinstance(job, Ask)]
    for wrong in (*_unasked(tasks, asked), *_unshown(study, tasks), *_untold(study, asked)):
        raise UsageError(f"study '{study.name}': {wrong}")


def _unasked(tasks: Sequence[Task], asked: Sequence[Ask]) -> Iterator[str]:
    for task in tasks:
        if not any(answers(task.mode, job.lvlm) for job in asked):
            yield (
                f"{task.name} asks the LVLM, and no arm is grown into one: that takes an lvlm, an [alignments.NAME] "
                "and an arm with lvlm = true"
            )


def _unshown(study: Study, tasks: Sequence[Task]) -> Iterator[str]:
    known: dict[str, list[str]] = {}
    by_name = {task.name: task for task in tasks}
    for table in study.tables:
        task = by_name[table.task]
        if task.name not in known:
            known[task.name] = list(dict.fromkeys(g for sample in task.every() for g in groups_of(sample.group)))
        for column in table.columns:
            yield from _no_column(table, column, task, known[task.name])


def _no_column(table: Table, column: str, task: Task, groups: Sequence[str]) -> Iterator[str]:
    group, metric = place_of(task, column)
    said = f"table '{table.title}' has a column '{column}', and {task.name} has no"
    if group not in groups:
        short = {path: path.split("/")[-1] for path, _ in task.summary}
        yield f"{said} group '{group}'; there is {', '.join(short.get(one, one) or task.whole for one in groups)}"
    elif metric not in task.metrics_of(group):
        where = f" in {group}" if group else ""
        yield f"{said} metric '{metric}'{where}; there is {', '.join(task.metrics_of(group))}"


def _untold(study: Study, asked: Sequence[Ask]) -> Iterator[str]:
    for one in study.contrasts:
        base, candidate = (_largest(study, arm, asked) for arm in (one.base, one.candidate))
        if not {job.cell.rung for job in base} & {job.cell.rung for job in candidate}:
            yield f"{_named(one)}: nothing is asked of both; lvlm = true grows an arm into the LVLM"
        if {job.encoder for job in base} & {job.encoder for job in candidate}:
            yield (
                f"{_named(one)}: by recipe and settings they are one training under two names, and a contrast of them "
                "says nothing; change a setting of one, or take the contrast out"
            )


def _named(one: Contrast) -> str:
    return f"a contrast sets '{one.candidate}' against '{one.base}'"


def _largest(study: Study, arm: str, asked: Sequence[Ask]) -> list[Ask]:
    """What is asked of the arm at its largest share of the data, which contrasts are about."""
    share = 1.0 if arm == BASE else max(study.arms[arm].fractions)
    return [job for job in asked if (job.cell.arm, job.cell.fraction) == (arm, share)]


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
    pairs = [{one.base, one.candidate} for one in study.contrasts]
    for n, one in enumerate(study.contrasts):
        if pairs[n] in pairs[:n]:
            yield f"{_named(one)} twice: p-values are adjusted for every line, so each of its lines would count twice"


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
