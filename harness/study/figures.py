"""A study's figures: gain over the share of the data, contrasts as a forest, gain against forgetting, the ladder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from harness.comparison import compare
from harness.report.plots import FAINT, INK, SERIES, Plot, axes_of, mark, plain_numbers, short
from harness.study.findings import Findings, Row, headlines, named, place_of
from harness.study.schema import BASE
from harness.types import OF_ENCODERS


def drawn(findings: Findings) -> list[Plot]:
    """Every figure that these findings have something for."""
    ranked = [name for name, task in findings.tasks.items() if task.mode in OF_ENCODERS]
    found = [
        by_share(findings, name) for name in ranked if any(len(a.fractions) > 1 for a in findings.study.arms.values())
    ]
    found += [forest(findings)] if any(headlines(one) for one in findings.contrasts) else []
    found += [pareto(findings, *ranked[:2])] if len(ranked) > 1 else []
    found += [ladder(findings)] if len({cell.rung for cell in findings.cells} - {""}) > 1 else []
    return found


def column_of(findings: Findings, task: str) -> str:
    """The column that stands for a task: its headline, in the group where the summary shows it."""
    group, metric = compare.headline(findings.tasks[task])
    return f"{group}:{metric}" if group else metric


def by_share(findings: Findings, task: str) -> Plot:
    """The mean over trainings at each share of the data, in a band of its 95 % interval (the paper's Figure 2)."""
    column = column_of(findings, task)

    def draw() -> Figure:
        figure, axes = axes_of(5.5, 3.4)
        rows = findings.rows(task, [column])
        for i, (name, arm) in enumerate((n, a) for n, a in findings.study.arms.items() if len(a.fractions) > 1):
            mine = [(row.cell.fraction, row.means[0]) for row in rows if row.cell.arm == name and not row.cell.rung]
            points = sorted((100 * share, mean) for share, mean in mine if mean is not None)
            colour = SERIES[i % len(SERIES)]
            x = [share for share, _ in points]
            axes.fill_between(
                x, [m.low for _, m in points], [m.high for _, m in points], color=colour, alpha=0.2, linewidth=0
            )
            axes.plot(x, [m.value for _, m in points], f"{mark(i)}-", color=colour, label=short(arm.title or name))
            for share, mean in points:
                axes.plot([share] * len(mean.seeds), mean.seeds, ".", color=colour, markersize=4)
        for row in rows:
            if row.cell.arm == BASE and not row.cell.rung and row.means[0] is not None:
                axes.axhline(row.means[0].value, color=INK, linewidth=1, linestyle="--", label="base")
        axes.set(xlabel="% of the training data", ylabel=f"{task} {column}", xscale="log")
        plain_numbers(axes.xaxis)
        axes.legend()
        return figure

    says = "Mean over trainings with its 95 % interval over trainings and images; dots are single trainings."
    return Plot(f"by-share-{task}", f"How much data it takes: {task}", says, draw)


def forest(findings: Findings) -> Plot:
    """Every contrast with its intervals, in each task's headline and the first column of its table."""
    first = {(name, *place_of(task, column_of(findings, name))) for name, task in findings.tasks.items()}
    first |= {
        (name, *place_of(task, column))
        for name, task in findings.tasks.items()
        for column in _shown(findings, name)[:1]
    }
    rows = [
        (one, line)
        for one in findings.contrasts
        for line in headlines(one)
        if (line.task, line.group, line.metric) in first
    ]

    def draw() -> Figure:
        heads = len({id(one) for one, _ in rows})
        figure, axes = axes_of(7.5, 0.6 + 0.21 * (len(rows) + 1.6 * heads))
        axes.axvline(0, color=INK, linewidth=1)
        ticks: list[tuple[float, str]] = []
        y, last = 0.0, None
        for one, line in rows:
            if one is not last:
                y, last = y + 1.6, one
                rung = f" · {findings.study.alignments[one.rung].title or one.rung}" if one.rung else " · encoders"
                axes.text(0, y - 0.75, short(f"{one.contrast.says} over {one.contrast.over}{rung}", 90), fontsize=8,
                          fontweight="bold", ha="center", color=INK)  # fmt: skip
            good = (line.gap.value > 0) == (line.better == "higher")
            sure = line.adjusted < 0.05
            colour = (SERIES[2] if good else SERIES[4]) if sure else FAINT
            axes.plot([line.gap.low, line.gap.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round")
            axes.plot([line.gap.value], [y], "o", color=colour if sure else INK, markersize=4)
            ticks.append((y, named(line) + {"higher": " ↑", "lower": " ↓"}.get(line.better, "")))
            y += 1
        axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=7)
        axes.set_ylim(y, 0)
        axes.set_xlabel("points, with 95 % intervals over trainings and images")
        return figure

    says = "Coloured where p, adjusted for every line (Holm), is below 0.05: green for the better, red for the worse."
    return Plot("contrasts", "What is told apart", says, draw)


def pareto(findings: Findings, first: str, second: str) -> Plot:
    """Two tasks of encoders against each other: what is gained, and what is forgotten for it."""
    columns = column_of(findings, first), column_of(findings, second)

    def draw() -> Figure:
        figure, axes = axes_of(6.2, 4.2)
        pairs = zip(findings.rows(first, columns[:1]), findings.rows(second, columns[1:]), strict=True)
        for i, (x, y) in enumerate(pair for pair in pairs if not pair[0].cell.rung and pair[0].cell.control == "none"):
            gain, kept = x.means[0], y.means[0]
            if gain is None or kept is None:
                continue
            colour = INK if x.cell.arm == BASE else SERIES[i % len(SERIES)]
            axes.errorbar(gain.value, kept.value, xerr=_half(gain), yerr=_half(kept), fmt=mark(i), color=colour,
                          elinewidth=0.8, label=short(x.title, 44))  # fmt: skip
        axes.set(xlabel=f"{first} {columns[0]}", ylabel=f"{second} {columns[1]}")
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    says = "Up and to the right is better on both; bars are 95 % intervals over trainings and images."
    return Plot("gain-and-forgetting", "Gain and forgetting", says, draw)


def _half(mean: object) -> float:
    half = mean.high - mean.value  # type: ignore[attr-defined]
    return float(half) if np.isfinite(half) else 0.0


def ladder(findings: Findings) -> Plot:
    """The LVLM's headlines on each rung of alignment, for every arm that is grown in."""
    wanted = [
        (name, column)
        for name, task in findings.tasks.items()
        if task.mode not in OF_ENCODERS
        for column in _shown(findings, name)
    ]

    def draw() -> Figure:
        figure = Figure(figsize=(3.1 * len(wanted), 3.2), layout="constrained")
        rungs = list(findings.study.alignments)
        for axes, (task, column) in zip(figure.subplots(1, len(wanted), squeeze=False)[0], wanted, strict=True):
            rows = [row for row in findings.rows(task, [column]) if row.cell.rung and row.cell.control == "none"]
            arms = list(dict.fromkeys(row.cell.arm for row in rows))
            for i, arm in enumerate(arms):
                _rungs(axes, [row for row in rows if row.cell.arm == arm], rungs, (i - (len(arms) - 1) / 2) * 0.16, i)
            axes.set_xticks(range(len(rungs)), [short(r, 14) for r in rungs], fontsize=8)
            axes.set_title(f"{task} {column}", fontsize=9)
        axes.legend(fontsize=8)
        return figure

    return Plot("ladder", "The ladder of alignment", "Each arm's mean on each rung, with 95 % intervals.", draw)


def _shown(findings: Findings, task: str) -> list[str]:
    """The columns of a task that a study's figure has room for: what its table asks for, at most three."""
    asked = [column for table in findings.study.tables if table.task == task for column in table.columns]
    return (asked or [column_of(findings, task)])[:2]


def _rungs(axes: object, rows: Sequence[Row], rungs: Sequence[str], shift: float, i: int) -> None:
    at = [(rungs.index(row.cell.rung) + shift, row.means[0]) for row in rows if row.means[0] is not None]
    axes.errorbar(  # type: ignore[attr-defined]
        [x for x, _ in at], [m.value for _, m in at if m], yerr=[_half(m) for _, m in at], fmt=mark(i),
        color=SERIES[i % len(SERIES)], elinewidth=1.4, label=rows[0].cell.arm if rows else "",
    )  # fmt: skip
