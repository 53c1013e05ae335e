"""Which field of each row holds the model's words, told by names, and by what the question and the truth are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import traces, yes_no
from harness.errors import UsageError
from harness.scoring import fields, spelling
from harness.scoring.answers import LONGEST, AnswerFile, Given
from harness.types import Sample

Match = tuple[Given, Sample]
ENOUGH = 20
"""From so many answers on, all equal to the truth to the letter is remarked upon."""


@dataclass(frozen=True)
class Reply:
    """The words of one row, or why it has none."""

    text: str
    failed: str | None = None


def replies(file: AnswerFile, pairs: Sequence[Match], chosen: str = "") -> tuple[list[Reply], list[str]]:
    """The reply of each matched row, and what a reader has to know of the choice.

    ``chosen`` names the field; a row without it has another that is no other's rival. UsageError names the fields where
    two could be the reply, or none can.
    """
    rows = [(given, sample) for given, sample in pairs if given.failed is None]
    names = _candidates(file, rows, chosen)
    found = [_reply(file, given, names, chosen) for given, _ in pairs]
    return found, [f"{file.path}: {remark}" for remark in _remarks(rows, names, found)]


def _columns(rows: Sequence[Match]) -> list[str]:
    return list(dict.fromkeys(str(name) for given, _ in rows for name in given.row))


def _candidates(file: AnswerFile, rows: Sequence[Match], chosen: str) -> list[str]:
    """The fields that may hold the reply, the chosen one first."""
    every = _columns(rows)
    if chosen and rows and chosen not in every:
        raise UsageError(f"{file.path}: no field is called '{chosen}'; there is {', '.join(every)}")
    names = [name for name in every if fields.role(name) in ("reply", "doubtful")]
    names = [name for name in names if name == chosen or not _all(rows, name, _is_the_question)]
    names = [name for name in names if _is_filled(rows, name)] or names
    sure = [name for name in names if fields.role(name) == "reply"]
    if chosen:
        return [chosen, *(name for name in names if name != chosen)]
    left = [name for name in names if not (sure and name == "answer" and _all(rows, name, _is_the_truth))]
    if rows and (not left or (left == ["answer"] and _is_the_hubs_truth(rows, every))):
        raise _none(file, rows, every, left)
    return left


def _none(file: AnswerFile, rows: Sequence[Match], every: Sequence[str], left: Sequence[str]) -> Exception:
    like = [name for name in every if _looks_like_a_reply(rows, name)]
    like = [name for name in like if not _all(rows, name, _is_the_truth)] or (like if len(rows) < ENOUGH else [])
    why = "'answer' is the truth of every row, and " if left else ""
    hint = f": --field {' or --field '.join(like)}, if that is it" if like else "; --field NAME names it"
    said = f"{why}no field is known to hold the model's words (there is {', '.join(every)}){hint}"
    return file.wrong(rows[0][0], said)


def _is_the_hubs_truth(rows: Sequence[Match], every: Sequence[str]) -> bool:
    """Whether ``answer`` is the truth that POPE's copy on the hub holds under this name, and no reply."""
    if not _all(rows, "answer", _is_the_truth):
        return False
    return "image_source" in every or any(_looks_like_a_reply(rows, name) for name in every)


def _is_filled(rows: Sequence[Match], name: str) -> bool:
    return any(given.row.get(name) is not None for given, _ in rows)


def _all(rows: Sequence[Match], name: str, test: Any) -> bool:
    """Whether a test holds for every value of this field."""
    values = [(given, sample, given.row[name]) for given, sample in rows if given.row.get(name) is not None]
    return bool(values) and all(test(given, sample, value) for given, sample, value in values)


def _is_the_truth(given: Given, sample: Sample, value: Any) -> bool:
    return isinstance(value, str) and value.strip().rstrip(".").lower() == sample.target


def _is_the_question(given: Given, sample: Sample, value: Any) -> bool:
    """Whether a field repeats the question, in a template or with an instruction, and gives no answer."""
    if not isinstance(value, str):
        return False
    if given.question is not None and value.strip() == given.question.strip():
        return True
    _, found, rest = spelling.plain(value).partition(spelling.asked(sample.prompt) or "\n")
    return bool(found) and not re.search(r"\b(yes|no|not)\b", re.sub(r"yes (or|and) no|yes/no", "", rest))


def _looks_like_a_reply(rows: Sequence[Match], name: str) -> bool:
    """Whether a field that the table does not know is called like a reply, or says yes or no nearly always."""
    if fields.role(name) not in (None, "about"):
        return False
    values = [given.row.get(name) for given, _ in rows]
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    if not texts:
        return False
    reads = sum(yes_no.first_word(text) is not None for text in texts)
    return fields.looks_like_a_reply(name) or reads >= 0.8 * len(values)  # "score" or "model" may hold what was said


def _reply(file: AnswerFile, given: Given, names: Sequence[str], chosen: str) -> Reply:
    if given.failed is not None:
        return Reply("", given.failed)
    own = [name for name in names if given.row.get(name) is not None]
    if not own:
        raise file.wrong(given, "an answer is text, this is null")
    return _read(file, given, own[0]) if len(own) == 1 or chosen in own else _one_of(file, given, own)


def _one_of(file: AnswerFile, given: Given, own: Sequence[str]) -> Reply:
    said = [_read(file, given, name) for name in own]
    if len({one.text for one in said}) > 1 or len({one.failed for one in said}) > 1:
        raise file.wrong(given, f"{' and '.join(map(repr, own))} could both be the answer: --field {own[0]} chooses")
    return said[0]


def _read(file: AnswerFile, given: Given, name: str) -> Reply:
    """What this field says: the words after a reasoning trace, a failure where the trace was cut off."""
    said = given.row[name]
    while isinstance(said, list) and len(said) == 1:
        said = said[0]
    if not isinstance(said, str):
        raise file.wrong(given, f"an answer is text, this is {type(said).__name__}: write the words that were said")
    if len(said) > LONGEST:
        raise file.wrong(given, f"an answer of {len(said):,} characters; at most {LONGEST:,} are read")
    words = traces.spoken(said)
    return Reply("", "a reasoning trace without an answer behind it") if words is None else Reply(words)


def _remarks(rows: Sequence[Match], names: Sequence[str], found: Sequence[Reply]) -> list[str]:
    every = _columns(rows)
    unread = [name for name in every if name not in names and _looks_like_a_reply(rows, name)]
    unread += [name for name in every if name not in names and _is_probability(rows, name)]
    told = [f"not read: {', '.join(unread)} (--field chooses what is the answer)"] if unread else []
    exact = len(rows) >= ENOUGH and list(names) == ["answer"]
    if exact and all(given.row.get("answer") == sample.target for given, sample in rows):
        told.append("every 'answer' is the truth to the letter: is it the model's?")
    cut = sum(one.failed is not None and one.failed.startswith("a reasoning trace") for one in found)
    if cut:
        told.append(f"{cut} answers are reasoning traces that were cut off, and say nothing")
    return told


def _is_probability(rows: Sequence[Match], name: str) -> bool:
    values: list[Any] = [given.row.get(name) for given, _ in rows]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    texts = [value for value in values if isinstance(value, str) and re.fullmatch(r"-?\d*\.?\d+(e-?\d+)?", value)]
    return fields.looks_like_a_probability(name) and len(numbers) + len(texts) > 0
