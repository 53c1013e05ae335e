"""Train a recipe at many settings, and collect what was measured into one table and one plot."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import math
import statistics
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from harness import durable, registry
from harness.errors import DataError, UsageError
from harness.rows import object_of
from harness.shown import csv_cell
from harness.store import write_json
from harness.types import Recipe

Settings = dict[str, Any]
Made = TypeVar("Made")
METRICS = ("ohd_dev", "zero_shot")


def with_settings(recipe: Made, words: Mapping[str, str]) -> Made:
    """The recipe with these fields changed, each read as its type; UsageError names the fields there are."""
    hints = typing.get_type_hints(type(recipe))
    names = [field.name for field in dataclasses.fields(recipe)]  # type: ignore[arg-type]
    for name in words:
        if name not in names:
            raise UsageError(f"a recipe has no field '{name}'; it has {', '.join(names)}")
    return dataclasses.replace(recipe, **{n: _read(n, w, hints[n]) for n, w in words.items()})  # type: ignore[type-var]


def _read(name: str, word: str, kind: Any) -> Any:
    if typing.get_origin(kind) is tuple:
        return tuple(_read(name, one, typing.get_args(kind)[0]) for one in word.split("+") if one)
    try:
        if typing.get_origin(kind) is typing.Literal:
            if word not in typing.get_args(kind):
                raise ValueError
            return word
        if kind is bool:
            return {"true": True, "false": False}[word.lower()]
        return kind(word)
    except (ValueError, KeyError) as error:
        choices = ", ".join(map(str, typing.get_args(kind))) or kind.__name__
        raise UsageError(f"{name}={word} is not what the recipe reads there ({choices})") from error


def assignments(words: Sequence[str]) -> dict[str, str]:
    """``name=value`` words as a mapping; UsageError where a name is given two values."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"'{word}': write FIELD=VALUE")
        if name in found:
            raise UsageError(f"{name} is set twice, to {found[name]} and to {value}")
        found[name] = value
    return found


@dataclasses.dataclass(frozen=True)
class Point:
    """One training of a sweep: its settings in words, and the recipe they make."""

    settings: dict[str, str]
    recipe: Recipe

    @property
    def folder(self) -> str:
        """The name of its folder, in which a value's slashes are escaped."""
        words = [self.settings["recipe"], *(f"{k}={v}" for k, v in self.settings.items() if k != "recipe")]
        return quote("-".join(words), safe=" =+,:;*?[]()!@~")


def chosen(names: Sequence[str]) -> dict[str, Callable[[], Recipe]]:
    """What makes each recipe, by name; UsageError where there is none of a name, or one is named twice."""
    if twice := [name for name, often in Counter(names).items() if often > 1]:
        raise UsageError(f"the recipe {twice[0]} is named twice; a sweep trains each once at every setting")
    return {name: registry.find(registry.recipes, name, "recipe") for name in names}


def points(
    recipes: Mapping[str, Callable[[], Recipe]], vary: Mapping[str, str], fixed: Mapping[str, str]
) -> list[Point]:
    """Every recipe at every combination of the varied values; interpolations are measured within one training.

    UsageError where a recipe does not have or read a setting, or reads two values of one as the same.
    """
    for name in [name for name in vary if name in fixed]:
        raise UsageError(f"{name} is varied and set to {fixed[name]} as well; give one of the two")
    grid = {name: values.split(",") for name, values in vary.items() if name != "interpolate"}
    front = {"front": vary["interpolate"].replace(",", "+")} if "interpolate" in vary else {}
    found = [
        Point({"recipe": name, **settings}, with_settings(make(), {**fixed, **front, **settings}))
        for name, make in recipes.items()
        for values in itertools.product(*grid.values())
        for settings in [dict(zip(grid, values, strict=True))]
    ]
    for kind in {type(point.recipe): None for point in found}:
        _require_each_once(kind, vary)
    return found


def _require_each_once(kind: type[Recipe], vary: Mapping[str, str]) -> None:
    """UsageError where recipes of this kind read two values of a setting as one: one training would count as two."""
    hints = typing.get_type_hints(kind)
    for name, values in vary.items():
        first: dict[Any, str] = {}
        for word in values.split(","):
            value = _read(name, word, hints["front" if name == "interpolate" else name])
            if value in first:
                ways = "" if word == first[value] else f", as {first[value]} and as {word}"
                raise UsageError(f"--vary {name}={values} names {first[value] or 'nothing'} twice{ways}")
            first[value] = word


def run(
    todo: Sequence[Point], data: Path, out: Path, keep: Literal["all", "best", "none"] = "all"
) -> Iterator[list[Settings]]:
    """The measured rows of each point, as it is done; finished points are only read.

    ``keep`` says whose weights stay: of all, of the one point best by METRICS[0] so far (the earliest of equals), of
    none. What was measured and logged stays of all.
    """
    best: tuple[float, Path] | None = None
    for point in todo:
        folder = point.recipe.train(data, out / "points" / point.folder)
        found = _told(folder)
        value = found["after"].get(METRICS[0], -math.inf)
        better = keep == "best" and (best is None or value > best[0])
        if keep == "none" or (keep == "best" and not better):
            _drop_weights(folder)
        elif better:
            if best:
                _drop_weights(best[1])
            best = value, folder
        yield measured(point, found)


def _told(folder: Path) -> dict[str, Any]:
    found = object_of(folder / "recipe.json")
    if "measured" not in found:
        raise DataError(f"{folder / 'recipe.json'} tells of nothing that was measured; remove {folder}")
    return found["measured"]  # type: ignore[no-any-return]


def _drop_weights(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()


def measured(point: Point, found: Mapping[str, Any]) -> list[Settings]:
    """One row for the trained encoder or one for each interpolation of it, with what the base measures beside."""
    base = {f"{name}_before": value for name, value in found["before"].items() if name != "step"}
    return [{**point.settings, **after, **base} for after in found["front"] or [found["after"]]]


def over_seeds(rows: Sequence[Settings]) -> list[Settings]:
    """Rows that differ in the seed alone, as mean, low and high of each metric (95 %, Student's t) and their number."""
    groups: dict[tuple[tuple[str, Any], ...], list[Settings]] = {}
    for row in rows:
        key = tuple((name, row[name]) for name in settings_of(rows) if name != "seed")
        groups.setdefault(key, []).append(row)
    return [{**dict(key), "seeds": len(group), **_intervals(group)} for key, group in groups.items()]


def settings_of(rows: Sequence[Settings]) -> list[str]:
    """The columns that say what was set: words, and the interpolation."""
    return [name for name, value in rows[0].items() if isinstance(value, str) or name == "interpolate"]


def _intervals(group: Sequence[Settings]) -> Settings:
    from scipy.stats import t

    found: Settings = {}
    for name in (n for n, value in group[0].items() if isinstance(value, float) and n != "interpolate"):
        values = [row[name] for row in group]
        mean = statistics.fmean(values)
        half = math.nan
        if len(values) > 1:
            half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
        found |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    return found


def write(out: Path, rows: Sequence[Settings]) -> list[Settings]:
    """The rows over seeds; writes ``sweep.json`` and ``sweep.csv`` by training, and ``seeds.csv``."""
    folded = over_seeds(rows)
    write_json(out / "sweep.json", list(rows))
    for name, table in (("sweep.csv", rows), ("seeds.csv", folded)):
        kept = io.StringIO()
        writer = csv.DictWriter(kept, list(dict.fromkeys(key for row in table for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in table)
        durable.output(out / name, kept.getvalue())
    return folded
