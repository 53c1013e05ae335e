"""Small files of the cache, believed only while their seal fits; one that cannot be read or written is none."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import digest, durable

if TYPE_CHECKING:
    import numpy as np

SEAL = hashlib.sha256().digest_size
"""Bytes of the seal behind an array."""


def recall(path: Path) -> Any:
    """The plain object that was kept at this path; None where there is none, or it is not as it was kept."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["told"] if kept["seal"] == _seal(path, kept["told"]) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def keep(path: Path, thing: Any) -> None:
    """Keep this plain object at this path, whole or not at all; where that cannot be, it is made again next time."""
    with contextlib.suppress(OSError):
        plain = json.loads(json.dumps(thing, allow_nan=False))  # as it will be read: its keys are texts
        told = {"seal": _seal(path, plain), "told": plain}
        durable.replace(path, json.dumps(told, ensure_ascii=False, sort_keys=True) + "\n")


def recall_array(path: Path) -> np.ndarray[Any, Any] | None:
    """The array that was kept at this path, as ``recall`` gives an object."""
    import numpy as np

    try:
        kept = path.read_bytes()
        if kept[-SEAL:] != _array_seal(path, kept[:-SEAL]):
            return None
        found: np.ndarray[Any, Any] = np.load(io.BytesIO(kept[:-SEAL]), allow_pickle=False)
        return found
    except (OSError, ValueError):
        return None


def keep_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Keep this array at this path, as ``keep`` does an object; the seal stands behind it."""
    import numpy as np

    written = io.BytesIO()
    np.save(written, array, allow_pickle=False)
    with contextlib.suppress(OSError):
        durable.replace(path, written.getvalue() + _array_seal(path, written.getvalue()))


def _seal(path: Path, thing: Any) -> str:
    """Of the name as well: one file put in the place of another does not fit."""
    return digest.of_json([path.name, thing])


def _array_seal(path: Path, written: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + written).digest()
