"""Options given from Python: whether each is of the kind that its field is declared with, and if not what would be."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from harness.errors import UsageError

WORDS = {
    str: "a text", int: "a whole number", float: "a number", bool: "True or False", Path: "a path", NoneType: "None",
}  # fmt: skip


def require(options: Any) -> None:
    """UsageError for the first field of this dataclass that holds another kind of thing than it is declared with."""
    declared = get_type_hints(type(options))
    for field in fields(options):
        told = getattr(options, field.name)
        if not _is(told, declared[field.name]):
            raise refused(field.name, told, _words(declared[field.name]))


def path(name: str, told: Any) -> Path:
    """This text or path as a path; UsageError where the option of this name is neither."""
    if not isinstance(told, str | Path):
        raise refused(name, told, "a path")
    return Path(told)


def several(name: str, told: Any) -> tuple[Any, ...]:
    """What there are one or several of: a text or path stands for a list of one, None for an empty one."""
    if told is None or isinstance(told, str | Path):
        return () if told is None else (told,)
    if not isinstance(told, Iterable):
        raise refused(name, told, "a text, or several in a list")
    return tuple(told)


def refused(name: str, told: Any, right: str) -> UsageError:
    """The error for an option that is told so, and what would be right."""
    return UsageError(f"{name} is {str(told)[:100]!r} ({type(told).__name__}); right would be {right}")


def _is(told: Any, kind: Any) -> bool:
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is(told, one) for one in of)
    if origin:  # of one kind throughout: tuple[str, ...], Sequence[str]
        return isinstance(told, Collection) and not isinstance(told, str) and all(_is(one, of[0]) for one in told)
    if isinstance(told, bool):  # Python's True is an int as well
        return kind is bool
    return isinstance(told, int | float if kind is float else kind)


def _words(kind: Any) -> str:
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_words, of))
    return f"several, each {_words(of[0])}" if origin else WORDS[kind]
