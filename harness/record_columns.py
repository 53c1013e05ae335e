"""Records as columns: numbers in arrays, texts that many share once; each record is made when it is wanted."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from harness.types import Answer, Failure

Fields = tuple[str, str, str, str, str, Answer | Failure, Mapping[str, float], bool]
"""Of one record: id, image, group, key, rules, reply, counts, whether it is sealed."""
FORMAT = 2
SHARED = ("image", "group", "rules")
PLACES = {"kind": "i", "p_yes": "d", "sealed": "b", "text_at": "q", "text_size": "i", "scores_at": "q", "scores_n": "i"}
POOLS = {"scores": "d", "shape": "i", "values_at": "q", "values": "d"}
ALIKE = 4096
"""So many different counts are known again when they come again; where there are more, hardly any does."""
NONE = -1
"""The length of a text, or of scores, that an answer does not have."""


class Counts(Mapping[str, float]):
    """What one answer adds to the totals: a row of a table whose names all answers of its kind share."""

    __slots__ = ("_at", "_names", "_values")

    def __init__(self, names: Mapping[str, int], values: np.ndarray[Any, Any], at: int) -> None:
        self._names, self._values, self._at = names, values, at

    def __getitem__(self, name: str) -> float:
        value = float(self._values[self._at + self._names[name]])
        return int(value) if value.is_integer() else value

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))


class Columns:
    """The last record of each sample id, in the order in which ids first came."""

    def __init__(self) -> None:
        self._row: dict[str, int] = {}
        self._keys: list[str] = []
        self._failed: dict[int, str] = {}
        kinds = PLACES | POOLS | dict.fromkeys(SHARED, "i")
        self._arrays: dict[str, array[Any]] = {name: array(kind) for name, kind in kinds.items()}
        self._texts = bytearray()
        self._tables: dict[str, dict[str, int]] = {name: {} for name in SHARED}
        self._shapes: dict[tuple[str, ...], int] = {}
        self._kinds: dict[tuple[int, bytes], int] = {}

    def add(self, one: Fields) -> None:
        """Add this record, or put it in the place of an earlier one of its sample."""
        id, image, group, key, rules, reply, counts, sealed = one
        row = self._row.setdefault(id, len(self._row))
        if row == len(self._keys):
            self._keys.append("")
            for name in (*PLACES, *SHARED):
                self._arrays[name].append(0)
        self._keys[row] = key
        answer = reply if isinstance(reply, Answer) else Answer()
        self._failed.pop(row, None)
        if isinstance(reply, Failure):
            self._failed[row] = reply.reason
        told: dict[str, float] = {"kind": self._kind(counts), "sealed": sealed}
        told["p_yes"] = math.nan if answer.p_yes is None else answer.p_yes
        for name, value in zip(SHARED, (image, group, rules), strict=True):
            told[name] = self._tables[name].setdefault(value, len(self._tables[name]))
        told |= self._words(answer)
        for name, number in told.items():
            self._arrays[name][row] = number

    def _words(self, answer: Answer) -> dict[str, int]:
        at = {"text_at": len(self._texts), "scores_at": len(self._arrays["scores"])}
        text = None if answer.text is None else answer.text.encode("utf-8", "surrogatepass")
        self._texts += text or b""
        self._arrays["scores"].extend(answer.scores or ())
        sizes = [NONE if one is None else len(one) for one in (text, answer.scores)]
        return at | dict(zip(("text_size", "scores_n"), sizes, strict=True))

    def _kind(self, counts: Mapping[str, float]) -> int:
        """The number of these counts among all that are told apart."""
        shape = self._shapes.setdefault(tuple(counts), len(self._shapes))
        values = array("d", counts.values())
        known = self._kinds.get((shape, values.tobytes()))
        if known is not None:
            return known
        number = len(self._arrays["shape"])
        if number < ALIKE:
            self._kinds[shape, values.tobytes()] = number
        self._arrays["shape"].append(shape)
        self._arrays["values_at"].append(len(self._arrays["values"]))
        self._arrays["values"].extend(values)
        return number

    def arrays(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """The columns as arrays, lists of texts among them as JSON."""
        texts = {"ids": [*self._row], "keys": self._keys, "shapes": [*self._shapes], "failed": [*self._failed.items()]}
        texts |= {f"{name}s": [*table] for name, table in self._tables.items()}
        found = {name: np.frombuffer(one, one.typecode) for name, one in self._arrays.items() if one}
        found |= {name: np.zeros(0, one.typecode) for name, one in self._arrays.items() if not one}
        found |= {name: np.frombuffer(json.dumps(one).encode(), np.uint8) for name, one in texts.items()}
        return found | {"texts": np.frombuffer(bytes(self._texts), np.uint8), "format": np.array(FORMAT)}


def of(records: Iterable[Fields]) -> Mapping[str, np.ndarray[Any, Any]]:
    """These records as arrays."""
    columns = Columns()
    for one in records:
        columns.add(one)
    return columns.arrays()


def write(file: IO[bytes], of: str, columns: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write the columns of the records whose file has this SHA-256."""
    np.savez(file, allow_pickle=False, **columns, of=np.array(of))


def records(columns: Mapping[str, np.ndarray[Any, Any]], words: bool) -> Iterator[Fields]:
    """Each record; without ``words`` an answer's text and scores stay where they are, and only p(yes) is read."""
    texts = {name: json.loads(columns[name].tobytes()) for name in ("ids", "keys", "shapes", "failed")}
    failed = {int(row): str(reason) for row, reason in texts["failed"]}
    shared = [_shared(columns, name) for name in SHARED]
    kinds = _kinds(columns, texts["shapes"])
    rows = zip(texts["ids"], *shared, texts["keys"], _replies(columns, words), columns["kind"].tolist(),
               columns["sealed"].tolist(), strict=True)  # fmt: skip
    for row, (id, image, group, rules, key, answer, kind, sealed) in enumerate(rows):
        reply = Failure(failed[row]) if row in failed else answer
        yield id, image, group, key, rules, reply, kinds[kind], bool(sealed)


def _shared(columns: Mapping[str, np.ndarray[Any, Any]], name: str) -> Iterator[str]:
    table = json.loads(columns[f"{name}s"].tobytes())
    return (table[code] for code in columns[name].tolist())


def _kinds(
    columns: Mapping[str, np.ndarray[Any, Any]], shapes: Sequence[Sequence[str]]
) -> Sequence[Mapping[str, float]]:
    names = [{name: n for n, name in enumerate(shape)} for shape in shapes]
    values = columns["values"]
    places = zip(columns["shape"].tolist(), columns["values_at"].tolist(), strict=True)
    found = [Counts(names[shape], values, at) for shape, at in places]
    return found if len(found) > ALIKE else [dict(one) for one in found]  # a dict is read faster, and these are few


def _replies(columns: Mapping[str, np.ndarray[Any, Any]], words: bool) -> Iterator[Answer]:
    chances = (None if math.isnan(p) else p for p in columns["p_yes"].tolist())
    if not words:
        return (Answer(p_yes=p_yes) for p_yes in chances)
    return (Answer(*one) for one in zip(_texts(columns), chances, _scores(columns), strict=True))


def _texts(columns: Mapping[str, np.ndarray[Any, Any]]) -> Iterator[str | None]:
    texts = columns["texts"].tobytes()
    alike: dict[str, str] = {}  # "Yes" is held once
    for at, size in zip(columns["text_at"].tolist(), columns["text_size"].tolist(), strict=True):
        text = None if size == NONE else texts[at : at + size].decode("utf-8", "surrogatepass")
        yield text if text is None or len(text) > 20 else alike.setdefault(text, text)


def _scores(columns: Mapping[str, np.ndarray[Any, Any]]) -> Iterator[tuple[float, ...] | None]:
    scores = columns["scores"]
    for at, n in zip(columns["scores_at"].tolist(), columns["scores_n"].tolist(), strict=True):
        yield None if n == NONE else tuple(scores[at : at + n].tolist())
