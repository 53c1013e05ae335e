"""What ``study plan`` measures and prints: the jobs, and what each sort of them is expected to cost."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness.compute.forecast import duration
from harness.console import out, print_json, say
from harness.study import costs, measure
from harness.study import jobs as listing
from harness.study.costs import Cost
from harness.study.jobs import Job

if TYPE_CHECKING:
    from harness.cli.studying import Work


def plan(work: Work, estimate: bool, as_json: bool) -> None:
    """Prints the plan, with ``estimate`` after measuring a little of each sort of job."""
    if estimate:
        _measure(work)
    _print(work, as_json)


def _measure(work: Work) -> None:
    """Does a little of each sort of job for real, and keeps what it says of all in this machine's cache."""
    once: dict[str, Job] = {}
    for job in listing.once(work.jobs):
        once.setdefault(job.sort.digest, job)
    work.bench.paired(work.study.base, "")  # what is imported once is no job's cost
    for number, job in enumerate(once.values(), 1):
        say(f"measuring {number} of {len(once)}: {job.sort.says}")
        found = measure.forecast(job, work.study.base, work.bench)
        if found:
            costs.keep(job.sort, work.bench.options.place, found)
        else:
            say(f"{job.sort.says}: its recipe cannot say what it costs")


def _print(work: Work, as_json: bool) -> None:
    """What will be done, in order, what is done already, and what it is expected to cost."""
    unique = listing.once(work.jobs)
    found = costs.of(unique, work.place.root, work.bench.options.place)
    if as_json:
        _print_json(unique, found)
        return
    table = Table("", "job", "address", header_style="bold")
    for job in unique:
        table.add_row("done" if job.done else "", job.says, job.address.name)
    out().print(table)
    out().print(cost_table(found))
    for line in _summary(work, found):
        out().print(line, markup=False, soft_wrap=True)


def _print_json(jobs: Sequence[Job], found: Sequence[Cost]) -> None:
    rows = [{"job": job.says, "done": job.done, "address": job.address.name} for job in jobs]
    left = {"left": listing.counted(listing.left(jobs)), "seconds": seconds(found)}
    print_json({"jobs": rows, **left, "costs": [one.record() for one in found]})


def cost_table(found: Sequence[Cost]) -> Table:
    """A row for each sort of job, and for each stage or task of it."""
    table = Table(*costs.HEAD, header_style="bold")
    for one in found:
        for row in costs.cells(one):
            table.add_row(*row)
    return table


def seconds(found: Sequence[Cost]) -> dict[str, float]:
    """Seconds that the jobs left will take, by kind, as far as anything is known of them."""
    left: dict[str, float] = {}
    for one in found:
        if one.left and one.seconds is not None:
            left[one.kind] = left.get(one.kind, 0.0) + one.left * one.seconds
    return left


def _summary(work: Work, found: Sequence[Cost]) -> Iterator[str]:
    """How long what is left will take, and what nothing is known of."""
    left = [one for one in found if one.left]
    by_kind: dict[str, Any] = {kind: [one for one in left if one.kind == kind] for kind in ("train", "align", "ask")}
    expected = seconds(found)
    for kind, some in by_kind.items():
        known = f", about {duration(expected[kind])}" if kind in expected else ""
        yield from [f"{kind}: {sum(one.left for one in some)} left{known}"] if some else []
    if expected:
        hours = sum(one.left * _hours(one) for one in left)
        yield f"together about {duration(sum(expected.values()))} in one process, {hours:.2g} {_chip(found)}-hours"
    unknown = [one.sort.says for one in left if one.seconds is None]
    if unknown:
        yield f"not measured yet: {'; '.join(unknown)}"
        yield f"a little of each, measured: {_command(work)}"


def _hours(cost: Cost) -> float:
    if cost.took:
        return cost.took.seconds * cost.took.chips / 3600
    return sum(one.hours for one in cost.expected.values())


def _chip(found: Sequence[Cost]) -> str:
    devices = {one.took.device for one in found if one.took} | {f.device for c in found for f in c.expected.values()}
    return "core" if devices == {"cpu"} else "GPU" if "cpu" not in devices else "chip"


def _command(work: Work) -> str:
    """The command that measures a little of everything."""
    options = work.bench.options
    words = ["ohd-bench", "study", "plan", work.name, "--data", options.data, *(["--quick"] if work.quick else [])]
    words += ["--device", options.device] if options.device != "auto" else []
    words += ["--allow-outside"] if options.allow_outside else []
    words += [word for folder in options.include for word in ("--include", str(folder))]
    return shlex.join([*words, "--estimate"])
