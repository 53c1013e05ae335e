"""A run in lm-evaluation-harness's files: ``results_*.json`` and ``samples_TASK_*.jsonl`` in a folder by model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import durable
from harness.export.rows import Asked, TaskRows, model_name, of_run, stamp, values
from harness.store import Run, write_json


def write(run: Run, data: Path | None, out: Path) -> list[Path]:
    """Write the files, and say where they are."""
    name = model_name(run)
    folder = out / sanitized(name)
    began = stamp(run)
    tasks = list(of_run(run, data))
    results = folder / f"results_{began}.json"
    write_json(results, summary(run, tasks, name))
    paths = [results]
    for one in tasks:
        path = folder / f"samples_{one.task.name}_{began}.jsonl"
        durable.output(path, "".join(_lines(one)))
        paths.append(path)
    return paths


def sanitized(name: str) -> str:
    """The models' name as lm-eval makes a folder's name of it; dots alone are none."""
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", name)[:200].strip(".") or "model"


def summary(run: Run, tasks: list[TaskRows], name: str) -> dict[str, Any]:
    """The aggregated results. Standard errors are a quarter of the width of the 95 % interval by image."""
    manifest = run.manifest()
    return {
        "results": {one.task.name: _values(one) for one in tasks},
        "group_subtasks": {one.task.name: [] for one in tasks},
        "configs": {one.task.name: {"task": one.task.name, **_text(one.task.rules())} for one in tasks},
        "versions": {one.task.name: one.task.version for one in tasks},
        "n-shot": {one.task.name: 0 for one in tasks},
        "higher_is_better": {one.task.name: _better(one) for one in tasks},
        "n-samples": {
            one.task.name: {"original": one.entry.get("expected", len(one.rows)), "effective": len(one.rows)}
            for one in tasks
        },
        "config": {
            "model": "ohd-bench",
            "model_args": name,
            "limit": manifest.get("limit") or None,
            "batch_size": (manifest.get("place") or {}).get("batch_size"),
            "device": (manifest.get("place") or {}).get("device"),
        },
        "git_hash": (manifest.get("git") or {}).get("commit", ""),
        "model_source": "ohd-bench",
        "model_name": name,
        "model_name_sanitized": sanitized(name),
        "task_hashes": {one.task.name: one.entry.get("samples_digest", "") for one in tasks},
    }


def _text(rules: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in rules.items()}


def _values(one: TaskRows) -> dict[str, Any]:
    found: dict[str, Any] = {"alias": one.task.name, "name": one.task.name, "sample_len": len(one.rows)}
    for name, estimate in values(one).items():
        called = name.replace(",", " ")
        found[f"{called},none"] = estimate.value
        known = estimate.low == estimate.low
        found[f"{called}_stderr,none"] = (estimate.high - estimate.low) / 3.92 if known else "N/A"
    return found


def _better(one: TaskRows) -> dict[str, bool | None]:
    way = {"higher": True, "lower": False, "neither": None}
    return {
        "/".join(filter(None, (group, name))): way[one.task.metrics_of(group)[name].better]
        for group, metrics in one.scores.items()
        for name in metrics
    }


def _lines(one: TaskRows) -> Iterator[str]:
    for row in one.rows:
        if row.record.scored:
            yield json.dumps(line(row), ensure_ascii=False, allow_nan=False) + "\n"


def line(row: Asked) -> dict[str, Any]:
    """One sample as lm-eval logs it; the hashes are its own way of making them."""
    doc = {"id": row.record.id, "image": row.record.image, "group": row.record.group, "question": row.prompt}
    doc |= {"target": row.target}
    arguments = {"gen_args_0": {"arg_0": row.prompt, "arg_1": {"image": row.record.image}}}
    verdict = {} if row.right is None else {"acc": float(row.right)}
    return {
        "doc_id": row.number,
        "doc": doc,
        "target": row.target,
        "arguments": arguments,
        "resps": [[row.said]],
        "filtered_resps": [row.said],
        "filter": "none",
        "metrics": list(verdict),
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(row.prompt),
        "target_hash": _hash(row.target),
        **verdict,
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
