"""``--config FILE.toml``: options from a file, below what the command line and the environment say."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError

OPTION = "--config"


def taken(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The words without ``--config FILE``, and the file; UsageError where the option names none."""
    left: list[str] = []
    path = None
    each = iter(words)
    for word in each:
        name, equals, value = word.partition("=")
        if name != OPTION:
            left.append(word)
            continue
        named = value if equals else next(each, "")
        if not named:
            raise UsageError("--config: name a TOML file")
        path = Path(named)
    return left, path


def defaults(path: Path, command: Any) -> dict[str, Any]:
    """What the file says, as click's ``default_map`` of this command line.

    Keys are options without their dashes: at the top for every command that has one, in a table (``[run]``,
    ``[encoder.inspect]``) for that command. UsageError where the file cannot be read or names what is not there.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--config {path}: {getattr(error, 'strerror', None) or error}") from error
    general = {key: value for key, value in told.items() if not isinstance(value, dict)}
    known = {name for one in _every(command) for name in _options(one)}
    for key in general:
        _require(key, known, path)
    return _of_group(told, command, general, path)


def _of_group(told: Mapping[str, Any], group: Any, general: Mapping[str, Any], path: Path) -> dict[str, Any]:
    tables = {key: value for key, value in told.items() if isinstance(value, dict)}
    for key in tables:
        _require(key, set(group.commands), path)
    return {name: _of_command(tables.get(name, {}), one, general, path) for name, one in group.commands.items()}


def _of_command(told: Mapping[str, Any], command: Any, general: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if hasattr(command, "commands"):
        return _of_group(told, command, general, path)
    options = _options(command)
    for key in told:
        _require(key, set(options), path)
    shared = {key: value for key, value in general.items() if key in options}
    return {options[key].name: _value(options[key], value) for key, value in (shared | dict(told)).items()}


def _value(option: Any, value: Any) -> Any:
    return [value] if option.multiple and not isinstance(value, list) else value


def _every(group: Any) -> Iterator[Any]:
    for one in group.commands.values():
        if hasattr(one, "commands"):
            yield from _every(one)
        else:
            yield one


def _options(command: Any) -> dict[str, Any]:
    """By the name that is written after ``--``."""
    return {
        word.removeprefix("--"): option
        for option in command.params
        if option.param_type_name == "option"
        for word in option.opts
        if word.startswith("--") and word != "--help"
    }


def _require(key: str, known: set[str], path: Path) -> None:
    if key not in known:
        near = difflib.get_close_matches(key, sorted(known), 1)
        raise UsageError(f"{path}: there is no '{key}' here" + (f"; did you mean '{near[0]}'?" if near else ""))
