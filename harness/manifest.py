"""What a run's manifest may hold: checked when it is read, so that one odd file is named and stops nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.rows import parse

FORMAT = 1
DEEPEST = 32
"""How far lists and objects of a manifest may be nested."""

_RUN: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(
        (
            "tasks",
            "answers",
            "part",
            "data_versions",
            "encoder",
            "lvlm",
            "training",
            "alignment",
            "versions",
            "git",
            "place",
            "cost",
        ),
        dict,
    ),
    **dict.fromkeys(("id", "data", "world", "control", "status", "created", "finished"), str),
    **dict.fromkeys(("format", "limit", "seed"), int),
}
_MAY_BE_NULL = ("encoder", "lvlm", "training", "alignment", "limit", "seed")
_MODEL: Mapping[str, type | tuple[type, ...]] = {"spec": str, "digest": str, "digests": dict, "describe": dict}
_TRAINING: Mapping[str, type | tuple[type, ...]] = {"recipe": dict, "base": str, "data": dict}
_TASK: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("spec", "samples_digest", "first_failure"), str),
    **dict.fromkeys(("expected", "scored", "failed"), int),
    **dict.fromkeys(("rules", "floors", "verify"), dict),
    "seconds": (int, float),
}


def read(path: Path) -> dict[str, Any]:
    """The manifest in this file; UsageError where it is none, or a newer ohd-bench wrote it."""
    try:
        text = path.read_text(encoding="utf-8")
        manifest, wrong = parse(text), _wrong(text)
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} is not JSON ({error}); remove it to write it anew") from error
    if wrong:
        raise UsageError(f"{path} is not a run's manifest: {wrong}; remove it to write it anew")
    if manifest.get("format", 0) > FORMAT:
        raise UsageError(f"{path} was written by a newer ohd-bench (format {manifest['format']})")
    return manifest  # type: ignore[no-any-return]


@lru_cache(maxsize=512)
def _wrong(text: str) -> str | None:
    """What is wrong with the manifest of this text; a command reads those of all runs over and over."""
    manifest = parse(text)
    return next(_faults(manifest), None) if isinstance(manifest, dict) else "it is no JSON object"


def _faults(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with it, the first thing first."""
    if _depth(manifest) > DEEPEST:
        yield "it is nested too deep"
        return
    yield from _kinds(manifest, _RUN, "")
    yield from _models(manifest)
    for name, entry in manifest.get("tasks", {}).items():
        if name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
            yield f"'{name[:40]}' is no task's name"
        elif not isinstance(entry, dict):
            yield f"what it says of {name} is no object"
        else:
            yield from _kinds(entry, _TASK, f"{name}: ")
            yield from _floors(entry.get("floors", {}), name)


def _models(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with what it says of the models and of how they were trained."""
    for part in ("encoder", "lvlm"):
        if model := manifest.get(part):
            yield from _kinds(model, _MODEL, f"{part}: ")
            if not model.get("spec"):
                yield f"its {part} has no spec"
    for part in ("training", "alignment"):
        yield from _kinds(manifest.get(part) or {}, {"seed": int}, f"{part}: ")
    if training := manifest.get("training"):
        yield from _kinds(training, _TRAINING, "training: ")
        if not _is_number(training.get("recipe", {}).get("interpolate", 1.0)):
            yield "training: its recipe's 'interpolate' is no number"
    if manifest.get("training") and "digest" not in (manifest.get("encoder") or {}):
        yield "it names a training and no encoder's digest"


def _kinds(found: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]], where: str) -> Iterator[str]:
    for key, kind in kinds.items():
        value = found.get(key)
        if key not in found or (value is None and key in _MAY_BE_NULL):
            continue
        if not isinstance(value, kind) or isinstance(value, bool):
            yield f"{where}'{key}' is of the wrong kind ({type(value).__name__})"


def _floors(floors: Mapping[str, Any], task: str) -> Iterator[str]:
    """Floor → group → metric → number."""
    for groups in floors.values():
        for metrics in groups.values() if isinstance(groups, dict) else [None]:
            if not isinstance(metrics, dict) or not all(_is_number(value) for value in metrics.values()):
                yield f"{task}: 'floors' holds something else than numbers by group and metric"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _depth(thing: Any) -> int:
    """How far it is nested; counted level by level, as a thing nested very deep cannot be walked by recursion."""
    level, depth = [thing], 0
    while level and depth <= DEEPEST:
        inner = [list(one.values()) if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level, depth = [one for each in inner for one in each], depth + 1
    return depth
