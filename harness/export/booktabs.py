"""LaTeX tables of comparisons (booktabs, by pandas' Styler): all models in one, and base and candidate alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.comparison.compare import Comparison, Key, MetricChange
from harness.comparison.metric_table import number
from harness.kept_runs import slug
from harness.shown import one_line

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_COLUMNS = 8
"""So many metrics stand beside each other; where there are more, the models do."""
ARROW = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "neither": ""}
_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "±": r"$\pm$", "·": r"$\cdot$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "…": r"\ldots{}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "′": "$'$", "→": r"$\rightarrow$", "–": "--",
    "Δ": r"$\Delta$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def of_all(found: Sequence[Comparison], named: Sequence[Key] = ()) -> str:
    """One float with every model: each task's summary, or the metrics named; as many digits as the benchmark prints.

    A candidate's value has a star where its difference to the base leaves out 0, and is bold where that is better.
    """
    import pandas as pd

    lines = [one.named(named) if named else one.lines() for one in found]
    heads = _by_task(list({line.key: line for every in lines for line in every}.values()))
    base = {line.key: number(line.base.value, line.digits) for every in reversed(lines) for line in every}
    rows = {found[0].base.name: base} | {
        one.candidate.name: {line.key: _marked(line) for line in every} for one, every in zip(found, lines, strict=True)
    }
    columns = pd.MultiIndex.from_tuples([_head(line) for line in heads])
    cells = [[row.get(line.key, "--") for line in heads] for row in rows.values()]
    frame = pd.DataFrame(cells, index=[tex(name) for name in rows], columns=columns)
    if len(heads) > MOST_COLUMNS:
        frame = frame.T
    images = ", ".join(f"{task.task.name}: {task.images:,}" for task in found[0].tasks if _shows(task.task.name, heads))
    caption = (
        f"{tex(found[0].base.name)} and what is compared with it. $^{{*}}$: the difference to it, paired by image, "
        rf"leaves out 0 in its 95\,\% interval; \textbf{{bold}}: for the better. Images: {tex(images)}."
    )
    return "% needs booktabs\n" + _float(frame, caption + _world(found[0]))


def of_pair(one: Comparison, named: Sequence[Key] = ()) -> str:
    """A float of base and candidate with each difference, its interval and p adjusted for all lines (Holm)."""
    import pandas as pd

    heads = ["task", "metric", "base", "candidate", r"$\Delta$ [95\,\%]", "$p$ (Holm)"]
    frame = pd.DataFrame([_row(line) for line in (one.named(named) if named else one.lines())], columns=heads)
    sides = f"Base: {tex(one.base.name)}; candidate: {tex(one.candidate.name)}."
    caption = f"{sides} Intervals and $p$ by resampling images; $p$ allows for every line of this table.{_world(one)}"
    written = frame.style.hide(axis="index").to_latex(
        hrules=True, column_format="llrrrr", caption=caption, position="t", position_float="centering",
        environment="table*", label=f"tab:{slug(one.candidate.name)}",
    )  # fmt: skip
    return "% needs booktabs\n" + _small(str(written))


def _float(frame: DataFrame, caption: str) -> str:
    levels = frame.index.nlevels
    text = frame.style.to_latex(
        hrules=True, column_format="l" * levels + "r" * frame.shape[1], multicol_align="c", multirow_align="naive",
        caption=caption, label="tab:ohd-bench", position="t", position_float="centering", environment="table*",
        clines="skip-last;data" if levels > 1 else None,
    )  # fmt: skip
    return _small(str(text))


def _small(text: str) -> str:
    """The float in the size of letters that tables have."""
    return text.replace("\\centering\n", "\\centering\n\\small\n\\setlength{\\tabcolsep}{4pt}\n", 1)


def _world(one: Comparison) -> str:
    if one.base.manifest.get("world") != "micro":
        return ""
    return " Micro world: a procedural bench of the tool, not a benchmark of real models."


def _head(line: MetricChange) -> tuple[str, str]:
    group = line.group.split("/")[-1]
    return tex(line.task), tex(" ".join(filter(None, (group, line.metric.replace("_", " "))))) + ARROW[line.better]


def _by_task(lines: Sequence[MetricChange]) -> list[MetricChange]:
    """The same with each task's lines together, tasks in the order of their first."""
    tasks = list(dict.fromkeys(line.task for line in lines))
    return sorted(lines, key=lambda line: tasks.index(line.task))


def _shows(task: str, heads: Sequence[MetricChange]) -> bool:
    return any(line.task == task for line in heads)


def _marked(line: MetricChange) -> str:
    value = number(line.candidate.value, line.digits)
    if not (line.gap.low > 0 or line.gap.high < 0):
        return value
    better = line.better != "neither" and not line.worse
    return (rf"\textbf{{{value}}}" if better else value) + "$^{*}$"


def _row(line: MetricChange) -> list[str]:
    where = " ".join(filter(None, (line.task, line.group.split("/")[-1])))
    d, g = line.digits, line.gap
    change = f"${g.value:+z.{d}f}$" + (f" $[{g.low:+z.{d}f}, {g.high:+z.{d}f}]$" if g.low == g.low else "")
    p = "--" if line.adjusted != line.adjusted else "$<$0.001" if line.adjusted < 0.001 else f"{line.adjusted:z.3f}"
    values = [number(line.base.value, d), number(line.candidate.value, d)]
    return [tex(where), tex(line.metric.replace("_", " ")) + ARROW[line.better], *values, change, p]


def tex(text: str) -> str:
    """The text with what LaTeX would read as markup escaped."""
    return "".join(_TEX.get(letter, letter) for letter in one_line(text))
