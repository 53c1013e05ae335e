"""Open answers in the file that a task's own judge reads, its rows in its order."""

from __future__ import annotations

from pathlib import Path

from harness.asking import evaluate
from harness.errors import DataError, UsageError
from harness.export.rows import of_run
from harness.kept_runs import slug
from harness.store import Run, write_json
from harness.types import Answer


def write(run: Run, data: Path, out: Path) -> list[Path]:
    """``RUN_TASK_for_judge.json`` for each task whose answers a judge rates; where they are.

    UsageError where the run has no such task, DataError where a question has no answer: a judge would rate another.
    """
    paths = []
    for one in of_run(run, data):
        task = evaluate.open_task(one.task.spec, data)
        told = []
        for row in one.rows:
            if row.sample is None or not isinstance(row.record.reply, Answer):
                raise DataError(f"{run.id} {one.task.name}: question {row.record.id} has no answer to be judged")
            told.append(task.to_judge(row.sample, row.record.reply.text or ""))
        if any(rating is not None for rating in told):
            path = out / f"{slug(run.id)}_{one.task.name}_for_judge.json"
            out.mkdir(parents=True, exist_ok=True)
            write_json(path, told)
            paths.append(path)
    if not paths:
        raise UsageError(f"{run.id} has no task whose answers a judge rates; mmhal is one")
    return paths
