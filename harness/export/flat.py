"""A run as flat tables, CSV or Parquet: a row a sample, and a row a metric with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import durable, extras
from harness.export.rows import Asked, TaskRows, of_run
from harness.kept_runs import slug
from harness.shown import csv_cell
from harness.store import Run

if TYPE_CHECKING:
    from pandas import DataFrame

METRICS = (
    "run", "encoder", "lvlm", "data", "control", "task", "group", "metric", "better", "value", "low", "high", "n",
    "images",
)  # fmt: skip
SAMPLES = (
    "run", "encoder", "lvlm", "data", "control", "task", "group", "id", "image", "question", "target", "answer",
    "right", "p_yes", "failed",
)  # fmt: skip
"""The columns of each table; a sample's are followed by the units it is a part of, and by what it adds to the totals:
``unit.figure``, ``count.right``."""


def write(run: Run, data: Path | None, out: Path, to: str) -> list[Path]:
    """Write ``RUN_samples`` and ``RUN_metrics`` as ``to`` says, ``csv`` or ``parquet`` (by pyarrow); where they are."""
    if to == "parquet" and not extras.there("pyarrow"):
        raise extras.needs("pyarrow")
    tasks = list(of_run(run, data))
    found = {"samples": samples(run, tasks), "metrics": metrics(run, tasks)}
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in found.items():
        path = out / f"{slug(run.id)}_{name}.{to}"
        if to == "csv":
            durable.output(path, table.map(csv_cell).to_csv(index=False, lineterminator="\n"))
        else:
            durable.output(path, table.to_parquet(index=False))
        paths.append(path)
    return paths


def samples(run: Run, tasks: list[TaskRows]) -> DataFrame:
    """A row for each sample of each task. Without the data at hand its question and its target are empty."""
    import pandas as pd

    about = _about(run)
    rows = [about | {"task": one.task.name} | _sample(row) for one in tasks for row in one.rows]
    keys = sorted({key for row in rows for key in row})
    units, counts = ([key for key in keys if key.startswith(kind)] for kind in ("unit.", "count."))
    table = pd.DataFrame(rows, columns=[*SAMPLES, *units, *counts])
    return table.astype(
        {"right": "boolean", "failed": "boolean", "p_yes": "float64", **dict.fromkeys(counts, "float64")}
    )


def _sample(row: Asked) -> dict[str, Any]:
    record = row.record
    return {
        "group": record.group, "id": record.id, "image": record.image, "question": row.prompt, "target": row.target,
        "answer": row.said, "right": row.right, "p_yes": row.p_yes, "failed": not record.scored,
        **{f"unit.{kind}": unit for kind, unit in row.units.items()},
        **{f"count.{name}": float(value) for name, value in row.counts.items()},
    }  # fmt: skip


def metrics(run: Run, tasks: list[TaskRows]) -> DataFrame:
    """A row for each metric of each group of each task that has a value: unrounded, with its 95 % interval."""
    import pandas as pd

    about = _about(run)
    rows = [
        about
        | {"task": one.task.name, "group": group or one.task.whole, "metric": name}
        | {"better": one.task.metrics_of(group)[name].better}
        | {"value": found.value, "low": found.low, "high": found.high, "n": found.n, "images": found.images}
        for one in tasks
        for group, values in one.scores.items()
        for name, found in values.items()
        if found.value == found.value
    ]
    return pd.DataFrame(rows, columns=list(METRICS))


def _about(run: Run) -> dict[str, str]:
    manifest = run.manifest()
    models = {part: str((manifest.get(part) or {}).get("spec", "")) for part in ("encoder", "lvlm")}
    return {"run": run.id} | models | {key: str(manifest.get(key, "")) for key in ("data", "control")}
