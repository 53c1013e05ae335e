"""A study's page in one HTML file, and all of it as CSV, LaTeX, JSON, PDF and SVG beside."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from harness import durable, shown
from harness.export.booktabs import tex
from harness.store import write_json
from harness.study import costs, figures, tables
from harness.study.costs import Cost
from harness.study.findings import Findings, named, verdicts
from harness.study.schema import Table
from harness.study.tables import Printed


@dataclass(frozen=True)
class Standing:
    """How far the study is, and on what: jobs left, seeds, whether it is quick, whether the data is real."""

    left: int
    seeds: tuple[int, ...]
    quick: bool
    data: str

    @property
    def real(self) -> bool:
        """Whether the data is not the micro world's."""
        return self.data != "micro"


def write(findings: Findings, standing: Standing, out: Path, spent: Sequence[Cost] = ()) -> Iterator[Path]:
    """Writes the page, every table and figure, what it cost; gives their paths, the page's first."""
    out.mkdir(parents=True, exist_ok=True)
    found = tables.printed(findings, standing.real)
    yield _text(out / "index.html", html(findings, standing, found, spent))
    for table in found:
        yield _text(out / f"{table.name}.csv", _csv(_table_rows(findings, table.asked)))
        yield _text(out / f"{table.name}.tex", _tex(table))
    yield _text(out / "contrasts.csv", _csv(_contrast_rows(findings)))
    for plot in figures.drawn(findings):
        for kind in ("pdf", "svg"):
            path = out / f"{plot.name}.{kind}"
            durable.output(path, plot.file(kind))
            yield path
    write_json(out / "study.json", plain(findings, standing) | {"costs": _plain([one.record() for one in spent])})
    yield out / "study.json"


def html(findings: Findings, standing: Standing, found: Sequence[Printed], spent: Sequence[Cost]) -> str:
    """The page."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    css = resources.files("harness.report").joinpath("page.css").read_text(encoding="utf-8")
    template = resources.files("harness.study").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        css=css + "\n.quoted { font-style: italic; }\n",
        study=findings.study,
        micro=not standing.real,
        quick=standing.quick,
        unfinished=standing.left,
        verdicts=verdicts(findings),
        plots=[(plot, plot.svg()) for plot in figures.drawn(findings)],
        tables=found,
        quoted=any(row.quoted for table in found for row in table.rows),
        contrasts=[tables.contrast(findings, one) for one in findings.contrasts],
        cost_head=costs.HEAD,
        costs=[row for one in spent for row in costs.cells(one)],
        identity=list(_identity(findings, standing)),
    )


def _identity(findings: Findings, standing: Standing) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    seeds = ", ".join(map(str, standing.seeds))
    facts = [
        ("base", findings.study.base),
        ("LVLM", findings.study.lvlm or "–"),
        ("data", standing.data),
        ("seeds", seeds),
    ]
    yield findings.study.name, facts
    for cell, group in findings.cells.items():
        yield str(cell), [(f"run {n}", side.run.id) for n, side in enumerate(group.sides, 1) if side.run]


def _text(path: Path, text: str) -> Path:
    durable.output(path, text)
    return path


def _csv(rows: Iterable[Sequence[object]]) -> str:
    kept = io.StringIO()
    csv.writer(kept).writerows([shown.csv_cell(value) for value in row] for row in rows)
    return kept.getvalue()


ENDS = ("", "_low", "_high")
CONTRASTS = (
    "base", "candidate", "on", "metric", "better", "base_value", "candidate_value", "difference", "low", "high", "p",
    "p_holm", "df", "var_seeds", "var_images", "half_images_alone", "half_one_more_seed", "half_1000_more_images",
)  # fmt: skip


def _table_rows(findings: Findings, table: Table) -> Iterator[Sequence[object]]:
    """A table unrounded: mean, low and high of each column."""
    yield ("arm", "trainings", *(f"{column}{end}" for column in table.columns for end in ENDS))
    for row in findings.rows(table.task, table.columns):
        values = [x for mean in row.means for x in ((mean.value, mean.low, mean.high) if mean else (None,) * 3)]
        yield (row.title, row.trainings, *map(_number, values))


def _contrast_rows(findings: Findings) -> Iterator[Sequence[object]]:
    yield CONTRASTS
    for one in findings.contrasts:
        for line in one.lines:
            d, of = line.gap, line.figures
            made = [of[name] if of else None for name in ("df", *CONTRASTS[-5:])]
            values = (line.base.value, line.candidate.value, d.value, d.low, d.high, d.p, line.adjusted, *made)
            names = (one.contrast.base, one.contrast.candidate, one.rung or "encoders", named(line), line.better)
            yield (*names, *map(_number, values))


def _number(value: float | None) -> str:
    return "" if value is None or value != value else repr(float(value))


def _tex(table: Printed) -> str:
    """A booktabs table."""
    rows = [" & ".join(tex(cell) for cell in row.cells) + r" \\" for row in table.rows]
    lines = [
        f"% {tex(table.title)}; needs booktabs",
        rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
        r"\toprule",
        " & ".join(tex(name) for name in table.head) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        "",
    ]
    return "\n".join(lines)


def plain(findings: Findings, standing: Standing) -> Any:
    """Everything as plain data: unrounded, what is not a number null."""
    cells = [
        {"cell": asdict(cell), "title": findings.title(cell), "runs": [side.run.id for side in group.sides if side.run],
         "trainings": group.trainings, "alignments": group.alignments}
        for cell, group in findings.cells.items()
    ]  # fmt: skip
    contrasts = [
        {"contrast": asdict(one.contrast), "rung": one.rung, "about": list(one.found.about),
         "lines": [asdict(line) for line in one.lines]}
        for one in findings.contrasts
    ]  # fmt: skip
    made = [
        {"title": table.title, "task": table.task,
         "rows": [{"cell": asdict(row.cell), "means": dict(zip(table.columns, map(_figures, row.means), strict=True))}
                  for row in findings.rows(table.task, table.columns)]}
        for table in findings.study.tables if table.task in findings.tasks
    ]  # fmt: skip
    return _plain({"standing": asdict(standing), "verdicts": verdicts(findings), "cells": cells, "tables": made,
                   "contrasts": contrasts})  # fmt: skip


def _figures(found: Any) -> Any:
    return None if found is None else {name: found[name] for name in ("value", "low", "high", "se", "df", "seeds")}


def _plain(thing: Any) -> Any:
    if isinstance(thing, Mapping):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(value) for value in thing]
    if isinstance(thing, float) and (thing != thing or thing in (float("inf"), float("-inf"))):
        return None
    return thing.item() if hasattr(thing, "item") else thing
