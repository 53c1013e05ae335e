"""The leaderboard as one HTML page that sorts and filters itself, and as a CSV file of unrounded values."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from io import StringIO
from typing import Any

import jinja2
from markupsafe import Markup

from harness.comparison import metric_table
from harness.report.standings import Column, Standing, Standings
from harness.report.tradeoffs import FORGETTING, Tradeoff, plot
from harness.shown import csv_cell, plain
from harness.stats import Difference, Estimate
from harness.types import Task

ARROW = {"higher": "\u00a0↑", "lower": "\u00a0↓", "neither": ""}
ABOUT = ("task", "rank", "encoder", "lvlm", "data", "remarks", "seeds", "date", "runs", "best")


def html(
    worlds: Mapping[str, Sequence[Standings]], folder: str, gained: Mapping[str, Sequence[Tradeoff]] | None = None
) -> str:
    """The page: a table a task, by the title of its world; runs are linked below ``folder``. It loads nothing.

    ``gained`` is drawn: what each way of training gained, and what it forgot.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda thing: plain(thing) if type(thing) is str else thing,
    )  # fmt: skip
    template = resources.files("harness.report").joinpath("board.html").read_text(encoding="utf-8")
    environment.filters["breakable"] = _breakable
    numbers = itertools.count()
    sections = [
        {
            "title": title,
            "tables": [{**table, "id": f"table-{next(numbers)}"} for one in found for table in _tables(one)],
            "plots": _plots(title, gained),
        }
        for title, found in worlds.items()
    ]
    return environment.from_string(template).render(sections=sections, folder=folder)


def _breakable(name: str) -> Markup:
    """The name of a model, which may be broken after what parts it and nowhere else."""
    return Markup("<wbr>").join(re.split(r"(?<=\w[/:?=&])", plain(name)))


def _plots(title: str, gained: Mapping[str, Sequence[Tradeoff]] | None) -> list[dict[str, str]]:
    found = (gained or {}).get(title)
    if not found:
        return []
    drawn = plot(found)
    return [{"title": drawn.title, "says": drawn.says, "svg": drawn.svg()}]


def _tables(one: Standings) -> list[dict[str, Any]]:
    return [
        {
            "title": " · ".join(filter(None, (one.task.name, apart))),
            "apart": bool(apart),
            "heads": [_head(one.task, column) for column in one.columns] + _forgotten_head(one),
            "rows": [
                {"row": row, "cells": [_cell(one.task, row, column) for column in one.columns] + _forgotten(one, row)}
                for row in rows
            ],
        }
        for apart, rows in one.parts().items()
        if rows
    ]


def _forgotten_head(one: Standings) -> list[str]:
    return [f"{FORGETTING} Δ to its base ↑"] if one.tells_forgetting else []


def _forgotten(one: Standings, row: Standing) -> list[dict[str, Any]]:
    if not one.tells_forgetting:
        return []
    value, _, spread = metric_table.gap(row.forgotten, 1).partition(" ")
    return [{"value": value, "spread": spread, "by": _plain(row.forgotten.value) if row.forgotten else ""}]


def _head(task: Task, column: Column) -> str:
    group, name = column
    return f"{group.split('/')[-1]} {name}".strip() + ARROW[task.metrics_of(group)[name].better]


def _cell(task: Task, row: Standing, column: Column) -> dict[str, Any]:
    found, digits = row.values[column], task.metrics_of(column[0])[column[1]].digits
    spread = metric_table.cell(found, digits).partition(" ")[2]
    return {"value": metric_table.number(found.value, digits), "spread": spread, "by": _plain(found.value)}


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else ""


def as_csv(worlds: Mapping[str, Sequence[Standings]]) -> str:
    """A row for each task, model and metric: its value and interval, unrounded."""
    page = StringIO()
    table = csv.writer(page, lineterminator="\n")
    table.writerow([*ABOUT, "group", "metric", "value", "low", "high"])
    for one in (one for found in worlds.values() for one in found):
        for rank, row in enumerate(one.rows, 1):
            about = [
                one.task.name, rank if row.whole else "", *row.models, row.data, "; ".join(row.marks), row.seeds,
                row.date, " ".join(row.runs), int(row.best),
            ]  # fmt: skip
            for (group, name), found in row.values.items():
                table.writerow(list(map(csv_cell, [*about, group or one.task.whole, name, *_ends(found)])))
            if row.forgotten:
                lost = [one.task.whole, f"{FORGETTING}_change", *_ends(row.forgotten)]
                table.writerow(list(map(csv_cell, [*about, *lost])))
    return page.getvalue()


def _ends(found: Estimate | Difference) -> list[float | str]:
    return [_plain(value) for value in (found.value, found.low, found.high)]
