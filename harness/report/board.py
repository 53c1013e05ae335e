"""The leaderboard as one HTML page that sorts and filters itself, and as a CSV file of unrounded values."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from io import StringIO
from typing import Any

import jinja2

from harness.comparison import metric_table
from harness.report.standings import Column, Standing, Standings
from harness.shown import csv_cell, plain
from harness.stats import Estimate
from harness.types import Task

ARROW = {"higher": " ↑", "lower": " ↓", "neither": ""}
ABOUT = ("task", "rank", "encoder", "lvlm", "data", "remarks", "seeds", "date", "runs", "best")


def html(worlds: Mapping[str, Sequence[Standings]], folder: str) -> str:
    """The page: a table a task, by the title of its world; runs are linked below ``folder``. It loads nothing."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda thing: plain(thing) if type(thing) is str else thing,
    )  # fmt: skip
    template = resources.files("harness.report").joinpath("board.html").read_text(encoding="utf-8")
    sections = [
        {"title": title, "tables": [table for one in found for table in _tables(one)]}
        for title, found in worlds.items()
    ]
    return environment.from_string(template).render(sections=sections, folder=folder)


def _tables(one: Standings) -> list[dict[str, Any]]:
    return [
        {
            "title": " · ".join(filter(None, (one.task.name, apart))),
            "heads": [_head(one.task, column) for column in one.columns],
            "rows": [{"row": row, "cells": [_cell(one.task, row, column) for column in one.columns]} for row in rows],
        }
        for apart, rows in one.parts().items()
        if rows
    ]


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
    return page.getvalue()


def _ends(found: Estimate) -> list[float | str]:
    return [_plain(value) for value in (found.value, found.low, found.high)]
