"""A run as logs of inspect_ai (format 2), one for each task, that ``inspect view`` opens; made without the package."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness import digest
from harness.export.rows import Asked, TaskRows, model_name, of_run, stamp, values
from harness.images import ImageError, lies_inside, media_type
from harness.store import Run, slug, write_json


def write(run: Run, data: Path | None, out: Path, images: bool = False, outside: bool = False) -> list[Path]:
    """Write one log for each task; with ``images`` the pictures are put inside.

    A file that does not decode as a picture is named and never put inside, nor, unless ``outside``, one that lies
    outside the data folder.
    """
    picture = partial(_picture, fence=None if outside else data) if images else _name
    paths = []
    for one in of_run(run, data):
        path = out / f"{stamp(run)}_{one.task.name}_{slug(run.id)}.json"
        write_json(path, log(run, one, picture))
        paths.append(path)
    return paths


def _name(path: Path) -> str:
    return path.name


def log(run: Run, one: TaskRows, picture: Callable[[Path], str] = _name) -> dict[str, Any]:
    """The log of one task."""
    manifest = run.manifest()
    created = str(manifest.get("created", "1970-01-01T00:00:00+00:00"))
    name = model_name(run)
    failed = sum(not row.record.scored for row in one.rows)
    return {
        "version": 2,
        "status": "success" if manifest.get("status") == "complete" else "cancelled",
        "eval": {
            "eval_id": digest.of_json([run.id, one.task.name])[:22],
            "run_id": run.id,
            "created": created,
            "task": one.task.name,
            "task_id": f"{one.task.name}-{one.entry.get('samples_digest', '')[:12]}",
            "task_version": str(one.task.version),
            "task_args": {str(key): str(value) for key, value in one.task.rules().items()},
            "dataset": {
                "name": str(manifest.get("data", "")),
                "samples": len(one.rows),
                "sample_ids": [row.record.id for row in one.rows],
            },
            "model": f"ohd-bench/{name}",
            "config": {"epochs": 1},
            "packages": {"ohd-bench": str(manifest.get("versions", {}).get("ohd-bench", ""))},
            "metadata": json.loads(json.dumps({key: manifest.get(key) for key in ("encoder", "lvlm", "control")})),
        },
        "results": {
            "total_samples": len(one.rows),
            "completed_samples": len(one.rows) - failed,
            "scores": [{"name": one.task.name, "scorer": one.task.name, "metrics": _metrics(one)}],
        },
        "stats": {"started_at": created, "completed_at": str(manifest.get("finished", created))},
        "samples": [_sample(row, one.task.name, name, picture) for row in one.rows],
    }


def _metrics(one: TaskRows) -> dict[str, Any]:
    found = {}
    for name, estimate in values(one).items():
        ends = {"low": estimate.low, "high": estimate.high} if estimate.low == estimate.low else {}
        found[name] = {"name": name, "value": estimate.value, "metadata": ends}
    return found


def _sample(row: Asked, task: str, model: str, picture: Callable[[Path], str]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": row.prompt or row.record.id}]
    if row.sample is not None and row.sample.image is not None:
        content.insert(0, {"type": "image", "image": picture(row.sample.image), "detail": "auto"})
    verdict = {True: "C", False: "I", None: "N"}[row.right]
    sample: dict[str, Any] = {
        "id": row.record.id,
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
        "scores": {task: {"value": verdict, "answer": row.said, "metadata": dict(row.record.counts)}},
        "metadata": {"group": row.record.group, "image": row.record.image, "p_yes": row.p_yes},
    }
    if not row.record.scored:
        sample |= {"scores": None, "error": {"message": row.said, "traceback": "", "traceback_ansi": ""}}
    return sample


def _picture(path: Path, fence: Path | None) -> str:
    """The picture as a data address; its name where it is none, or lies outside."""
    if fence is not None and not lies_inside(path, fence):
        return path.name
    try:
        kind = media_type(path)
    except (ImageError, FileNotFoundError):
        return path.name
    return f"data:{kind};base64," + base64.b64encode(path.read_bytes()).decode("ascii")
