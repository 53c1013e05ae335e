"""Train a recipe at many settings, and collect what was measured into one table and one plot."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
import statistics
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.types import Recipe

Settings = dict[str, Any]
METRICS = ("ohd_dev", "zero_shot")


def with_settings(recipe: Recipe, words: Mapping[str, str]) -> Recipe:
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
    """``name=value`` words as a mapping."""
    for word in words:
        if "=" not in word:
            raise UsageError(f"'{word}': write FIELD=VALUE")
    return dict(word.split("=", 1) for word in words)


@dataclasses.dataclass(frozen=True)
class Point:
    """One training of a sweep: its settings in words, and the recipe they make."""

    settings: dict[str, str]
    recipe: Recipe

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return "-".join([self.settings["recipe"], *(f"{k}={v}" for k, v in self.settings.items() if k != "recipe")])


def points(
    recipes: Mapping[str, Callable[[], Recipe]], vary: Mapping[str, str], fixed: Mapping[str, str]
) -> list[Point]:
    """Every recipe at every combination of the varied values; interpolations are measured within one training."""
    grid = {name: values.split(",") for name, values in vary.items() if name != "interpolate"}
    front = {"front": vary["interpolate"].replace(",", "+")} if "interpolate" in vary else {}
    return [
        Point({"recipe": name, **settings}, with_settings(make(), {**fixed, **front, **settings}))
        for name, make in recipes.items()
        for values in itertools.product(*grid.values())
        for settings in [dict(zip(grid, values, strict=True))]
    ]


def run(todo: Sequence[Point], data: Path, out: Path) -> Iterator[list[Settings]]:
    """The measured rows of each point, as it is done; finished points are only read."""
    for point in todo:
        folder = point.recipe.train(data, out / "points" / point.folder)
        yield measured(point, folder)


def measured(point: Point, folder: Path) -> list[Settings]:
    """One row for the base, one for the trained encoder or one for each interpolation of it."""
    found = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["measured"]
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
    """The rows over seeds; writes ``sweep.json`` and ``sweep.csv`` by training, ``seeds.csv``, ``sweep.png``."""
    out.mkdir(parents=True, exist_ok=True)
    folded = over_seeds(rows)
    (out / "sweep.json").write_text(json.dumps(list(rows), indent=1) + "\n", encoding="utf-8")
    for name, table in (("sweep.csv", rows), ("seeds.csv", folded)):
        with (out / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in table for key in row)), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
    plot(out / "sweep.png", folded)
    return folded


def plot(path: Path, folded: Sequence[Settings]) -> None:
    """Each metric over what was varied, with intervals over seeds; the base as a dashed line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    metrics = [name for name in METRICS if name in folded[0]]
    along = _axis(folded)
    figure, axes = pyplot.subplots(1, len(metrics), figsize=(5.5 * len(metrics), 4), squeeze=False)
    for metric, axis in zip(metrics, axes[0], strict=True):
        _draw(axis, folded, along, metric)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _axis(folded: Sequence[Settings]) -> str:
    """The setting with the most values."""
    names = [name for name in settings_of(folded) if name not in METRICS]
    return max(names, key=lambda name: len({row[name] for row in folded}))


def _draw(axis: Any, folded: Sequence[Settings], along: str, metric: str) -> None:
    lines: dict[str, list[Settings]] = {}
    for row in folded:
        rest = [str(row[name]) for name in settings_of(folded) if name != along]
        lines.setdefault(" ".join(rest), []).append(row)
    for label, rows in lines.items():
        places = [_number(row[along]) for row in rows]
        spread = [0.0 if math.isnan(row[f"{metric}_high"]) else row[f"{metric}_high"] - row[metric] for row in rows]
        style = "o-" if not isinstance(places[0], str) else "o"
        axis.errorbar(places, [row[metric] for row in rows], yerr=spread, fmt=style, capsize=3, label=label)
    axis.axhline(folded[0][f"{metric}_before"], linestyle="--", color="grey", label="base")
    axis.set(xlabel=along, ylabel=f"{metric}, %")
    if along == "fraction":
        axis.set_xscale("log")
    if isinstance(_number(folded[0][along]), str):
        axis.tick_params(axis="x", rotation=45)
    axis.legend(fontsize=8)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value
