"""The report's figures: drawn once with matplotlib; inline SVG in the page's colours, or PDF and SVG files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy.special import ndtr, ndtri

from harness.comparison.compare import Comparison, Key, MetricChange
from harness.comparison.objects import Objects
from harness.comparison.probabilities import Believed, reliability, risk_coverage
from harness.report import print_style

INK, FAINT, PAPER = "#1b2430", "#c9d1da", "#fefefe"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, told apart by every kind of sight (jfly.uni-koeln.de/color); yellow is no ink on paper."""
MARKERS = "osD^vPX"
"""What tells sides apart where colours do not, in the order of SERIES."""
LINES = ("-", "--", "-.", ":")
"""The same for curves without markers."""
CSS = {INK: "var(--ink)", FAINT: "var(--line)", PAPER: "var(--card)"} | {
    colour: f"var(--s{i})" for i, colour in enumerate(SERIES)
}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 11,
    "legend.fontsize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.transparent": True,
}


@dataclass(frozen=True)
class Plot:
    """A figure with a name for files, a title, what it shows in words, and how to draw it."""

    name: str
    title: str
    says: str
    draw: Callable[[], Figure]

    def svg(self) -> str:
        """The figure as inline SVG in the page's colours."""
        drawn = re.sub(r"<(metadata|style)\b.*?</\1>", "", self._saved("svg").decode("utf-8"), flags=re.DOTALL)
        drawn = drawn[drawn.index("<svg") :]
        for colour, variable in CSS.items():
            drawn = drawn.replace(colour, variable)
        drawn = re.sub(
            r'<svg\b[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img" aria-hidden="true">', drawn, count=1
        )
        return drawn.replace("xlink:href", "href")

    def file(self, kind: str, width: float = 0) -> bytes:
        """The figure as a file of this kind, ``pdf`` or ``svg``; with a width in inches, as it is printed so wide."""
        return self._saved(kind, width)

    def _saved(self, kind: str, width: float = 0) -> bytes:
        dates = {"Date": None} if kind == "svg" else {"CreationDate": None}
        style = STYLE | (print_style.PRINTED if width else {})

        def drawn() -> bytes:
            kept, figure = io.BytesIO(), self.draw()
            if width:
                print_style.fit(figure, width)
            figure.savefig(kept, format=kind, bbox_inches=None if width else "tight", metadata=dates)
            return kept.getvalue()

        with matplotlib.rc_context({**style, "svg.hashsalt": self.name, "text.parse_math": False}):
            return print_style.with_every_letter(drawn)


def axes_of(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of this size in inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def intervals(found: Sequence[Comparison], named: Sequence[Key] = ()) -> Plot:
    """Each difference with its interval, in points: those of the metrics named, or of each task's summary."""

    def draw() -> Figure:
        lines = [one.named(named) if named else one.summary() for one in found]
        rows = [line for line in lines[0] if _in_points(line)]
        figure, axes = axes_of(max(4.6, 0.2 * len(rows)), 0.6 + 0.24 * max(3, len(rows)))
        axes.axvline(0, color=INK, linewidth=1)
        for i, (one, every) in enumerate(zip(found, lines, strict=True)):
            by_name = {line.key: line for line in every}
            for y, row in enumerate(rows):
                if (line := by_name.get(row.key)) is not None:
                    _bar(axes, line, y + 0.16 * (i - (len(found) - 1) / 2), i + 1)
            axes.plot([], [], mark(i + 1), color=colour(i + 1), label=short(one.candidate.name))
        axes.set_yticks(range(len(rows)), [_called(row) for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel("points, candidate minus base")
        if len(found) > 1:
            legend(axes)
        return figure

    return Plot("differences", "What changed", "Differences to the base with 95 % intervals by image.", draw)


def plain_numbers(axis: Axis) -> None:
    """Numbers at the ticks of a logarithmic axis; matplotlib's own are formulas, and no text here is read as one."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes) -> None:
    """Which mark is whose, above the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) < 16 else 1
    axes.figure.legend(handles, labels, loc="outside upper left", ncols=columns)


def _bar(axes: Axes, line: MetricChange, y: float, side: int) -> None:
    axes.plot([line.gap.low, line.gap.high], [y, y], color=colour(side), solid_capstyle="round")
    axes.plot([line.gap.value], [y], mark(side), color=colour(side))


def colour(side: int) -> str:
    """The colour of a side by its number, the base's 0."""
    return SERIES[side % len(SERIES)]


def mark(side: int) -> str:
    """The marker of a side by its number."""
    return MARKERS[side % len(MARKERS)]


def _in_points(line: MetricChange) -> bool:
    return line.digits == 1 and np.isfinite(line.gap.low)


def _called(line: MetricChange) -> str:
    where = " ".join(filter(None, (line.task, line.group.split("/")[-1])))
    return f"{where}: {called(line.metric)}" + {"higher": " ↑", "lower": " ↓", "neither": ""}[line.better]


def called(metric: str) -> str:
    """A metric's name as read."""
    return {"d_prime": "d′"}.get(metric, metric.replace("_", " "))


def short(name: str, most: int = 32) -> str:
    """A name that fits into a legend, with nothing that matplotlib reads as mathematics."""
    return (name if len(name) <= most else f"{name[: most - 1]}…").replace("$", r"\$")


def plane(points: Mapping[str, Mapping[str, tuple[float, float]]]) -> Plot:
    """Hit rate against false-alarm rate (side → group → (false alarms, hits)) among curves of equal d′."""

    def draw() -> Figure:
        figure, axes = axes_of(5, 4.6)
        rate = np.linspace(0.001, 0.999, 200)
        for d in (0, 0.5, 1, 1.5, 2, 3):
            axes.plot(rate, ndtr(ndtri(rate) + d), color=FAINT, linewidth=1)
            axes.text(
                0.5 - 0.13 * d, float(ndtr(ndtri(max(0.5 - 0.13 * d, 0.02)) + d)), f"d′ {d:g}", fontsize=7, color=INK
            )
        groups = list(dict.fromkeys(group for by_group in points.values() for group in by_group))
        first = next(iter(points.values()))
        for i, (name, by_group) in enumerate(points.items()):
            for group, (alarms, hits) in by_group.items():
                axes.plot([alarms], [hits], mark(groups.index(group)), color=colour(i), zorder=3)
                if i and group in first:
                    arrow = {"arrowstyle": "->", "color": colour(i), "shrinkA": 5, "shrinkB": 5}
                    axes.annotate("", (alarms, hits), first[group], arrowprops=arrow)
            axes.plot([], [], "_", color=colour(i), markeredgewidth=3, label=short(name))
        for group in groups:
            axes.plot([], [], mark(groups.index(group)), color=INK, fillstyle="none", label=short(group))
        axes.set(
            xlabel='says "yes" where the answer is no', ylabel='says "yes" where it is yes', xlim=(0, 1), ylim=(0, 1)
        )
        legend(axes)
        return figure

    says = "Along a curve only the readiness to say yes changes; across curves, discrimination does."
    return Plot("signal-detection", "Sight or bias", says, draw)


def calibration(sides: Mapping[str, Believed], task: str) -> Plot:
    """Share of yes among answers of the same p(yes), and error rate against coverage."""

    def draw() -> Figure:
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=FAINT)
        for i, (name, one) in enumerate(sides.items()):
            bins = reliability(one)
            left.plot(
                [b["p"] for b in bins], [b["yes"] for b in bins], mark(i) + "-", color=colour(i), label=short(name)
            )
            curve = risk_coverage(one)
            right.plot([x for x, _ in curve], [100 * y for _, y in curve], LINES[i % len(LINES)], color=colour(i))
        left.set(xlabel="p(yes)", ylabel="share that is yes", xlim=(0, 1), ylim=(0, 1), title="Reliability")
        right.set(xlabel="coverage", ylabel="% wrong", xlim=(0, 1), title="Risk")
        legend(left)
        return figure

    return Plot(
        f"reliability-{task}",
        f"Does it know what it knows? {task}",
        "Calibration of p(yes), from the first answer token; risk as the least sure are left out.",
        draw,
    )


def margins(sides: Mapping[str, Sequence[float]], task: str) -> Plot:
    """How far the true caption is above its nearest rival: share of rows below each margin."""

    def draw() -> Figure:
        figure, axes = axes_of(5.5, 3.2)
        axes.axvline(0, color=INK, linewidth=1)
        for i, (name, values) in enumerate(sides.items()):
            ordered = np.sort(np.asarray(values))
            share = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
            axes.step(ordered, share, LINES[i % len(LINES)], where="post", color=colour(i), label=short(name))
        axes.set(
            xlabel="margin: true caption less best rival",
            ylabel="% of rows at most here",
            ylim=(0, 100),
        )
        legend(axes)
        return figure

    return Plot(f"margins-{task}", f"Caption margins: {task}", "Rows left of 0 rank a false caption first.", draw)


def classes(found: Mapping[str, Objects], most: int = 14) -> Plot:
    """The objects claimed falsely most often, with credible intervals."""

    def draw() -> Figure:
        rated = {name: {c.name: c.claimed for c in one.classes if c.claimed} for name, one in found.items()}
        first = next(iter(rated.values()))
        names = sorted(first, key=lambda name: -first[name].value)[:most]
        figure, axes = axes_of(6.5, 0.7 + 0.34 * len(names))
        for i, (side, by_name) in enumerate(rated.items()):
            for y, name in enumerate(names):
                if name in by_name:
                    rate, at = by_name[name], y + 0.2 * (i - (len(rated) - 1) / 2)
                    axes.plot([100 * rate.low, 100 * rate.high], [at, at], color=colour(i))
                    axes.plot([100 * rate.value], [at], mark(i), color=colour(i))
            axes.plot([], [], mark(i), color=colour(i), label=short(side))
        axes.set_yticks(range(len(names)), [short(name) for name in names])
        axes.invert_yaxis()
        axes.set(xlabel="% answered yes though absent", xlim=(0, 100))
        legend(axes)
        return figure

    return Plot(
        "objects", "Which objects are invented", "Rates of false claims, shrunk towards the mean of all objects.", draw
    )


def efficiency(points: Sequence[tuple[float, Any]], metric: str) -> Plot:
    """A headline against the share of training data, with intervals."""

    def draw() -> Figure:
        figure, axes = axes_of(5.5, 3.2)
        share = [x for x, _ in points]
        axes.fill_between(
            share, [e.low for _, e in points], [e.high for _, e in points], color=SERIES[1], alpha=0.2, linewidth=0
        )
        axes.plot(share, [e.value for _, e in points], "o-", color=SERIES[1])
        axes.set(xlabel="% of the training data", ylabel=metric)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks(share, [f"{x:g}" for x in share])
        axes.minorticks_off()
        return figure

    return Plot("data-efficiency", "How much data it takes", "The same recipe on growing shares of the data.", draw)
