"""Read answers that any tool has written: each row, and what it says of its question."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.scoring import fields, formats, spelling
from harness.scoring.formats import Row

LONGEST = 1_000_000
"""The most characters an answer may have."""
WANTED = "a row says which question it answers ('question_id', or 'image' and 'question') and the 'answer'"
"""What a row should hold."""
MOST_NAMES = 12
"""So many fields are named where none of them is known."""


@dataclass(frozen=True, slots=True)
class Given:
    """One row of a file, and what it says of its question. ``failed`` says why it has no answer."""

    line: int
    row: Row = field(default_factory=dict)
    id: str | None = None
    place: int | None = None
    images: Mapping[str, Any] = field(default_factory=dict)
    question: str | None = None
    truth: str | None = None
    categories: tuple[str, ...] = ()
    p_yes: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class AnswerFile:
    """The rows of one file, in its order, and whose format it is."""

    path: Path
    format: str
    answers: Sequence[Given]

    def wrong(self, given: Given, what: str) -> UsageError:
        """What to raise about one answer: file, line, its id or else its image, and what is wrong with it."""
        called = given.id if given.id is not None else next(iter(given.images.values()), None)
        return formats.wrong(self.path, given.line, called, what)


# The fields that tell a format from the others, the most particular first; the name is what tables and JSON show.
_MARKS: tuple[tuple[str, frozenset[str]], ...] = (
    ("ohd-bench", frozenset({"id", "key", "group", "image"})),
    ("lmms-eval", frozenset({"doc_id", "filtered_resps"})),
    ("lmms-eval", frozenset({"doc_id", "resps"})),
    ("vlmevalkit", frozenset({"index", "prediction"})),
    ("chair", frozenset({"caption"})),
    ("llava", frozenset({"question_id", "prompt", "text"})),
    ("llava", frozenset({"question_id", "text", "model_id"})),
    ("pope", frozenset({"question_id"})),
    ("pope", frozenset({"question"})),
    ("amber", frozenset({"id"})),
)


def read(path: Path) -> AnswerFile:
    """The rows of this file; UsageError names file, line and id of the first that cannot be used."""
    found = formats.rows(path)
    first = set(found[0][1]) if found else {"id"}
    name = next((name for name, marks in _MARKS if marks <= first), "rows")
    if found and not any(map(fields.role, map(str, found[0][1]))):
        raise formats.wrong(path, found[0][0], None, f"no field is known: {_listed(found[0][1])}; {WANTED}")
    return AnswerFile(path, name, [_READERS.get(name, _given)(path, line, row) for line, row in found])


def _listed(row: Row) -> str:
    names = [str(name)[:40] for name in row]
    return (
        ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
    ) or "none"


def _given(path: Path, line: int, row: Row) -> Given:
    """What a row says of its question, under whichever of the known names."""
    ids, places = fields.named(row, "id"), fields.named(row, "place")
    questions = [text for value in fields.named(row, "question").values() if (text := _words(value)) is not None]
    truths = [text for value in fields.named(row, "truth").values() if (text := _words(value)) is not None]
    images = {name: _only(value) for name, value in (fields.named(row, "image") or _pictures(row)).items()}
    ids = {name: value for name, value in ids.items() if name not in images}
    ids |= {name: value for name, value in places.items() if isinstance(value, str) and _is_no_number(value)}
    return Given(
        line,
        row,
        id=next((_id(path, line, value) for value in ids.values()), None),
        place=next((value for value in map(_number, places.values()) if value is not None), None),
        images={name: value for name, value in images.items() if spelling.is_image(value)},
        question=next(iter(questions), None),
        truth=next(iter(truths), None),
        categories=_categories(fields.named(row, "category")),
    )


def _pictures(row: Row) -> dict[str, Any]:
    """Fields of an unknown name, or of an id's, that hold the name of a picture."""
    texts = {name: value for name, value in row.items() if isinstance(value, str) and spelling.is_picture(value)}
    return {name: value for name, value in texts.items() if fields.role(str(name)) in (None, "id")}


def _id(path: Path, line: int, value: Any) -> str:
    """An id as text; a whole number however it is written: 5, "5", 5.0."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise formats.wrong(path, line, value, f"an id is a whole number, this is {value!r:.80}")
    number = _number(value)
    return str(value).strip() if number is None else str(number)


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).strip() if isinstance(value, float | str) else ""
    return int(text.partition(".")[0]) if re.fullmatch(r"-?[0-9]{1,18}(\.0+)?", text) else None


def _is_no_number(text: str) -> bool:
    """Whether a text under a name that counts rows is no count of them, but an id."""
    return bool(text.strip()) and _number(text) is None


def _only(value: Any) -> Any:
    """What a list of one holds, however deep; anything else as it is."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _words(value: Any) -> str | None:
    value = _only(value)
    if isinstance(value, list):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _categories(named: Mapping[str, Any]) -> tuple[str, ...]:
    """The categories of a row; VLMEvalKit joins them with commas."""
    texts = [value for value in named.values() if isinstance(value, str)]
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _lmms_eval(path: Path, line: int, row: Row) -> Given:
    """A sample as lmms-eval logs it: with its ``doc``, or, as written today, with ``input`` and the metrics' dicts."""
    doc = row["doc"] if isinstance(row.get("doc"), dict) else {}
    inside = [value for value in row.values() if isinstance(value, dict) and "question_id" in value]
    told = {name: value for name, value in doc.items() if fields.role(name) not in ("reply", "doubtful")}
    told |= {"question_id": inside[0]["question_id"]} if inside and "question_id" not in told else {}
    told |= {name: row[name] for name in ("input", "target", "doc_id") if name in row}
    if isinstance(doc.get("answer"), str):
        told["target"] = doc["answer"]
    if "question" not in told and isinstance(doc.get("text"), str):
        told["question"] = doc["text"]
    said = row.get("filtered_resps", row.get("resps"))
    return _given(path, line, {**told, "filtered_resps": said})


def _vlmevalkit(path: Path, line: int, row: Row) -> Given:
    """A row of a VLMEvalKit table, whose ``answer`` is the truth; what it writes when a server gave up is a failure."""
    known = {"target" if name == "answer" else name: value for name, value in row.items()}
    given = _given(path, line, known)
    said = row.get("prediction")
    failed = said if isinstance(said, str) and said.startswith("Failed to obtain answer") else None
    return Given(line, known, **_told(given), failed=failed)


def _told(given: Given) -> dict[str, Any]:
    return {name: getattr(given, name) for name in ("id", "place", "images", "question", "truth", "categories")}


def _own(path: Path, line: int, row: Row) -> Given:
    """A record of ours; its image is the one shown, which under a control is another than the question's."""
    id = str(row.get("id"))
    if "failed" in row:
        return Given(line, {}, id=id, failed=str(row["failed"]))
    kept = row.get("answer")
    if not isinstance(kept, dict):
        raise formats.wrong(path, line, id, "a record holds an answer or a failure, this one neither")
    p_yes = kept.get("p_yes")
    if p_yes is not None and (isinstance(p_yes, bool) or not isinstance(p_yes, int | float) or not 0 <= p_yes <= 1):
        raise formats.wrong(path, line, id, f"p_yes is a probability, this is {p_yes!r:.80}")
    return Given(line, {"response": kept.get("text")}, id=id, p_yes=p_yes)


_READERS = {"ohd-bench": _own, "lmms-eval": _lmms_eval, "vlmevalkit": _vlmevalkit}
