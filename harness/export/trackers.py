"""What an evaluation measured, told to W&B, TensorBoard or MLflow: one run there for each kept run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from harness import extras
from harness.asking import evaluate
from harness.comparison import metric_table
from harness.errors import UsageError
from harness.store import Run

Tracker = Literal["wandb", "tensorboard", "mlflow"]
PROJECT = "ohd-bench"
FOLDER = "trackers"
"""Below the folder of runs: where what keeps its logs in files keeps them."""
_NAME = re.compile(r"[^A-Za-z0-9_./ -]+")


def require(names: Sequence[str]) -> None:
    """UsageError where one of these is unknown, or its package is not there: before anything is asked."""
    for name in names:
        if name not in get_args(Tracker):
            raise UsageError(f"--log-with {name}: there is {', '.join(get_args(Tracker))}")
        for package in (name, "accelerate"):
            if not extras.there(package):
                raise extras.needs(package)


def tell(runs: Sequence[Run], names: Sequence[str]) -> None:
    """Tell each tracker every metric of every group of these runs, with its interval, and how the run was made."""
    if not names:
        return
    from accelerate import PartialState

    PartialState()  # accelerate's trackers ask it which process they are in
    for run in runs:
        told, about = values(run), config(run)
        for name in names:
            tracker = _opened(name, run)
            tracker.start()
            tracker.store_init_configuration(about)
            tracker.log(told, step=0)
            tracker.finish()


def _opened(name: str, run: Run) -> Any:
    """accelerate's own tracker of this name, as training uses it."""
    from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

    folder = run.folder.parent / FOLDER
    match name:
        case "tensorboard":
            return TensorBoardTracker(run.id, folder)
        case "wandb":
            return WandBTracker(PROJECT, name=run.id, dir=_made(folder))
        case _:
            return MLflowTracker(PROJECT, run_name=run.id)  # to where MLFLOW_TRACKING_URI says


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def values(run: Run) -> dict[str, float]:
    """``task/group/metric`` → value, and ``…/low`` and ``…/high`` where there is an interval; names that all take."""
    found: dict[str, float] = {}
    for task in evaluate.kept_tasks([run]):
        for group, metrics in metric_table.scores(task, run.records(task.name, words=False)).items():
            for metric, one in metrics.items():
                name = _NAME.sub("-", "/".join((task.name, group or task.whole, metric)))
                ends = {"": one.value, "/low": one.low, "/high": one.high}
                found |= {name + end: value for end, value in ends.items() if value == value}
    return found


def config(run: Run) -> dict[str, str | int]:
    """What the run is: models, data and settings, as plain values."""
    manifest = run.manifest()
    models = {part: str((manifest.get(part) or {}).get("spec", "")) for part in ("encoder", "lvlm")}
    settings = {key: manifest.get(key) or 0 for key in ("limit", "seed")}
    told = {key: str(manifest.get(key, "")) for key in ("data", "world", "control", "status")}
    return {"run": run.id, **models, **told, **settings}
