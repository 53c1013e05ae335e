"""Read answers that any tool has written; what kind of file it is, its content tells."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError

LONGEST = 1_000_000
"""The most characters an answer may have."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as a file gives it, with what it says about the question. ``failed`` says why there is none."""

    line: int
    text: str
    id: str | None = None
    image: str | None = None
    question: str | None = None
    category: str | None = None
    p_yes: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class AnswerFile:
    """The answers of one file, in its order, and whose format it is."""

    path: Path
    format: str
    answers: Sequence[Given]

    def wrong(self, given: Given, what: str) -> UsageError:
        """What to raise about one answer: file, line, id, and what is wrong with it."""
        return wrong(self.path, given.line, given.id, what)


def wrong(path: Path, line: int, id: object, what: str) -> UsageError:
    """A UsageError that names file, line and id."""
    about = f", id {str(id)[:80]}" if id is not None else ""
    return UsageError(f"{path}, line {line}{about}: {what}")


def read(path: Path) -> AnswerFile:
    """The answers in this file; UsageError names file, line and id of the first that cannot be used."""
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    data = path.read_bytes()
    if data.startswith(b"PK\x03\x04"):
        return _table(path, list(_sheet(path, data)))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise wrong(path, line, None, f"not UTF-8 text ({error.reason})") from error
    start = text.lstrip()[:1]
    if start == "[":
        return _listed(path, list(_items(path, text)))
    if start == "{":
        return _listed(path, list(_lines(path, text)))
    if "\t" in text.partition("\n")[0]:
        return _table(path, list(_tabbed(path, text)))
    raise wrong(path, 1, None, "neither a JSON list, nor JSON lines, nor a table with tabs, nor a spreadsheet")


def _items(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Each item of a JSON list with the line it starts on."""
    decode = json.JSONDecoder(parse_constant=_refuse).raw_decode
    blank = re.compile(r"\s*")
    at, line, counted = text.index("[") + 1, 1, 0
    first = True
    while True:
        at = _after(blank, text, at)
        if text[at : at + 1] == "]":
            break
        if not first:
            if text[at : at + 1] != ",":
                raise wrong(path, text.count("\n", 0, at) + 1, None, "the list is cut off or has no comma here")
            at = _after(blank, text, at + 1)
        line, counted, first = line + text.count("\n", counted, at), at, False
        try:
            item, at = decode(text, at)
        except (ValueError, RecursionError) as error:
            raise wrong(path, line, None, f"not JSON ({_reason(error)}); the file may be cut off") from error
        yield line, item
    rest = text[at + 1 :].strip()
    if rest:
        raise wrong(path, text.count("\n", 0, at) + 1, None, f"there is more after the list's end: {rest[:40]!r}")


def _after(blank: re.Pattern[str], text: str, at: int) -> int:
    found = blank.match(text, at)
    return found.end() if found else at


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error) or type(error).__name__


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Each object of a file with one a line; a single object that spans lines is not a list of answers."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            if number == 1 and _is_one_object(text):
                raise wrong(path, 1, None, "one JSON object, not a list of answers") from error
            raise wrong(path, number, None, f"not JSON ({_reason(error)}); the file may be cut off") from error


def _is_one_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _sheet(path: Path, data: bytes) -> Iterator[tuple[int, Row]]:
    """The rows of a spreadsheet's first sheet, under the names of its first row."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise UsageError(
            f"{path} is a spreadsheet; reading it needs openpyxl: pip install 'ohd-bench[xlsx]'"
        ) from error
    import zlib
    from zipfile import BadZipFile

    # what zipfile, the XML parser and openpyxl raise over damaged bytes
    damage: tuple[type[BaseException], ...] = (
        BadZipFile,
        InvalidFileException,
        zlib.error,
        EOFError,
        OSError,
        SyntaxError,
    )
    damage += (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError)
    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        found = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    except damage as error:
        raise wrong(path, 1, None, f"a damaged spreadsheet, or another kind of zip file ({error})") from error
    names = [str(name) for name in found[0]] if found else []
    for number, row in enumerate(found[1:], 2):
        yield number, dict(zip(names, row, strict=False))


def _tabbed(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    """The rows of a table with tabs, under the names of its first line."""
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t")
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise wrong(path, reader.line_num + 1, None, f"not a table ({error})") from error


def _table(path: Path, rows: Sequence[tuple[int, Row]]) -> AnswerFile:
    names = sorted(str(name) for name in rows[0][1]) if rows else []
    if "prediction" not in names:
        raise wrong(path, 1, None, f"a table without a column 'prediction' (it has {', '.join(names) or 'none'})")
    return AnswerFile(path, "vlmevalkit", [_vlmevalkit(path, line, row) for line, row in rows])


def _listed(path: Path, rows: Sequence[tuple[int, Any]]) -> AnswerFile:
    """The answers of JSON objects; the first object's fields say whose they are."""
    for line, row in rows:
        if not isinstance(row, dict):
            raise wrong(path, line, None, f"an answer is a JSON object, this is {type(row).__name__}")
    name = _format(path, rows[0][0], rows[0][1]) if rows else "amber"
    return AnswerFile(path, name, [_READERS[name](path, line, row) for line, row in rows])


# The fields that tell a format from the others, the most particular first.
_MARKS: tuple[tuple[str, frozenset[str]], ...] = (
    ("ohd-bench", frozenset({"id", "key", "group", "image"})),
    ("lmms-eval", frozenset({"doc_id", "filtered_resps"})),
    ("lmms-eval", frozenset({"doc_id", "resps"})),
    ("vlmevalkit", frozenset({"index", "prediction"})),
    ("amber", frozenset({"id", "response"})),
    ("chair", frozenset({"image_id", "caption"})),
    ("pope", frozenset({"question_id", "answer"})),
    ("pope", frozenset({"question", "answer"})),
    ("pope", frozenset({"question_id", "response"})),
    ("llava", frozenset({"question_id", "text"})),
)


def _format(path: Path, line: int, row: Row) -> str:
    for name, fields in _MARKS:
        if fields <= set(row):
            return name
    known = "; ".join(f"{name} has {' and '.join(sorted(fields))}" for name, fields in _MARKS)
    raise wrong(
        path, line, row.get("id"), f"the fields {', '.join(map(str, row)) or 'none'} are no known format: {known}"
    )


def _amber(path: Path, line: int, row: Row) -> Given:
    id = row.get("id")
    if not isinstance(id, int) or isinstance(id, bool):
        raise wrong(path, line, id, f"an id is a whole number, this is {id!r:.80}")
    return Given(line, _text(path, line, id, row.get("response")), id=str(id))


def _chair(path: Path, line: int, row: Row) -> Given:
    id = row.get("image_id")
    if isinstance(id, bool) or not (isinstance(id, int) or (isinstance(id, str) and id.isdigit())):
        raise wrong(path, line, id, f"an image_id is a COCO image's number, this is {id!r:.80}")
    return Given(line, _text(path, line, id, row.get("caption")), id=str(int(id)))


def _pope(path: Path, line: int, row: Row) -> Given:
    id, answer = row.get("question_id"), row.get("answer", row.get("response"))
    question = row.get("question", row.get("text", row.get("prompt")))
    return Given(line, _text(path, line, id, answer), **_known(row, id, question))


def _llava(path: Path, line: int, row: Row) -> Given:
    id = row.get("question_id")
    return Given(
        line, _text(path, line, id, row.get("text")), **_known(row, id, row.get("prompt", row.get("question")))
    )


def _known(row: Row, id: Any, question: Any) -> dict[str, Any]:
    image = row.get("image") or row.get("image_path") or row.get("image_source")
    category = row.get("category") or row.get("split")
    return {
        "id": None if id is None else str(id),
        "image": Path(image).stem if isinstance(image, str) else None,
        "question": question if isinstance(question, str) else None,
        "category": category if isinstance(category, str) else None,
    }


def _lmms_eval(path: Path, line: int, row: Row) -> Given:
    doc = row["doc"] if isinstance(row.get("doc"), dict) else {}
    id = next((doc[key] for key in ("question_id", "id", "image_id") if doc.get(key) is not None), row.get("doc_id"))
    said: Any = row.get("filtered_resps", row.get("resps"))
    while isinstance(said, list) and len(said) == 1:
        said = said[0]
    question = doc.get("question", doc.get("query", doc.get("text")))
    return Given(line, _text(path, line, id, said), **_known(doc, id, question))


def _vlmevalkit(path: Path, line: int, row: Row) -> Given:
    known = _known(row, row.get("index"), row.get("question"))
    said = row.get("prediction")
    if isinstance(said, str) and said.startswith("Failed to obtain answer"):  # what it writes when an API gave up
        return Given(line, "", **known, failed=said)
    return Given(line, _text(path, line, known["id"], said), **known)


def _own(path: Path, line: int, row: Row) -> Given:
    known: dict[str, Any] = {"id": str(row.get("id")), "image": str(row.get("image"))}
    if "failed" in row:
        return Given(line, "", **known, failed=str(row["failed"]))
    kept = row.get("answer")
    if not isinstance(kept, dict):
        raise wrong(path, line, row.get("id"), "a record holds an answer or a failure, this one neither")
    p_yes = kept.get("p_yes")
    if p_yes is not None and (isinstance(p_yes, bool) or not isinstance(p_yes, int | float) or not 0 <= p_yes <= 1):
        raise wrong(path, line, row.get("id"), f"p_yes is a probability, this is {p_yes!r:.80}")
    return Given(line, _text(path, line, row.get("id"), kept.get("text")), **known, p_yes=p_yes)


_READERS: Mapping[str, Callable[[Path, int, Row], Given]] = {
    "ohd-bench": _own,
    "lmms-eval": _lmms_eval,
    "vlmevalkit": _vlmevalkit,
    "amber": _amber,
    "chair": _chair,
    "pope": _pope,
    "llava": _llava,
}


def _text(path: Path, line: int, id: Any, said: Any) -> str:
    if not isinstance(said, str):
        kind = "null" if said is None else type(said).__name__
        raise wrong(path, line, id, f"an answer is text, this is {kind}")
    if len(said) > LONGEST:
        raise wrong(path, line, id, f"an answer of {len(said):,} characters; at most {LONGEST:,} are read")
    return said
