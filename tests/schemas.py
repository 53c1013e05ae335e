"""Which JSON schema of docs/schemas is that of a command, as the table of docs/outputs.md says it."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"


@cache
def table() -> dict[tuple[str, ...], str]:
    """The words of each command of the table, its options among them, and the name of its schema."""
    found = {}
    for commands, name in re.findall(r"^\| (.*?) \| \[([a-z-]+)\]", (DOCS / "outputs.md").read_text("utf-8"), re.M):
        for command in re.findall(r"`([^`]+)`", commands):
            found[tuple(command.split())] = name
    return found


def of(words: Sequence[str]) -> str:
    """The schema of this command: of those whose words it begins with and whose options it has, the most particular."""
    fitting = [told for told in table() if _fits(told, words)]
    assert fitting, f"docs/outputs.md names no schema for '{' '.join(words)}'"
    return table()[max(fitting, key=len)]


def _fits(told: Sequence[str], words: Sequence[str]) -> bool:
    names = [word for word in told if not word.startswith("-")]
    return list(words[: len(names)]) == names and {word for word in told if word.startswith("-")} <= set(words)


@cache
def schema(name: str) -> Any:
    """The schema of this name, ready to validate; None where jsonschema is not installed."""
    if not importlib.util.find_spec("jsonschema"):
        return None
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads((DOCS / "schemas" / f"{name}.json").read_text(encoding="utf-8")))


def require(words: Sequence[str], said: Any) -> None:
    """ValidationError where a command printed what its schema does not say, AssertionError where it has none."""
    if found := schema(of(words)):
        found.validate(said)
