"""Find tasks, encoders, LVLMs and recipes by name, wherever they are installed."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args
from urllib.parse import parse_qsl, urlencode

from harness import extras
from harness.errors import ModelError, OhdBenchError, UsageError
from harness.types import Encoder, LvlmHost, Mode, Place, Recipe, Spec, Task

EncoderMaker = Callable[[Spec, Place], Encoder]
LvlmMaker = Callable[[Spec, Place], LvlmHost]
Files = Callable[[Spec], Iterable[Path]]
"""Every file and folder that decides what a spec's model is, there or not."""

tasks: dict[str, type[Task]] = {}
encoders: dict[str, EncoderMaker] = {}
lvlms: dict[str, LvlmMaker] = {}
recipes: dict[str, Callable[[], Recipe]] = {}
encoder_files: dict[str, Files] = {}
lvlm_files: dict[str, Files] = {}
included: list[Path] = []
"""The folders that were included."""
served: dict[str, Callable[[Spec], bool]] = {}
"""Whether an LVLM computes elsewhere by what its spec says: what asks it here holds no weights then."""

T = TypeVar("T")
R = TypeVar("R", bound=Recipe)


def task(name: str) -> Callable[[type[Task]], type[Task]]:
    """Register a task class under this name."""

    def register(cls: type[Task]) -> type[Task]:
        cls.name = name
        _add(tasks, name, cls)
        if getattr(cls, "mode", None) not in get_args(Mode):
            told = ", ".join(get_args(Mode))
            raise UsageError(f"the task '{name}' has the mode {getattr(cls, 'mode', None)!r}; there is {told}")
        return cls

    return register


def encoder(name: str, files: Files | None = None) -> Callable[[EncoderMaker], EncoderMaker]:
    """Register a maker of encoders under this name; it imports torch inside.

    Where ``files`` tells all that a spec's encoder is made of, a finished run is known without loading it.
    """
    if files is not None:
        encoder_files[name] = files
    return lambda maker: _add(encoders, name, maker)


def lvlm(
    name: str, files: Files | None = None, elsewhere: Callable[[Spec], bool] | None = None
) -> Callable[[LvlmMaker], LvlmMaker]:
    """Register a maker of LVLM hosts under this name; it imports torch inside. ``files`` is as for encoders.

    ``elsewhere`` says of which specs a server computes: then workers of this command have nothing to hold.
    """
    if files is not None:
        lvlm_files[name] = files
    if elsewhere is not None:
        served[name] = elsewhere
    return lambda maker: _add(lvlms, name, maker)


def recipe(name: str) -> Callable[[Callable[[], R]], Callable[[], R]]:
    """Register a recipe: a function without arguments that returns a frozen dataclass with ``train``."""

    def register(make: Callable[[], R]) -> Callable[[], R]:
        made: Callable[[], Recipe] = make
        _add(recipes, name, made)
        return make

    return register


def _add(table: dict[str, T], name: str, thing: T) -> T:
    if name in table and getattr(table[name], "__module__", "") != getattr(thing, "__module__", ""):
        raise UsageError(f"'{name}' is registered twice, by {table[name].__module__} and by {thing.__module__}")
    table[name] = thing
    return thing


def load(include: Iterable[Path] = ()) -> None:
    """Import every module directly inside each package of the ``ohd_bench`` entry points, and each --include folder."""
    for point in sorted(entry_points(group="ohd_bench"), key=lambda p: (p.name, p.value)):
        package = _imported(point.value, f"plugin '{point.value}'")
        for module in pkgutil.iter_modules(package.__path__):
            _imported(f"{package.__name__}.{module.name}", f"plugin '{point.value}'")
    for folder in include:
        _load_folder(folder)


def _imported(name: str, whose: str) -> Any:
    with _named(f"{whose}: {name}"):
        return importlib.import_module(name)


@contextlib.contextmanager
def _named(plugin: str) -> Iterator[None]:
    """Whatever goes wrong in a plugin is told with the plugin's name; nothing is swallowed."""
    try:
        yield
    except OhdBenchError:
        raise
    except (Exception, SystemExit) as error:  # a script that ends itself when it is imported is a plug-in gone wrong
        if lacking := extras.missing(error):
            raise lacking from error
        raise UsageError(f"{plugin} cannot be imported: {type(error).__name__}: {error}") from error


class _AsWritten(SourceFileLoader):
    """Reads the file as it is now: compiled code kept beside it is known by whole seconds and its size alone."""

    def path_stats(self, path: str) -> NoReturn:
        """Nothing is known of the file, so none is looked for and none is kept."""
        raise OSError(path)


def _load_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"--include {folder} is not a folder")
    if folder.absolute() not in included:
        included.append(folder.absolute())
    for path in sorted(folder.glob("*.py")):
        name = f"ohd_bench_include_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path, loader=_AsWritten(name, str(path)))
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        with _named(f"--include {path}"):
            spec.loader.exec_module(module)


def find(table: dict[str, T], name: str, kind: str) -> T:
    """The thing of this name, or UsageError that offers the nearest names."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3, cutoff=0.5)
    offer = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(sorted(table)) or 'none'}"
    hint = f"; a path follows such a name, as in NAME:{name}" if "/" in name else ""
    raise UsageError(f"no {kind} is called '{name}'; {offer}{hint}")


def parse_spec(text: str) -> Spec:
    """``NAME[:LOCATION][?key=value&…]`` taken apart; UsageError where it cannot be."""
    head, _, query = text.partition("?")
    name, _, location = head.partition(":")
    if not name:
        raise UsageError(f"'{text}' names nothing; write NAME[:LOCATION][?key=value]")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError as error:
        raise UsageError(f"'{text}': after '?' come key=value pairs joined by '&'") from error
    return Spec(name, location, options, text)


def respelled(text: str, places: Mapping[str, str]) -> str:
    """The same spec with each place that it names, as its location or among its options, exchanged by this table."""
    spec = parse_spec(text) if text else Spec("")
    if not any(place in places for place in named_places(spec)):
        return text
    location = places.get(spec.location, spec.location)
    options = {key: _exchanged(value, places) for key, value in spec.options.items()}
    return spec.name + (f":{location}" if location else "") + (f"?{urlencode(options, safe='/:~')}" if options else "")


def named_places(spec: Spec) -> list[str]:
    """What a spec names that may be a file or folder: its location, and its options' values, also behind a ``how:``."""
    values = list(spec.options.values())
    return [told for told in (spec.location, *values, *(value.partition(":")[2] for value in values)) if told]


def _exchanged(value: str, places: Mapping[str, str]) -> str:
    how, colon, where = value.partition(":")
    return places.get(value) or (how + colon + places.get(where, where))


def no_more_options(spec: Spec, *known: str) -> None:
    """UsageError where the spec carries an option its model does not know."""
    for key in spec.options:
        if key not in known:
            have = ", ".join(known) or "none"
            raise UsageError(f"'{spec.text}': {spec.name} has no option '{key}'; it knows {have}")


def whole_number(spec: Spec, name: str) -> int:
    """A positive whole number among the options, 0 where it is not given; UsageError where it is none."""
    if name not in spec.options:
        return 0
    told = spec.options[name]
    if not (told.isascii() and told.isdigit() and len(told) < 8 and int(told) > 0):
        raise UsageError(f"'{spec.text}': ?{name}={told} is no positive whole number")
    return int(told)


def make_encoder(text: str, place: Place) -> Encoder:
    """The encoder this spec names, loaded; ModelError where its files are none that make one."""
    spec = parse_spec(text)
    make = find(encoders, spec.name, "encoder")
    with loading(text):
        made = make(spec, place)
        made.describe()  # reads what the files say of the pixels
    return made


def make_lvlm(text: str, place: Place) -> LvlmHost:
    """The LVLM host this spec names, loaded; ModelError where its files are none that make one."""
    spec = parse_spec(text)
    make = find(lvlms, spec.name, "LVLM")
    with loading(text):
        return make(spec, place)


def elsewhere(text: str) -> bool:
    """Whether another program than this process computes the answers of the LVLM of this spec."""
    spec = parse_spec(text) if text else Spec("")
    return spec.name in served and served[spec.name](spec)


@contextlib.contextmanager
def loading(text: str) -> Iterator[None]:
    """Whatever a library makes of odd files (config, processor, tokenizer, weights) is a model that does not load."""
    try:
        yield
    except OhdBenchError:
        raise
    except Exception as error:
        if lacking := extras.missing(error):
            raise lacking from error
        told = (str(error).strip().splitlines() or ["no word of why"])[0]
        raise ModelError(f"'{text}' cannot be loaded: {type(error).__name__}: {told}; -v shows where") from error
