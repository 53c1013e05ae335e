"""A sweep as it is shown: a table over seeds, and each metric plotted over what was varied, in the report's style."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from harness import durable
from harness.report.plots import INK, MARKERS, PAPER, SERIES, STYLE, called, plain_numbers, short
from harness.report.print_style import with_every_letter
from harness.sweep import METRICS, Settings, settings_of

PNG: Mapping[str, Any] = {"dpi": 150, "facecolor": PAPER, "transparent": False}


def over_seeds(folded: Sequence[Settings]) -> Table:
    """A row for the base and for each setting: the mean over its seeds, ± half a 95 % interval."""
    names = settings_of(folded)
    metrics = [name for name in METRICS if name in folded[0]]
    table = Table(*names)
    for head in ("seeds", *metrics):
        table.add_column(head, justify="right")
    table.add_row("base", *[""] * len(names), *(f"{folded[0][f'{name}_before']:z.1f}" for name in metrics))
    for row in folded:
        cells = [*(str(row[name]) for name in names), str(row["seeds"])]
        table.add_row(*cells, *(_interval(row, name) for name in metrics))
    return table


def _interval(row: Settings, name: str) -> str:
    spread = row[f"{name}_high"] - row[name]
    return f"{row[name]:z.1f}" + ("" if spread != spread else f" ± {spread:z.1f}")


def write(out: Path, folded: Sequence[Settings]) -> None:
    """``sweep.png`` and ``sweep.pdf`` of rows over seeds."""
    for kind, how in (("pdf", {"metadata": {"CreationDate": None}}), ("png", PNG)):

        def drawn(kind: str = kind, how: Mapping[str, Any] = how) -> bytes:
            kept = io.BytesIO()
            draw(folded).savefig(kept, format=kind, bbox_inches="tight", **how)
            return kept.getvalue()

        with matplotlib.rc_context(STYLE):
            durable.output(out / f"sweep.{kind}", with_every_letter(drawn))


def draw(folded: Sequence[Settings]) -> Figure:
    """Each metric over the setting with the most values, with intervals over seeds; the base as a dashed line."""
    metrics = [name for name in METRICS if name in folded[0]]
    along = max(settings_of(folded), key=lambda name: _values(folded, name))
    lines: dict[str, list[Settings]] = {}
    for row in folded:
        rest = [str(row[name]) for name in settings_of(folded) if name != along]
        lines.setdefault(" ".join(rest), []).append(row)
    figure = Figure(figsize=(4.6 * len(metrics), 3.6), layout="constrained")
    for metric, axes in zip(metrics, figure.subplots(1, len(metrics), squeeze=False)[0], strict=True):
        _draw(axes, lines, along, metric)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _values(folded: Sequence[Settings], name: str) -> tuple[int, bool]:
    """How many values a setting has, and whether they are numbers: what makes the better axis."""
    return len({row[name] for row in folded}), isinstance(_number(folded[0][name]), float)


def _draw(axes: Axes, lines: dict[str, list[Settings]], along: str, metric: str) -> None:
    for number, (label, rows) in enumerate(lines.items()):
        places = [_number(row[along]) for row in rows]
        spread = [0.0 if math.isnan(row[f"{metric}_high"]) else row[f"{metric}_high"] - row[metric] for row in rows]
        axes.errorbar(
            places,
            [row[metric] for row in rows],
            yerr=spread,
            color=SERIES[number % len(SERIES)],
            marker=MARKERS[number % len(MARKERS)],
            linestyle="none" if isinstance(places[0], str) else "-",
            capsize=3,
            label=short(label) or "trained",
        )
    base = next(iter(lines.values()))[0][f"{metric}_before"]
    axes.axhline(base, linestyle="--", color=INK, linewidth=1, label="base")
    axes.set(title=called(metric), xlabel=along, ylabel="%")
    if along == "fraction":
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
    if isinstance(_number(next(iter(lines.values()))[0][along]), str):
        axes.tick_params(axis="x", rotation=45)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value
