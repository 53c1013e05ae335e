"""The rows inside one JSON object: under a name, by their ids or images, or column by column as pandas writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.scoring import fields, spelling

Found = list[tuple[int, Any]]
"""Values of a file, each with the line it starts on."""


def rows(found: Found) -> Found:
    """The rows of a file that is one object around them; what it holds where it is none.

    Known are lists of rows under one name or several (chair.py's ``sentences``; a sampling's name is the category of
    its rows), rows and replies by id or image (``{"1": "Yes"}``), columns (``{"id": {"0": 1}, "text": {"0": "No"}}``).
    """
    if len(found) != 1 or not isinstance(found[0][1], dict) or _is_a_row(found[0][1]):
        return found
    line, whole = found[0]
    inside = _listed(whole) or _columns(whole) or _keyed(whole)
    return found if inside is None else [(line, row) for row in inside]


def _is_a_row(whole: Mapping[str, Any]) -> bool:
    """Whether the object says something itself, as the only row of a file."""
    said = [name for name, value in whole.items() if isinstance(value, str | int | float)]
    return any(fields.role(name) in ("reply", "doubtful") for name in said)


def _listed(whole: Mapping[str, Any]) -> list[Any] | None:
    lists = {
        name: value for name, value in whole.items() if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    if len(lists) > 1:  # COCO's object holds its images beside the captions
        lists = {name: value for name, value in lists.items() if _replies(value[0])}
    if len(lists) > 1:
        return [_told(row, "category", name) for name, value in lists.items() for row in value]
    return next(iter(lists.values()), None)


def _replies(row: Mapping[str, Any]) -> bool:
    return any(fields.role(name) in ("reply", "doubtful") for name in row)


def _told(row: Any, role: fields.Role, value: str) -> Any:
    """The row with what stands above it, where it does not say so itself."""
    return row if not isinstance(row, dict) or fields.named(row, role) else {role: value, **row}


def _columns(whole: Mapping[str, Any]) -> list[Any] | None:
    columns = list(whole.values())
    if not columns or not all(isinstance(one, dict) and one.keys() == columns[0].keys() for one in columns):
        return None
    if not all(fields.role(name) for name in whole):
        return None
    return [{name: column[key] for name, column in whole.items()} for key in columns[0]]


def _keyed(whole: Mapping[str, Any]) -> list[Any] | None:
    """Rows, or bare replies, under their ids or images."""
    if not whole or any(fields.role(name) for name in whole):
        return None
    if all(isinstance(one, dict) for one in whole.values()):
        return [_told(row, _kind(name), name) for name, row in whole.items()]
    if all(isinstance(one, str) or (isinstance(one, list) and len(one) == 1) for one in whole.values()):
        return [{_kind(name): name, "response": said} for name, said in whole.items()]
    return None


def _kind(name: str) -> fields.Role:
    return "image" if spelling.is_picture(name) else "id"
