"""A comparison's tables as CSV and LaTeX, its figures as PDF and SVG, for a paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from harness import durable
from harness.comparison.compare import MetricChange
from harness.comparison.metric_table import number
from harness.export import booktabs
from harness.report.page import Material, figures
from harness.shown import csv_cell

COLUMNS = (
    "base", "candidate", "task", "group", "metric", "better", "base_value", "base_low", "base_high", "candidate_value",
    "candidate_low", "candidate_high", "difference", "difference_low", "difference_high", "p", "p_holm", "detectable",
    "base_printed", "candidate_printed", "difference_printed",
)  # fmt: skip
"""Unrounded values; those ``printed`` have the digits that the benchmark's own script prints."""


def write(material: Material, folder: Path, width: float = 0) -> Iterator[Path]:
    """Write every table and figure, and give their paths; figures so wide, in inches, where a width is given."""
    folder.mkdir(parents=True, exist_ok=True)
    yield _text(folder / "comparison.csv", table_csv(material))
    yield _text(folder / "comparison.tex", "\n".join(booktabs.of_pair(one, material.named) for one in material.found))
    yield _text(folder / "table.tex", booktabs.of_all(material.found, material.named))
    for plot in figures(material):
        for kind in ("pdf", "svg"):
            path = folder / f"{plot.name}.{kind}"
            durable.output(path, plot.file(kind, width))
            yield path


def _text(path: Path, text: str) -> Path:
    durable.output(path, text)
    return path


def table_csv(material: Material) -> str:
    """Every line of every comparison, or of the metrics named: unrounded, and as printed."""
    kept = io.StringIO()
    writer = csv.writer(kept)
    writer.writerow(COLUMNS)
    for one in material.found:
        for line in one.named(material.named) if material.named else one.lines():
            writer.writerow([csv_cell(cell) for cell in (one.base.name, one.candidate.name, *_cells(line))])
    return kept.getvalue()


def _cells(line: MetricChange) -> list[object]:
    a, b, d = line.base, line.candidate, line.gap
    numbers = (a.value, a.low, a.high, b.value, b.low, b.high, d.value, d.low, d.high, d.p, line.adjusted)
    shown = ["" if x != x else repr(float(x) + 0.0) for x in (*numbers, line.detectable)]
    printed = [number(a.value, line.digits), number(b.value, line.digits), number(d.value, line.digits)]
    return [line.task, line.group, line.metric, line.better, *shown, *printed]
