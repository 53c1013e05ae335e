"""A LVLM in memory with its processor; and how its folders are read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import ModelError


@dataclass
class Loaded:
    """A LLaVA in memory, its processor, and what of its making belongs to its identity."""

    model: Any
    processor: Any
    notes: dict[str, Any] = field(default_factory=dict)


def local(location: str, revision: str | None = None) -> Path:
    """The folder of this location, fetched from the hub (or its cache) where it is no folder."""
    if Path(location).is_dir():
        return Path(location)
    if location.startswith((".", "/", "~")):
        raise ModelError(f"no folder at {location}")
    from huggingface_hub import snapshot_download

    try:
        ignored = ["*.gguf", "*.h5", "*.msgpack", "original/*"]
        return Path(snapshot_download(location, revision=revision, ignore_patterns=ignored))
    except (OSError, ValueError) as error:
        raise ModelError(f"{location} is no folder and cannot be fetched: {first_line(error)}") from error


def require_in_memory(model: Any, what: str) -> None:
    """ModelError where a part of the model was left on disk or in the machine's memory, for want of GPU memory."""
    if any(weight.is_meta for weight in model.parameters()):
        raise ModelError(
            f"{what} does not fit on the GPUs: parts were offloaded; use more GPUs, ?quantize=4bit or a smaller dtype"
        )


def read_json(path: Path) -> dict[str, Any]:
    """A folder's JSON file; ModelError where it is missing or broken."""
    try:
        return json.loads(path.read_text())  # type: ignore[no-any-return]
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} has no {path.name}") from error
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
