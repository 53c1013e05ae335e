"""What a records file holds, parsed and its seals checked, kept in the cache until the file has other bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import digest, durable
from harness.data import cache_dir

if TYPE_CHECKING:
    import numpy as np

    from harness.record_columns import Fields

SMALL = 50_000
"""Bytes: a smaller file is parsed as fast as its columns are."""


def recall(path: Path, of: str, words: bool = True) -> Iterator[Fields] | None:
    """The records of the file at this path, whose bytes have this digest; None where they are not kept.

    Without ``words`` the texts and scores of answers are left out, and not read.
    """
    import numpy as np

    from harness import record_columns

    try:
        with _place(path).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if int(kept["format"]) != record_columns.FORMAT or str(kept["of"]) != of:
                return None
            return iter([*record_columns.records(kept, words)])
    except Exception:  # a damaged archive raises what it likes: zlib.error, NotImplementedError, RuntimeError
        return None


def keep(path: Path, of: str, columns: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Keep the columns of the file at this path, whose bytes have this digest; what is kept of it before goes.

    Written whole or not at all; a cache that cannot be written costs time, and nothing else.
    """
    from harness import record_columns

    place = _place(path)
    with contextlib.suppress(OSError), durable.draft(place) as partial, partial.open("wb") as file:
        record_columns.write(file, of, columns)


def _place(path: Path) -> Path:
    return cache_dir() / "records" / f"{digest.of_json(os.path.abspath(path))[:32]}.npz"
