"""What the commands make of the environment: each variable read as they read it, before one of them has to."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from harness.doctor.settings import BEGIN, Settings
from harness.errors import OhdBenchError

Reader = Callable[[str], object]


def settings(context: typer.Context) -> Settings:
    """How the variables stand that are set, for all commands and what they call."""
    options = _options(context.find_root().command)
    named = {name: told for name, told in sorted(os.environ.items()) if name.startswith(BEGIN)}
    wrong, unread = {}, {}
    for name, told in named.items():
        if name not in options and name not in READERS:
            near = difflib.get_close_matches(name, [*options, *READERS], 1)
            unread[name] = "no command reads it" + (f"; did you mean {near[0]}?" if near else "")
        try:
            for option in options.get(name, ()) if told else ():
                option.handle_parse_result(type(context)(context.command), {}, [])
            if told:
                READERS.get(name, str)(told)
        except typer.BadParameter as error:
            wrong[name] = error.message
        except OhdBenchError as error:
            wrong[name] = str(error)
    return Settings(wrong, unread)


def _options(group: Any) -> dict[str, list[Any]]:
    """By variable, the options that are read from it, each command's own."""
    found: dict[str, list[Any]] = {}
    for command in _commands(group):
        for option in command.params:
            for name in [option.envvar] if isinstance(option.envvar, str) else option.envvar or ():
                found.setdefault(name, []).append(option)
    return found


def _commands(group: Any) -> Iterator[Any]:
    for one in group.commands.values():
        yield from _commands(one) if hasattr(one, "commands") else (one,)


def _align(told: str) -> object:
    from harness.asking.run_options import RunOptions

    return RunOptions(lvlm="any", align=told).host


def _control(told: str) -> None:
    from harness.asking.controls import require

    require(told)


def _shard(told: str) -> object:
    from harness.asking.shards import Shard

    return Shard.parse(told)


def _log_with(told: str) -> None:
    from harness.export import trackers

    trackers.require(told.split())


def _place(device: str = "auto", dtype: str = "auto") -> None:
    from harness import extras
    from harness.types import Place

    if extras.there("torch"):
        from harness.compute.devices import require

        require(Place(device, dtype))


def _gigabytes(name: str) -> Reader:
    from harness.cached import most_bytes

    return lambda told: most_bytes(name)


def _vllm(told: str) -> object:
    from harness.vision_language.vllm import install

    return install.found()


def _include(told: str) -> None:
    from harness import registry

    registry.load(Path(folder) for folder in told.split(os.pathsep) if folder)


def _named(table: str, kind: str) -> Reader:
    """Whether each spec names what is registered, with what is included by the environment."""

    def read(told: str) -> object:
        from harness import registry

        _include(os.environ.get("OHD_BENCH_INCLUDE", ""))
        every = told.split() if kind != "LVLM" else [told]
        return [registry.find(getattr(registry, table), registry.parse_spec(text).name, kind) for text in every]

    return read


READERS: Mapping[str, Reader] = {
    "OHD_BENCH_ALIGN": _align,
    "OHD_BENCH_CACHE": str,  # looked at among the folders
    "OHD_BENCH_CONTROL": _control,
    "OHD_BENCH_DEVICE": lambda told: _place(device=told),
    "OHD_BENCH_DTYPE": lambda told: _place(dtype=told),
    "OHD_BENCH_ENCODER": _named("encoders", "encoder"),
    "OHD_BENCH_INCLUDE": _include,
    "OHD_BENCH_LLM_KEY": str,
    "OHD_BENCH_LOG_WITH": _log_with,
    "OHD_BENCH_LVLM": _named("lvlms", "LVLM"),
    "OHD_BENCH_MERGED": _gigabytes("OHD_BENCH_MERGED"),
    "OHD_BENCH_PIXELS": _gigabytes("OHD_BENCH_PIXELS"),
    "OHD_BENCH_SHARD": _shard,
    "OHD_BENCH_TASK": _named("tasks", "task"),
    "OHD_BENCH_VLLM": _vllm,
}
"""What reads a variable beyond its option's type, or where no option has it."""
