"""A comparison's tables as CSV and LaTeX, its figures as PDF and SVG."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from harness.comparison.compare import Comparison, MetricChange
from harness.comparison.metric_table import number
from harness.report.page import Material, figures
from harness.shown import csv_cell, one_line

COLUMNS = (
    "base", "candidate", "task", "group", "metric", "better", "base_value", "base_low", "base_high", "candidate_value",
    "candidate_low", "candidate_high", "difference", "difference_low", "difference_high", "p", "p_holm", "detectable",
)  # fmt: skip
_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "±": r"$\pm$", "·": r"$\cdot$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "…": r"\ldots{}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "′": "$'$", "→": r"$\rightarrow$", "–": "--",
}  # fmt: skip


def write(material: Material, folder: Path) -> Iterator[Path]:
    """Write every table and figure, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    yield _text(folder / "comparison.csv", table_csv(material))
    yield _text(folder / "comparison.tex", table_tex(material))
    for plot in figures(material):
        for kind in ("pdf", "svg"):
            path = folder / f"{plot.name}.{kind}"
            path.write_bytes(plot.file(kind))
            yield path


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def table_csv(material: Material) -> str:
    """Every line of every comparison, unrounded."""
    kept = io.StringIO()
    writer = csv.writer(kept)
    writer.writerow(COLUMNS)
    for one in material.found:
        for line in one.lines():
            writer.writerow([csv_cell(cell) for cell in (one.base.name, one.candidate.name, *_cells(line))])
    return kept.getvalue()


def _cells(line: MetricChange) -> list[object]:
    a, b, d = line.base, line.candidate, line.gap
    numbers = (a.value, a.low, a.high, b.value, b.low, b.high, d.value, d.low, d.high, d.p, line.adjusted)
    shown = ["" if x != x else repr(float(x)) for x in (*numbers, line.detectable)]
    return [line.task, line.group, line.metric, line.better, *shown]


def table_tex(material: Material) -> str:
    """A booktabs table for each comparison."""
    return "\n".join(_tabular(one) for one in material.found)


def _tabular(one: Comparison) -> str:
    head = f"% {tex(one.base.name)} -> {tex(one.candidate.name)}; needs booktabs\n"
    lines = [
        r"\begin{tabular}{llrrrr}",
        r"\toprule",
        r"task & metric & base & candidate & $\Delta$ [95\,\%] & $p$ (Holm) \\",
    ]
    lines.append(r"\midrule")
    for line in one.lines():
        where = " ".join(filter(None, (line.task, line.group.split("/")[-1])))
        arrow = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "neither": ""}[line.better]
        d, g = line.digits, line.gap
        change = f"${g.value:+.{d}f}$" + (f" $[{g.low:+.{d}f}, {g.high:+.{d}f}]$" if g.low == g.low else "")
        p = "--" if line.adjusted != line.adjusted else "$<$0.001" if line.adjusted < 0.001 else f"{line.adjusted:.3f}"
        cells = [tex(where), tex(line.metric.replace("_", " ")) + arrow]
        lines.append(
            " & ".join([*cells, number(line.base.value, d), number(line.candidate.value, d), change, p]) + r" \\"
        )
    return head + "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def tex(text: str) -> str:
    """The text with what LaTeX would read as markup escaped."""
    return "".join(_TEX.get(letter, letter) for letter in one_line(text))
