"""A run as logs of inspect_ai, one for each task, written by its own ``write_eval_log``."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from harness import digest
from harness.errors import DataError, UsageError
from harness.export.rows import Asked, TaskRows, model_name, of_run, stamp, values
from harness.images import ImageError, for_a_page, lies_inside
from harness.kept_runs import slug
from harness.store import Run

SUFFIXES = {"inspect": ".eval", "inspect-json": ".json"}
"""By ``--to``: how a log's name ends, which is what inspect_ai tells its format by."""


MOST = 10 * 365 * 86_400.0
"""Seconds: what a manifest tells beyond it is no duration."""


@dataclass(frozen=True)
class Pictures:
    """Which pictures are put into a log: of these samples, or of all; none from outside the ``fence``."""

    samples: frozenset[str] | None = frozenset()
    fence: Path | None = None
    left_out: list[str] = field(default_factory=list)
    """Why a picture could not be put in, of each."""

    def of(self, row: Asked) -> str:
        """The picture as a data address; "" where it is not asked for or there is none that can be shown.

        DataError where it is asked for by its sample's name and cannot be shown.
        """
        path = row.sample.image if row.sample else None
        if path is None or (self.samples is not None and row.record.id not in self.samples):
            return ""
        try:
            if self.fence is not None and not lies_inside(path, self.fence):
                raise ImageError(f"{path.name} lies outside {self.fence}; say --allow-outside")
            kind, data = for_a_page(path)
        except (ImageError, OSError) as error:
            why = f"{path.name} is missing" if isinstance(error, FileNotFoundError) else str(error)
            if self.samples is not None:
                raise DataError(f"sample '{row.record.id}': {why}") from error
            self.left_out.append(why)
            return ""
        return f"data:{kind};base64," + base64.b64encode(data).decode("ascii")


def write(run: Run, data: Path | None, out: Path, to: str = "inspect", pictures: Pictures | None = None) -> list[Path]:
    """Write one log for each task, by inspect_ai's own writer.

    UsageError where that is not installed, or where a picture is asked for of no sample of the run.
    """
    pictures, tasks = pictures or Pictures(), list(of_run(run, data))
    for asked in (pictures.samples or frozenset()) - {row.record.id for one in tasks for row in one.rows}:
        raise UsageError(f"{run.id} holds no sample '{asked}', whose picture was asked for")
    try:
        from inspect_ai.log import EvalLog, write_eval_log
    except ImportError as error:
        raise UsageError(
            "logs for inspect are written by inspect_ai: pip install 'ohd-bench[inspect]', "
            "or --to lm-eval, csv or parquet"
        ) from error
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for one in tasks:
        path = out / f"{stamp(run)}_{one.task.name}_{slug(run.id)}{SUFFIXES[to]}"
        write_eval_log(EvalLog.model_validate(log(run, one, pictures)), str(path))
        paths.append(path)
    return paths


def log(run: Run, one: TaskRows, pictures: Pictures) -> dict[str, Any]:
    """The log of one task, as inspect_ai's ``EvalLog`` reads it."""
    manifest = run.manifest()
    created = _when(manifest.get("created"))
    name = model_name(run)
    own = digest.of_json([run.id, one.task.name])[:22]
    failed = sum(not row.record.scored for row in one.rows)
    ids = _ids(one.rows)
    return {
        "version": 2,
        "status": "success" if manifest.get("status") == "complete" else "cancelled",
        "eval": {
            "eval_id": own,
            "run_id": run.id,
            "created": created,
            "task": one.task.name,
            "task_id": own,  # the viewer takes two logs of one task_id for a retry, and shows the later alone
            "task_version": str(one.task.version),
            "task_args": {str(key): str(value) for key, value in one.task.rules().items()},
            "dataset": {
                "name": str(manifest.get("data", "")),
                "samples": len(one.rows),
                "sample_ids": ids,
            },
            "model": f"ohd-bench/{name}",
            "config": {"epochs": 1},
            "packages": {"ohd-bench": str(manifest.get("versions", {}).get("ohd-bench", ""))},
            "metadata": {key: manifest.get(key) for key in ("encoder", "lvlm", "control")}
            | {"samples_digest": one.entry.get("samples_digest", "")},
        },
        "plan": {"name": "ohd-bench run", "steps": [{"solver": one.task.mode}]},
        "results": {
            "total_samples": len(one.rows),
            "completed_samples": len(one.rows) - failed,
            "scores": [{"name": one.task.name, "scorer": one.task.name, "metrics": _metrics(one)}],
        },
        "stats": {"started_at": created, "completed_at": _ended(created, one.entry.get("seconds"))},
        "samples": [
            {"id": id, **_sample(row, one.task.name, name, pictures.of(row))}
            for id, row in zip(ids, one.rows, strict=True)
        ],
    }


def _ids(rows: Sequence[Asked]) -> list[int] | list[str]:
    """The samples' ids: as numbers where all are, since inspect_ai sorts texts by their letters (1, 10, 100, 1000)."""
    told = [row.record.id for row in rows]
    numbers = [int(id) for id in told if id.isascii() and id.isdecimal()]
    return numbers if list(map(str, numbers)) == told else told


def _ended(began: str, seconds: Any) -> str:
    """When the task would have been through, had it been asked in one go: the run's other tasks are not its time."""
    took = float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < MOST else 0.0
    return (datetime.fromisoformat(began) + timedelta(seconds=took)).isoformat()


def _when(said: Any, otherwise: str = "1970-01-01T00:00:00+00:00") -> str:
    """A time as the manifest says it, where it is one."""
    try:
        return datetime.fromisoformat(str(said)).isoformat()
    except ValueError:
        return otherwise


def _metrics(one: TaskRows) -> dict[str, Any]:
    """Every metric, the task's headline first: it is the one that the viewer's list shows."""
    found = {}
    for name, estimate in sorted(values(one).items(), key=lambda pair: pair[0] != one.task.headline):
        ends = {"low": estimate.low, "high": estimate.high} if estimate.low == estimate.low else {}
        found[name] = {"name": name, "value": estimate.value, "metadata": ends}
    return found


def _sample(row: Asked, task: str, model: str, picture: str) -> dict[str, Any]:
    """One sample; a picture is kept once, as an attachment to which the question refers wherever it stands."""
    content: list[dict[str, Any]] = [{"type": "text", "text": row.prompt or row.record.id}]
    attached = {digest.of_json(picture)[:32]: picture} if picture else {}
    if row.sample is not None and row.sample.image is not None:
        shown = f"attachment://{next(iter(attached))}" if attached else row.sample.image.name
        content.insert(0, {"type": "image", "image": shown, "detail": "auto"})
    counted = {**row.counts, **{f"unit.{kind}": unit for kind, unit in row.units.items()}}
    verdict = {True: "C", False: "I", None: "N"}[row.right]
    sample: dict[str, Any] = {
        "uuid": digest.of_json([model, task, row.record.id])[:22],
        "epoch": 1,
        "input": [{"role": "user", "content": content}],
        "target": row.target,
        "messages": [
            {"role": "user", "content": content},
            {"role": "assistant", "content": row.said, "source": "generate", "model": model},
        ],
        "output": {
            "model": model,
            "choices": [{"message": {"role": "assistant", "content": row.said}, "stop_reason": "stop"}],
            "completion": row.said,
        },
        "scores": {task: {"value": verdict, "answer": row.said, "metadata": counted}},
        "metadata": {"group": row.record.group, "image": row.record.image, "p_yes": row.p_yes},
        "attachments": attached,
    }
    if not row.record.scored:
        sample |= {"scores": None, "error": {"message": row.said, "traceback": "", "traceback_ansi": ""}}
    return sample
