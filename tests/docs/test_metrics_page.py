"""docs/metrics.md says of every task what each of its numbers is, where it comes from, its floor and its limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import registry

registry.load()
PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
TASKS = sorted(name for name, cls in registry.tasks.items() if cls.__module__.split(".")[0] == "tasks")


def sections(name: str) -> list[str]:
    """The parts of the page that speak of this task: under its own heading, or naming it."""
    parts = re.split(r"(?m)^## ", PAGE)[1:]
    return [part for part in parts if re.match(rf"{name}\b", part, re.IGNORECASE) or re.search(rf"`{name}[`?]", part)]


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_of_a_task_is_told_with_its_source(name: str) -> None:
    told = sections(name)
    assert any(re.search(r"arXiv \d{4}\.\d{4,5}", part) for part in told), f"no paper is named for {name}"
    words = set(re.findall(r"[\w@]+", PAGE))
    missing = [metric for metric in registry.tasks[name].metrics if not set(re.findall(r"[\w@]+", metric)) <= words]
    assert not missing


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_floor_and_says_what_it_cannot_tell(name: str) -> None:
    table = PAGE[PAGE.index("## Floors, and what each task cannot tell") :]
    [row] = [line for line in table.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
    floor, limits = (cell.strip() for cell in row.split("|")[2:4])
    assert floor and len(limits) > 20
