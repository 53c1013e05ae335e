"""What a records file holds, parsed and its seals checked, kept in the cache until the file has other bytes.

A file is read as columns: texts, groups and counts that many answers share are held once, for all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import digest
from harness.data import cache_dir
from harness.types import Answer, Failure

FORMAT = 1
SMALL = 50_000
"""Bytes: a smaller file is parsed as fast as its columns are."""
SHARED = ("image", "group", "rules", "text", "counts")
PLAIN = ("id", "key", "p_yes", "scores", "failed")

Fields = tuple[str, str, str, str, str, Answer | Failure, Mapping[str, float], bool]
"""Of one record: id, image, group, key, rules, reply, counts, whether it is sealed."""


def recall(path: Path, of: str) -> Iterator[Fields] | None:
    """The records of the file at this path, whose bytes have this digest; None where they are not kept."""
    try:
        kept = json.loads(_place(path).read_bytes())
        if kept["format"] != FORMAT or kept["of"] != of:
            return None
        columns = [[kept["tables"][name][code] for code in kept[name]] for name in SHARED]
        return _fields(columns, [kept[name] for name in PLAIN], kept["unsealed"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _fields(shared: Sequence[Sequence[Any]], plain: Sequence[Sequence[Any]], unsealed: int) -> Iterator[Fields]:
    for n, (image, group, rules, text, counts, id, key, p_yes, scores, failed) in enumerate(
        zip(*shared, *plain, strict=True)
    ):
        reply = Answer(text, p_yes, None if scores is None else tuple(scores)) if failed is None else Failure(failed)
        yield id, image, group, key, rules, reply, counts, n >= unsealed


def keep(path: Path, of: str, records: Iterable[Fields]) -> None:
    """Keep the records of the file at this path, whose bytes have this digest; what is kept of it before goes."""
    shared: dict[str, list[int]] = {name: [] for name in SHARED}
    plain: dict[str, list[Any]] = {name: [] for name in PLAIN}
    tables = {name: _Table() for name in SHARED}
    unsealed = 0
    for id, image, group, key, rules, reply, counts, sealed in records:
        answer = reply if isinstance(reply, Answer) else Answer()
        for name, value in zip(SHARED, (image, group, rules, answer.text, counts), strict=True):
            shared[name].append(tables[name].code(value))
        failed = reply.reason if isinstance(reply, Failure) else None
        for name, own in zip(PLAIN, (id, key, answer.p_yes, answer.scores, failed), strict=True):
            plain[name].append(own)
        unsealed += not sealed
    told = {"format": FORMAT, "of": of, "unsealed": unsealed, **shared, **plain}
    told["tables"] = {name: table.values for name, table in tables.items()}
    _write(_place(path), told)


class _Table:
    """Each distinct value once, by the number it is given."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._codes: dict[Hashable, int] = {}

    def code(self, value: Any) -> int:
        known = tuple((k, v, type(v)) for k, v in value.items()) if isinstance(value, Mapping) else value
        if known not in self._codes:
            self._codes[known] = len(self.values)
            self.values.append(dict(value) if isinstance(value, Mapping) else value)
        return self._codes[known]


def _place(path: Path) -> Path:
    return cache_dir() / "records" / f"{digest.of_json(os.path.abspath(path))[:32]}.json"


def _write(path: Path, told: Mapping[str, Any]) -> None:
    """Written whole or not at all; a cache that cannot be written costs time, and nothing else."""
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(told, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        partial.replace(path)
    except (OSError, UnicodeEncodeError):
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
