"""What is put side by side: kept runs (by id or by encoder), or files of answers; refused where they do not compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import digest
from harness.asking import engine, evaluate
from harness.data import Data
from harness.errors import UsageError
from harness.kept_runs import begun_so, pick, runs, say_shards
from harness.records import Record
from harness.store import Run
from harness.types import Task

SETTINGS = (
    "template", "pad", "mean", "std", "resolution", "tower_layer", "tower_tokens", "dtype", "decoding",
    "temperature", "max_tokens", "seed", "system",
)  # fmt: skip
"""What an LVLM does beside its weights: where two runs differ in it, their answers do not compare."""


@dataclass(frozen=True)
class AnswerSet:
    """One of the things compared: its answers by task, and the manifest of the run they come from.

    The ``records`` of a kept run are without words (``worded`` has them).
    """

    name: str
    records: Mapping[str, list[Record]]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    run: Run | None = None

    def worded(self, task: str) -> Mapping[str, Record]:
        """The records of this task by sample id, with all that was said."""
        every = self.records.worded(task) if isinstance(self.records, Kept) else self.records[task]
        return {record.id: record for record in every}

    @property
    def control(self) -> str:
        """The control it was asked under."""
        return str(self.manifest.get("control", "none"))


def of_run(run: Run, name: str = "") -> AnswerSet:
    """A kept run as a side."""
    manifest = run.manifest()
    tasks = {task: task for task in manifest.get("tasks", {})}
    return AnswerSet(name or title(manifest) or run.id, Kept(run, tasks), manifest, run)


class Kept(Mapping[str, list[Record]]):
    """A run's records by task, each task's read when it is first asked for: to group runs needs none.

    ``tasks`` says by which name the run keeps each of them. Answers come without their words.
    """

    def __init__(self, run: Run, tasks: Mapping[str, str]) -> None:
        self._run, self._tasks = run, tasks
        self._read: dict[str, list[Record]] = {}

    def __getitem__(self, task: str) -> list[Record]:
        if task not in self._read:
            self._read[task] = self._run.records(self._tasks[task], words=False)
        return self._read[task]

    def worded(self, task: str) -> list[Record]:
        """This task's records with all that was said."""
        return self._run.records(self._tasks[task])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def title(manifest: Mapping[str, Any]) -> str:
    """``encoder + lvlm (control)``."""
    models = [manifest[part]["spec"] for part in ("encoder", "lvlm") if manifest.get(part)]
    control = manifest.get("control", "none")
    return " + ".join(models) + ("" if control == "none" else f" ({control})")


def find_run(results: Path, name: str) -> Run:
    """The run of this id, of this encoder, or whose id begins so; UsageError says what there is."""
    run = _found(results, name)
    say_shards(run)
    return run


def _found(results: Path, name: str) -> Run:
    found = called(results, name)
    if len(found) == 1:
        return found[0]
    if any(_plain_run_of(run.manifest(), name) for run in found):
        raise UsageError(f"encoder '{name}' has several runs, name one: {', '.join(run.id for run in found)}")
    return pick(results, name)


def called(results: Path, name: str) -> list[Run]:
    """Every run that this name may mean: that of this id, or those of this encoder, or those whose id begins so."""
    every = runs(results)
    exact = [run for run in every if run.id == name]
    return exact or [run for run in every if _plain_run_of(run.manifest(), name)] or begun_so(every, name)


def _plain_run_of(manifest: Mapping[str, Any], name: str) -> bool:
    specs = [(manifest.get(part) or {}).get("spec") for part in ("encoder", "lvlm")]
    wanted = [name, None] if "+" not in name else [part.strip() for part in name.split("+", 1)]
    same = specs[0] == wanted[0] and (wanted[1] is None or specs[1] == wanted[1])
    return same and manifest.get("control", "none") == "none"


def open_answer_sets(
    names: Sequence[str], results: Path, task: str, data: Data | None
) -> tuple[list[AnswerSet], list[Task]]:
    """Every side named, and the tasks that the first and at least one other have; UsageError where there are none."""
    files = [name for name in names if Path(name).is_file()]
    if files and (not task or data is None):
        raise UsageError(f"{files[0]} is a file of answers: say which task it answers with --task, and --data DIR")
    opened = evaluate.open_task(task, data.root) if files and data else None
    sides = [_of_file(Path(n), opened) if opened and n in files else of_run(find_run(results, n)) for n in names]
    sides = _told_apart(sides)
    tasks = [opened] if opened else tasks_of(sides, task)
    shared = [t for t in tasks if t.name in sides[0].records and any(t.name in s.records for s in sides[1:])]
    if len(sides) > 1 and not shared:
        asked = "; ".join(f"{side.name}: {', '.join(side.records) or 'nothing'}" for side in sides)
        raise UsageError(f"these have no task in common ({asked})")
    return sides, shared or tasks


def tasks_of(sides: Sequence[AnswerSet], only: str) -> list[Task]:
    """The tasks of kept runs, or the one asked for; UsageError where none has it."""
    tasks = evaluate.kept_tasks([side.run for side in sides if side.run])
    kept = [task for task in tasks if not only or only in (task.name, task.spec)]
    if not kept:
        raise UsageError(f"no task is called '{only}' in these runs; there is {', '.join(t.name for t in tasks)}")
    return kept


def _told_apart(sides: Sequence[AnswerSet]) -> list[AnswerSet]:
    """The same sides, those that share a name called by their run's id."""
    names = [side.name for side in sides]
    return [
        AnswerSet(side.run.id, side.records, side.manifest, side.run)
        if names.count(side.name) > 1 and side.run
        else side
        for side in sides
    ]


def _of_file(path: Path, task: Task) -> AnswerSet:
    from harness.scoring import score

    scored = score.score(task, path)
    asked = engine.questions(task, scored.samples)
    entry = {"rules": dict(task.rules()), "samples_digest": asked.digest, "floors": evaluate.floor_values(asked)}
    return AnswerSet(path.stem, {task.name: list(scored.records)}, {"tasks": {task.name: entry}, "answers": str(path)})


def require_comparable(base: AnswerSet, other: AnswerSet, tasks: Sequence[Task]) -> None:
    """UsageError that names what differs, where a difference of these two would not be one of the models."""
    found = [*_settings(base, other), *(line for task in tasks for line in _questions(base, other, task.name))]
    if found:
        raise UsageError(f"{base.name} and {other.name} do not compare: {'; '.join(found)}")


def _settings(base: AnswerSet, other: AnswerSet) -> list[str]:
    first, second = ((side.manifest.get("lvlm") or {}).get("describe", {}) for side in (base, other))
    return [
        f"{key} is {first[key]!r} and {second[key]!r}"
        for key in SETTINGS
        if key in first and key in second and first[key] != second[key]
    ]


def _questions(base: AnswerSet, other: AnswerSet, task: str) -> list[str]:
    first, second = (side.manifest.get("tasks", {}).get(task, {}) for side in (base, other))
    if not first or not second:
        return []
    found = []
    rules = [one.get("rules", {}) for one in (first, second)]
    for key in sorted({*rules[0], *rules[1]}):
        if rules[0].get(key) != rules[1].get(key):
            found.append(f"{task} is counted by {key} {rules[0].get(key)!r} and {rules[1].get(key)!r}")
    digests = [one.get("samples_digest") for one in (first, second)]
    if all(digests) and digests[0] != digests[1] and base.control == other.control and base.run and other.run:
        found.append(f"{task} asks {_data(base, task)} and {_data(other, task)} (its questions or prompts differ)")
    return found


def _data(side: AnswerSet, task: str) -> str:
    limit = side.manifest.get("limit")
    some = f", {limit} images by seed {side.manifest.get('seed')}" if limit else ""
    part = (side.manifest.get("part") or {}).get(task)
    some += f", {part['images']} of {part['of']} images" if part else ""
    expected = side.manifest["tasks"][task].get("expected", "?")
    return f"{expected} questions of {side.manifest.get('data', '?')}{some}"


def cluster(image: str) -> str:
    """The picture itself: COCO names one file differently in different benchmarks."""
    for prefix in ("COCO_val2014_", "COCO_train2014_", "COCO_val2017_"):
        image = image.removeprefix(prefix)
    return image


def digest_of(side: AnswerSet) -> str:
    """What identifies this side's answers."""
    return digest.of_json([[r.id, r.key, dict(r.counts)] for records in side.records.values() for r in records])[:12]
