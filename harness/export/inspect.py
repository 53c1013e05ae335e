"""A run as logs of inspect_ai (format 2), one for each task, that ``inspect view`` opens; made without the package."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from harness import digest
from harness.export.rows import Asked, TaskRows, model_name, of_run, values
from harness.store import Run, slug, write_json


def write(run: Run, data: Path | None, out: Path, images: bool = False) -> list[Path]:
    """Write one log for each task; with ``images`` the pictures are put inside."""
    paths = []
    for one in of_run(run, data):
        path = out / f"{_stamp(run)}_{one.task.name}_{slug(run.id)}.json"
        write_json(path, log(run, one, images))
        paths.append(path)
    return paths


def _stamp(run: Run) -> str:
    created = str(run.manifest().get("created", "1970-01-01T00:00:00+00:00"))
    return created.replace(":", "-").replace("+", "-")


def log(run: Run, one: TaskRows, images: bool = False) -> dict[str, Any]:
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
        "samples": [_sample(row, one.task.name, name, images) for row in one.rows],
    }


def _metrics(one: TaskRows) -> dict[str, Any]:
    found = {}
    for name, estimate in values(one).items():
        ends = {"low": estimate.low, "high": estimate.high} if estimate.low == estimate.low else {}
        found[name] = {"name": name, "value": estimate.value, "metadata": ends}
    return found


def _sample(row: Asked, task: str, model: str, images: bool) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": row.prompt or row.record.id}]
    if row.sample is not None and row.sample.image is not None:
        content.insert(0, {"type": "image", "image": _image(row.sample.image, images), "detail": "auto"})
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


def _image(path: Path, inside: bool) -> str:
    if not inside or not path.is_file():
        return path.name
    kind = "png" if path.suffix.lower() == ".png" else "jpeg"
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode("ascii")
