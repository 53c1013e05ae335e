"""What a study is: its arms, alignments, tables and contrasts, read from a TOML file and checked."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import UsageError

MOST_SEEDS = 10_000
"""More trainings of an arm than anybody will make; a plan of a billion would never be written."""
_NAME = re.compile(r"\w[^/\\\x00-\x1f\x7f]{0,99}")
BASE = "base"
"""The encoder that all arms start from, as an arm of its own."""
RUNGS = ("none", "stats", "ridge")
"""The rungs that need no training; any other is the stages of ``ohd-bench align``, joined by commas."""


@dataclass(frozen=True)
class Arm:
    """One way to train the encoder, at one share of the data or several."""

    recipe: str
    title: str = ""
    set: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Other fields of the recipe."""
    fractions: tuple[float, ...] = (1.0,)
    lvlm: bool = False
    """Whether it is grown into the LVLM, at its largest share of the data."""


@dataclass(frozen=True)
class Alignment:
    """One rung of the alignment ladder."""

    how: str
    title: str = ""
    images: str = ""
    """For stats and ridge: a folder of unlabelled images below the data."""
    data: str = "micro"
    """For trained rungs: LLaVA's conversations, below the data folder; ``micro`` are the bundled ones."""
    set: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Whether each tower gets a training of its own, with a seed of its own."""
        return self.how not in RUNGS


@dataclass(frozen=True)
class Contrast:
    """Two arms to be told apart, and how to say it: ``says`` adds … over ``over``."""

    base: str
    candidate: str
    says: str
    over: str


@dataclass(frozen=True)
class Table:
    """A table to be made: a row for each arm (and alignment); columns GROUP:METRIC, or METRIC for the whole."""

    title: str
    task: str
    columns: tuple[str, ...]
    published: str = ""
    """Which published rows stand beside real data: their source holds these words."""


@dataclass(frozen=True)
class Quick:
    """What ``--quick`` changes: shorter trainings, fewer pictures. Such numbers say nothing."""

    set: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    align: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    limit: int = 0


@dataclass(frozen=True)
class Study:
    """Trainings over seeds, what is asked of them, and what is to be told apart."""

    name: str
    title: str
    base: str
    tasks: tuple[str, ...]
    arms: Mapping[str, Arm]
    lvlm: str = ""
    seeds: int = 5
    controls: tuple[str, ...] = ()
    """Controls that the base and the first seed of each arm are asked under."""
    alignments: Mapping[str, Alignment] = field(default_factory=dict)
    contrasts: tuple[Contrast, ...] = ()
    tables: tuple[Table, ...] = ()
    quick: Quick = field(default_factory=Quick)

    def __post_init__(self) -> None:
        for wrong in self._wrong():
            raise UsageError(f"study '{self.name}': {wrong}")

    def _wrong(self) -> Iterator[str]:
        yield from self._wrong_names()
        yield from self._wrong_places()
        if self.seeds < 1 or not self.arms:
            yield "it needs at least one seed and one arm"
        if self.seeds > MOST_SEEDS:
            yield f"{self.seeds} seeds; at most {MOST_SEEDS} trainings are made of an arm"
        for name, one in self.arms.items():
            if not one.fractions or not all(0 < part <= 1 for part in one.fractions):
                yield f"the fractions of arm '{name}' lie above 0 and at most at 1"
        if (self.alignments or any(arm.lvlm for arm in self.arms.values())) and not self.lvlm:
            yield "alignments, and arms with lvlm = true, need an lvlm"

    def _wrong_places(self) -> Iterator[str]:
        for name, place in (
            (n, p) for n, rung in self.alignments.items() for p in (rung.images, *rung.data.split(","))
        ):
            if os.path.isabs(place) or ".." in Path(place).parts:
                yield f"alignment '{name}' reads {place!r:.80}; right would be a place below the data folder"

    def _wrong_names(self) -> Iterator[str]:
        for name in (self.name, *self.arms, *self.alignments):
            if not _NAME.fullmatch(name):
                yield f"{name!r:.80} is no name; right would be words, and no path"
        if BASE in self.arms:
            yield f"an arm may not be called '{BASE}': that is the encoder which all start from"
        for one in self.contrasts:
            missing = next((arm for arm in (one.base, one.candidate) if arm not in (*self.arms, BASE)), None)
            if missing is not None:
                yield f"a contrast names the arm '{missing}'; there is {', '.join((BASE, *self.arms))}"
            if one.base == one.candidate:
                yield f"a contrast sets the arm '{one.base}' against itself"


def load(name: str, micro: bool) -> Study:
    """The study in this file, or the bundled one of this name for this kind of data; UsageError says what there is."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"there is no study at {name}; ohd-bench study new {shlex.quote(name)} writes one")
        try:
            return parse(path.read_text(encoding="utf-8-sig"), name)
        except UnicodeDecodeError as error:
            raise UsageError(f"{name} is no TOML: not UTF-8 text ({error.reason})") from error
    return parse(text(name, micro), name)


def text(name: str, micro: bool) -> str:
    """The TOML of a bundled study; UsageError says which there are."""
    folder = resources.files("harness.study").joinpath("bundled")
    file = folder.joinpath(f"{name}.micro.toml" if micro else f"{name}.toml")
    if not file.is_file():
        have = sorted({one.name.partition(".")[0] for one in folder.iterdir() if one.name.endswith(".toml")})
        raise UsageError(f"no study is called '{name}'; there is {', '.join(have)}, or a file FILE.toml")
    return file.read_text(encoding="utf-8")


def parse(words: str, where: str) -> Study:
    """The study that this TOML describes; UsageError names the entry that is wrong and what would be right."""
    try:
        told = tomllib.loads(words)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise UsageError(f"{where} is no TOML: {str(error) or 'it is nested too deep'}") from error
    return typing.cast(Study, _read(Study, told, where))


def _read(kind: Any, value: Any, where: str) -> Any:
    """The value as this type; UsageError with its place where it is none."""
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, where)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(inside[0], one, f"{where}[{n}]") for n, one in enumerate(value))
    if origin is not None and origin is not tuple and isinstance(value, dict) and issubclass(origin, Mapping):
        return {key: _read(inside[1], one, f"{where}.{key}") for key, one in value.items()}
    choices = inside if origin in (types.UnionType, typing.Union) else (kind,)
    if type(value) in choices:
        return value
    if float in choices and type(value) is int:
        return float(value)
    wanted = " or ".join(getattr(one, "__name__", str(one)) for one in choices)
    raise UsageError(f"{where} is {value!r}; right would be {wanted if origin is not tuple else 'a list'}")


def _object(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is {value!r}; right would be a table")
    hints = typing.get_type_hints(kind)
    names = {one.name: one for one in dataclasses.fields(kind)}
    for key in value:
        if key not in names:
            raise UsageError(f"{where} has no entry '{key}'; it knows {', '.join(names)}")
    bare = (dataclasses.MISSING, dataclasses.MISSING)
    missing = [n for n, one in names.items() if n not in value and (one.default, one.default_factory) == bare]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}")
    return kind(**{key: _read(hints[key], one, f"{where}: {key}") for key, one in value.items()})


def assigned(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings of a study as the words that ``--set`` reads."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}


def listed(names: Sequence[str]) -> str:
    """Names in a row, for a sentence."""
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + "".join(names[-1:])
