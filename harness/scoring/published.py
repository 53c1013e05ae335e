"""Published values, each with its source: facts to stand beside our own numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from harness.errors import UsageError
from harness.registry import parse_spec

Values = Mapping[str, Mapping[str, float]]

OTHER_QUESTIONS = frozenset(("images", "labels", "questions", "scorer", "tokens"))
"""Options of a task that ask other questions than were published, or answer them in another way."""


@dataclass(frozen=True)
class Published:
    """One model's published numbers on one task: group → metric → value. ``usual`` marks the one shown unasked.

    ``data`` is the source (or sets) of the task that all of it is about, "" where each group is called by its own.
    """

    task: str
    model: str
    source: str
    values: Values
    note: str = ""
    params: str = ""
    usual: bool = False
    data: str = ""


@cache
def entries() -> Sequence[Published]:
    """Every published result that is packaged."""
    text = resources.files("harness.scoring").joinpath("published.json").read_text(encoding="utf-8")
    return [Published(**row) for row in json.loads(text)]


def of(task: str) -> list[Published]:
    """What is published on this task."""
    return [entry for entry in entries() if entry.task == task]


def about(spec: str) -> list[Published]:
    """What is published on a task as it was asked: on this very source of it, or on those groups of it that it asks.

    Numbers on other data, labels or scorers are about something else, and are not quoted.
    """
    asked = parse_spec(spec)
    if exact := of(spec):
        return exact
    if asked.options.keys() & OTHER_QUESTIONS:
        return []
    chosen = {name for key in ("source", "sets") for name in asked.options.get(key, "").split(",") if name}
    found = [_of_groups(entry, chosen) for entry in of(asked.name)]
    return [entry for entry in found if entry.values]


def _of_groups(entry: Published, chosen: Collection[str]) -> Published:
    if not chosen or set(chosen) == {entry.data}:
        return entry
    return replace(entry, values={group: values for group, values in entry.values.items() if group in chosen})


def chosen(task: str, name: str) -> list[Published]:
    """The published models whose name holds these words, the usual one without any; UsageError where none does.

    ``task`` is a spec: a model that is asked for by its name is looked for on all of the task.
    """
    if not name:
        return [entry for entry in about(task) if entry.usual]
    known = about(task) or of(parse_spec(task).name)
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
    return max((e.model for e in about(task) if _plain(e.model) in told), key=len, default="")


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
