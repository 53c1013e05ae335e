"""Published values, each with its source: facts to stand beside our own numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from harness.errors import UsageError

Values = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Published:
    """One model's published numbers on one task: group → metric → value. ``usual`` marks the one shown unasked."""

    task: str
    model: str
    source: str
    values: Values
    note: str = ""
    params: str = ""
    usual: bool = False


@cache
def entries() -> Sequence[Published]:
    """Every published result that is packaged."""
    text = resources.files("harness.scoring").joinpath("published.json").read_text(encoding="utf-8")
    return [Published(**row) for row in json.loads(text)]


def of(task: str) -> list[Published]:
    """What is published on this task."""
    return [entry for entry in entries() if entry.task == task]


def about(spec: str) -> list[Published]:
    """What is published on a task as it was asked: on this very source of it, else on the task."""
    return of(spec) or of(spec.partition("?")[0])


def chosen(task: str, name: str) -> list[Published]:
    """The published models whose name holds these words, the usual one without any; UsageError where none does."""
    known = of(task)
    if not name:
        return [entry for entry in known if entry.usual]
    exact = [entry for entry in known if entry.model.casefold() == name.casefold()]
    found = exact or [entry for entry in known if name.casefold() in entry.model.casefold()]
    if not found:
        raise UsageError(
            f"nothing published on {task} is called '{name}'; there is {', '.join(e.model for e in known)}"
        )
    return found


def named_in(task: str, file_name: str) -> str:
    """The published model that a file's name holds, the longest where several do; "" where none."""
    told = _plain(file_name)
    return max((e.model for e in of(task) if _plain(e.model) in told), key=len, default="")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def beside(task: str, name: str, ours: Values, intervals: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each published value with ours, and whether it lies within our 95 % interval (None where there is none)."""
    rows = []
    for entry in chosen(task, name):
        for group, metrics in entry.values.items():
            for metric, value in metrics.items():
                if metric not in ours.get(group, {}):
                    continue
                mine, (low, high) = float(ours[group][metric]), intervals[group][metric]
                told = mine == mine and low == low
                rows.append(
                    {
                        "model": entry.model,
                        "source": entry.source,
                        "group": group,
                        "metric": metric,
                        "published": value,
                        "ours": round(mine, 1) if mine == mine else None,
                        "within": bool(low <= value <= high) if told else None,
                    }
                )
    return rows
