"""Rows of a data file, with file and line named where one cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import DataError


def text_of(path: Path) -> str:
    """The file's text; DataError where it is missing or not UTF-8."""
    if not path.is_file():
        raise DataError(f"{path} is missing; docs/data.md says where the files come from")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error


def json_of(path: Path) -> Any:
    """The file's one JSON value; DataError names the line where it breaks off."""
    try:
        return json.loads(text_of(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg}); the file may be cut off") from error


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file with one JSON object a line; DataError names the line that is none."""
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg}); the file may be cut off") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: not a JSON object")
        yield row
