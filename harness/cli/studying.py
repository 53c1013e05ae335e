"""What ``study`` gathers, does and prints."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import durable
from harness.asking import evaluate
from harness.asking.run_options import RunOptions
from harness.asking.workers import Workers
from harness.console import out, print_json, say, ticking
from harness.data import Data, resolve
from harness.errors import UsageError
from harness.study import checks, costs, findings, schema, spread
from harness.study import jobs as listing
from harness.study.findings import Findings
from harness.study.jobs import Ask, Job, Place, Planner
from harness.study.perform import Bench
from harness.study.schema import Study
from harness.types import Task

VERBS = ("new", "plan")


@dataclass(frozen=True)
class Work:
    """A study over its data, as a list of jobs."""

    name: str
    study: Study
    data: Data
    tasks: tuple[Task, ...]
    place: Place
    jobs: tuple[Job, ...]
    seeds: tuple[int, ...]
    quick: bool
    bench: Bench


def words(given: Sequence[str]) -> tuple[str, str]:
    """The verb (empty: do it) and the study's name; UsageError where they are not one or two words."""
    verb = given[0] if given[0] in VERBS else ""
    rest = list(given[1:] if verb else given)
    if len(rest) != 1:
        raise UsageError("study takes one name: study NAME, study plan NAME, study new FILE.toml")
    return verb, rest[0]


def write_new(name: str, data: str) -> None:
    """Writes a study to change and to run, after the bundled one of the paper."""
    path = Path(name if name.endswith(".toml") else f"{name}.toml")
    if path.exists():
        raise UsageError(f"{path} is there already; give another name")
    text = schema.text("paper", data == "micro").replace('name = "paper"', f'name = "{path.stem}"', 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.output(path, text)
    say(f"written: {path}; change it, then: {shlex.join(['ohd-bench', 'study', str(path), '--data', data])}")


def opened(name: str, data: str, root: Path, asked: Mapping[str, Any]) -> Work:
    """The study with its jobs; UsageError or DataError where it cannot be done here."""
    where = resolve(data, asked["allow_outside"])
    found = schema.load(name, data == "micro")
    checks.check(found)
    tasks = tuple(evaluate.open_task(task, where.root, where.outside) for task in found.tasks)
    place = Place(root)
    seeds = tuple(range(asked["seeds"] or found.seeds))
    names = dict(zip(found.tasks, (task.name for task in tasks), strict=True))
    found = replace(found, tables=tuple(replace(table, task=names[table.task]) for table in found.tables))
    planner = Planner(found, where, place, seeds, frozenset(task.mode for task in tasks), asked["quick"])
    # what --quick cuts may leave two arms alike that are not
    checks.check_shown(found, tasks, replace(planner, seeds=seeds[:1], quick=False).jobs())
    jobs = planner.jobs()
    options = RunOptions(
        tasks=found.tasks, data=data, results=place.results, device=asked["device"], include=asked["include"],
        workers=asked["workers"], ray=asked["ray"], allow_outside=asked["allow_outside"],
    )  # fmt: skip
    bench = Bench(options, where, ticking)
    return Work(name, found, where, tasks, place, tuple(jobs), seeds, asked["quick"], bench)


@contextmanager
def _spread(work: Work, todo: Sequence[Job]) -> Iterator[Bench]:
    """What does the jobs one by one; with ``--workers`` or ``--ray`` trainings and alignments are done by now."""
    if not work.bench.options.spread:
        yield work.bench
        return
    for job, spent in spread.trained(work.bench, todo, work.place.root, say):
        say(f"done in {spent['seconds']:,.0f} s: {job.says}")
        costs.note(work.place.root, job, work.bench.options.place, spent)
    with Workers(work.bench.options, say) as workers:
        yield replace(work.bench, workers=workers)


def perform(work: Work, as_json: bool) -> bool:
    """Does what is left and writes the page; whether nothing is left now."""
    todo = listing.left(work.jobs)
    done = len(listing.once(work.jobs)) - len(todo)
    if done:
        say(f"{done} jobs were done before")
    with _spread(work, todo) as bench:
        for number, job in enumerate(todo, 1):
            if job.done:  # an arm that another arm is too
                continue
            say(f"{number} of {len(todo)}: {job.says}")
            with costs.noted(work.place.root, job, work.bench.options.place) as more:
                bench.do(job)
                more |= bench.spent()
    found = findings.of(work.study, [job for job in work.jobs if isinstance(job, Ask)], work.place, work.tasks)
    left = len(listing.left(work.jobs))
    paths = written(work, found, left)
    if as_json:
        print_json({"page": str(paths[0]), "left": left, "files": [str(path) for path in paths]})
        return not left
    for sentence in findings.verdicts(found):
        out().print(sentence, markup=False, soft_wrap=True, style="" if sentence.startswith("–") else "bold")
    say(f"written: {paths[0]}, and {len(paths) - 1} tables and figures beside it")
    if left:
        say(f"{left} jobs could not be finished; the same command tries them again")
    return not left


def written(work: Work, found: Findings, left: int) -> list[Path]:
    """The page of what is done, and everything beside it."""
    from harness.study import page

    standing = page.Standing(left, work.seeds, work.quick, work.data.name)
    folder = work.place.root / (work.study.name + ("-quick" if work.quick else ""))
    spent = costs.of(listing.once(work.jobs), work.place.root, work.bench.options.place)
    return list(page.write(found, standing, folder, spent))
