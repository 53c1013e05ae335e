"""What each sort of job is expected to cost, by what was measured here, beside what those took that were done."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import durable
from harness.compute import memory
from harness.compute.forecast import Forecast, duration
from harness.data import cache_dir
from harness.journal import cut_torn_line
from harness.study.jobs import Job, Sort
from harness.types import Place as Compute

TAKEN = "costs.jsonl"
"""A line for each time a job was worked at: seconds, device, memory, and what had been expected of it."""


@dataclass(frozen=True)
class Took:
    """What jobs of one sort took: how many were done, the median of their seconds, the most memory."""

    jobs: int
    seconds: float
    device: str
    chips: int
    peak_bytes: int


@dataclass(frozen=True)
class Cost:
    """A sort of job: how many there are and are left, what one is expected to cost, and what one took."""

    sort: Sort
    kind: str
    jobs: int
    left: int
    expected: Mapping[str, Forecast]
    """By stage or task; empty where nothing was measured."""
    took: Took | None

    @property
    def expected_s(self) -> float | None:
        """Seconds that one is expected to take; None where nothing was measured."""
        return sum(one.seconds for one in self.expected.values()) if self.expected else None

    @property
    def seconds(self) -> float | None:
        """Seconds of one: what they took, else what is expected."""
        return self.took.seconds if self.took else self.expected_s

    def record(self) -> dict[str, Any]:
        """The numbers, for ``--json`` and the page's."""
        return {
            "kind": self.kind,
            "says": self.sort.says,
            "jobs": self.jobs,
            "left": self.left,
            "expected_s": self.expected_s,
            "expected": {name: one.record() for name, one in self.expected.items()},
            "took": asdict(self.took) if self.took else None,
        }


def of(jobs: Sequence[Job], root: Path, where: Compute) -> list[Cost]:
    """The cost of each sort of these jobs, in their order; ``root`` is the folder of the studies."""
    sorts: dict[str, dict[Path, Job]] = {}
    for job in jobs:
        sorts.setdefault(job.sort.digest, {})[job.address] = job
    taken = _taken(root)
    return [_cost(list(found.values()), taken.get(digest), where) for digest, found in sorts.items()]


def _cost(jobs: Sequence[Job], took: Took | None, where: Compute) -> Cost:
    sort, left = jobs[0].sort, sum(not job.done for job in jobs)
    return Cost(sort, type(jobs[0]).__name__.lower(), len(jobs), left, known(sort, where), took)


def known(sort: Sort, where: Compute) -> dict[str, Forecast]:
    """What was measured of this sort on this machine; empty where nothing was."""
    try:
        told = json.loads(_place(sort, where).read_text(encoding="utf-8"))
        return {name: Forecast.of(one) for name, one in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return {}


def keep(sort: Sort, where: Compute, found: Mapping[str, Forecast]) -> None:
    """Keeps what was measured of this sort in this machine's cache."""
    told = {name: one.record() for name, one in found.items()}  # in the order of stages and tasks
    with contextlib.suppress(OSError):  # a cache that cannot be written costs an estimate, and nothing else
        durable.replace(_place(sort, where), json.dumps(told))


def _place(sort: Sort, where: Compute) -> Path:
    return cache_dir() / "estimates" / f"job-{sort.digest}-{where.device.replace(':', '')}.json"


@contextlib.contextmanager
def noted(root: Path, job: Job, where: Compute) -> Iterator[dict[str, Any]]:
    """Notes what the job took while this was open, done or stopped; what is put into the dict goes before."""
    memory.begin()
    began, more = time.perf_counter(), dict[str, Any]()
    try:
        yield more
    finally:
        note(root, job, where, {"seconds": time.perf_counter() - began, **memory.spent(where), **more})


def note(root: Path, job: Job, where: Compute, spent: Mapping[str, Any]) -> None:
    """Notes seconds, device, chips and memory of a job, beside what was expected of its sort."""
    expected = known(job.sort, where)
    told = {"job": job.says, "address": job.address.name, "sort": job.sort.digest, "done": job.done, **spent}
    told["expected_s"] = sum(one.seconds for one in expected.values()) if expected else None
    root.mkdir(parents=True, exist_ok=True)
    cut_torn_line(root / TAKEN)
    with (root / TAKEN).open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


def _taken(root: Path) -> dict[str, Took]:
    """What jobs took, by their sort's digest; a job that was stopped and gone on with took both."""
    path = root / TAKEN
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    by_sort: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in lines:
        with contextlib.suppress(ValueError):  # torn by a kill
            told = json.loads(line)
            by_sort.setdefault(told["sort"], {}).setdefault(told["address"], []).append(told)
    found = {}
    for sort, jobs in by_sort.items():
        done = [times for times in jobs.values() if any(one["done"] for one in times)]
        if done:
            seconds = statistics.median(sum(one["seconds"] for one in times) for times in done)
            last = done[-1][-1]
            most = max(one["peak_bytes"] for times in done for one in times)
            found[sort] = Took(len(done), seconds, last["device"], last["chips"], most)
    return found


HEAD = ("", "jobs", "left", "expected", "took", "chip-hours", "peak", "to read", "measured")


def cells(cost: Cost) -> Iterator[tuple[str, ...]]:
    """The rows of a table under HEAD: one a sort, and where it has several stages or tasks one for each."""
    took, counted = cost.took, (str(cost.jobs), str(cost.left))
    one_took = duration(took.seconds) if took else "–"
    if len(cost.expected) == 1:
        ((name, one),) = cost.expected.items()
        yield (cost.sort.says + (f": {name}" if name else ""), *counted, duration(one.seconds), one_took, *_told(one))
        return
    whole = cost.expected_s
    hours = sum(one.hours for one in cost.expected.values())
    peak = max((one.peak_bytes for one in cost.expected.values()), default=took.peak_bytes if took else 0)
    if took and not cost.expected:
        hours = took.seconds * took.chips / 3600
    shown = ("–", "–") if not peak else (f"{hours:.2g}", f"{peak / 1e9:.1f} GB")
    yield (cost.sort.says, *counted, "–" if whole is None else duration(whole), one_took, *shown, "", "")
    for name, one in cost.expected.items():
        yield (f"  {name}", "", "", duration(one.seconds), "", *_told(one))


def _told(one: Forecast) -> tuple[str, ...]:
    part = one.parts[0] if one.parts else None
    measured = f"{part.done:,} of {part.of:,} {part.what}" if part else ""
    return f"{one.hours:.2g}", f"{one.peak_bytes / 1e9:.1f} GB", f"{one.read_bytes / 1e6:,.0f} MB", measured
