"""Records: each answer a sealed line of JSON; read back whole, or the line that is damaged is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness import packed, record_cache, record_columns
from harness.digest import of_file, of_json
from harness.errors import DataError
from harness.types import LARGEST, Answer, Failure

MOST_TRIES = 20


@dataclass(frozen=True, slots=True)
class Record:
    """One answer as kept. ``key`` is the digest of all that made the answer, ``rules`` of how it was counted.

    ``sealed`` is whether its line carried a seal: lines that older versions wrote have none.
    """

    id: str
    image: str
    group: str
    key: str
    rules: str
    reply: Answer | Failure
    counts: Mapping[str, float] = field(default_factory=dict)
    sealed: bool = field(default=True, compare=False)

    @property
    def scored(self) -> bool:
        """Whether there is an answer."""
        return isinstance(self.reply, Answer)

    def line(self) -> str:
        """The record as one line of JSON."""
        row: dict[str, Any] = {"id": self.id, "image": self.image, "group": self.group, "key": self.key}
        if isinstance(self.reply, Failure):
            row["failed"] = self.reply.reason
        else:
            parts = {"text": self.reply.text, "p_yes": self.reply.p_yes, "scores": self.reply.scores}
            row |= {"rules": self.rules, "answer": {k: v for k, v in parts.items() if v is not None}}
            row["counts"] = {k: int(v) if float(v).is_integer() else v for k, v in self.counts.items()}
        row["seal"] = self.seal()
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"

    def seal(self) -> str:
        """A digest of all the rest, whatever the order of keys and the spelling of numbers: it tells a line changed."""
        if isinstance(self.reply, Failure):
            said: list[Any] = ["failed", self.reply.reason]
        else:
            p_yes, scores = self.reply.p_yes, self.reply.scores
            said = [self.rules, self.reply.text, None if p_yes is None else _plain(p_yes)]
            said += [None if scores is None else [_plain(score) for score in scores]]
            said += [{key: _plain(value) for key, value in self.counts.items()}]
        return of_json([self.id, self.image, self.group, self.key, *said])[:16]


def _plain(number: float) -> float:
    """The number as a seal spells it: 1 is 1.0, and minus zero is zero."""
    return float(number) + 0.0


def record_of(row: Mapping[str, Any]) -> Record:
    """The record of one parsed line; KeyError, ValueError or TypeError where it is none, or was changed."""
    if not all(isinstance(row[key], str) for key in ("id", "image", "group", "key")):
        raise TypeError("id, image, group and key are texts")
    reply = Failure(_text(row["failed"])) if "failed" in row else _answer(row["answer"])
    counts = _alike(tuple((str(key), _number(value), type(value)) for key, value in row.get("counts", {}).items()))
    about = (row["image"], row["group"], _text(row.get("rules", "")))
    image, group, rules = (sys.intern(text) for text in about)  # many records share them
    told = (row["id"], image, group, row["key"], rules)
    record = Record(*told, reply, counts, "seal" in row)
    seal = record.seal()
    if record.sealed and row["seal"] != seal:
        raise Changed(f"the record of '{record.id}' was changed after it was kept: its seal does not fit")
    return record


@lru_cache(maxsize=4096)
def _alike(counts: tuple[tuple[str, float, type], ...]) -> Mapping[str, float]:
    """These counts, held once for all records that have the same."""
    return {key: value for key, value, _ in counts}


class Changed(ValueError):
    """A record that is not as it was kept."""


def _answer(kept: Mapping[str, Any]) -> Answer:
    text, p_yes, scores = kept.get("text"), kept.get("p_yes"), kept.get("scores")
    if isinstance(scores, str | dict):
        raise TypeError("scores are numbers")
    return Answer(
        None if text is None else _text(text),
        None if p_yes is None else _number(p_yes),
        None if scores is None else tuple(_number(score) for score in scores),
    )


def _text(said: Any) -> str:
    if not isinstance(said, str):
        raise TypeError(f"{said!r:.40} is no text")
    return said


def _number(said: Any) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not abs(said) < LARGEST:
        raise TypeError(f"{said!r:.40} is no number of a record")
    return said


def read_records(path: Path) -> Iterator[Record]:
    """Every whole record of a ``records.jsonl``, in the order written; a torn last line is passed over.

    Those that were compressed (``records.jsonl.zst``) come before those that were added since. DataError names file and
    line where a line that is not the last cannot be read, or was changed by hand. Lines without a seal are those of
    older versions, and stand before all that have one.
    """
    for one in packed.files(path):
        yield from _records(one)


def _records(path: Path) -> Iterator[Record]:
    sealed = False
    for number, raw in enumerate(packed.lines(path), 1):
        if not raw.endswith(b"\n"):
            return
        record = _read(path, number, raw)
        if sealed and not record.sealed:
            raise _changed(path, number, f"the record of '{record.id}' has lost its seal")
        sealed = record.sealed
        yield record


def _read(path: Path, number: int, raw: bytes) -> Record:
    try:
        return record_of(json.loads(raw))
    except Changed as error:
        raise _changed(path, number, str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"[:80]
        raise DataError(f"{path}, line {number} is not a record ({why}); {_remedy(path)}") from error


def _changed(path: Path, number: int, what: str) -> DataError:
    return DataError(f"{path}, line {number}: {what}; {_remedy(path)}")


def _remedy(path: Path) -> str:
    unpacked = f"unpack it (zstd -d --rm {path.name}) and " if path.suffix == packed.SUFFIX else ""
    return f"{unpacked}remove the line to ask it again"


def latest(path: Path, words: bool = True) -> Mapping[str, Record]:
    """The last record of each sample id; files that have not changed since are not read again.

    Without ``words`` answers are without their texts and scores, which most of the memory goes to: what is counted is
    in ``counts`` and ``p_yes``. DataError as of ``read_records``, and where the system does not let it be read.
    """
    tries = 0
    while True:
        try:
            return _latest(path, words, _told(path))
        except FileNotFoundError:  # compressed by another command just now: every line is in the other file
            tries += 1
            if tries == MOST_TRIES:
                raise
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}; take it from a copy") from error


def _told(path: Path) -> tuple[tuple[int, int, int, int], ...]:
    """What tells that a file is as it was, of each that holds these records."""
    told = [one.stat() for one in packed.files(path)]
    return tuple((one.st_ino, one.st_ctime_ns, one.st_mtime_ns, one.st_size) for one in told)


@lru_cache(maxsize=16)
def _latest(path: Path, words: bool, told: tuple[tuple[int, int, int, int], ...]) -> Mapping[str, Record]:
    if sum(size for *_, size in told) < record_cache.SMALL:
        every = (record if words else _wordless(record) for record in read_records(path))
        return MappingProxyType({record.id: record for record in every})
    before = _digest(path)
    kept = record_cache.recall(path, before, words) or _read_once(path, before, words)
    return MappingProxyType({fields[0]: Record(*fields) for fields in kept})


def _read_once(path: Path, before: str, words: bool) -> Iterator[record_columns.Fields]:
    """What the files of this digest hold, read line by line and kept for the next who asks."""
    columns = record_columns.of(map(_fields, read_records(path)))
    if _digest(path) == before:  # nothing was added while it was read
        record_cache.keep(path, before, columns)
    return record_columns.records(columns, words)


def _digest(path: Path) -> str:
    return of_json([of_file(one) for one in packed.files(path)])


def _fields(one: Record) -> record_columns.Fields:
    return one.id, one.image, one.group, one.key, one.rules, one.reply, one.counts, one.sealed


def _wordless(one: Record) -> Record:
    return replace(one, reply=Answer(p_yes=one.reply.p_yes)) if isinstance(one.reply, Answer) else one


def answers_digest(records: Iterable[Record]) -> str:
    """A digest of which answers these are, in any order: of whom each is, what it was asked with, how it was counted.

    What was said is not in it: that is for each record's own seal.
    """
    told = sorted([record.id, record.key, record.rules] for record in records)
    return of_json(told)[:16]
