"""Trainings and alignments of a study in several processes at a time: none of them needs another of its kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from harness import registry
from harness.asking.run_options import RunOptions
from harness.compute import cluster
from harness.compute.crew import Crew, Lost
from harness.console import Silent
from harness.data import Data
from harness.errors import OhdBenchError
from harness.study.jobs import Align, Job, Train
from harness.study.perform import Bench


@dataclass(frozen=True)
class Trainer:
    """What a worker does: one training or alignment after another, each going on where it was stopped."""

    options: RunOptions
    data: Data

    def ready(self) -> bool:
        """Always."""
        registry.load(self.options.include)
        return True

    def do(self, job: Job) -> float:
        """Does the job; the seconds it took."""
        began = time.perf_counter()
        Bench(self.options, self.data, Silent().ticking).do(job)
        return time.perf_counter() - began


def trained(bench: Bench, todo: Sequence[Job], say: Callable[[str], None]) -> Iterator[tuple[Job, float]]:
    """Every training, and when all are through every alignment, as they come, with the seconds that each took.

    Each worker has a GPU where there are any. OhdBenchError where a job's workers died over it.
    """
    kinds = [[job for job in todo if isinstance(job, kind)] for kind in (Train, Align)]
    number = min(bench.options.workers or 1, max(map(len, kinds)))
    if number == 0:
        return
    with cluster.opened(number) as here:
        gpus = 1 / -(-number // here.gpus) if here.gpus and bench.options.device in ("auto", "cuda") else 0
        with closing(Crew(here, number, partial(Trainer, bench.options, bench.data), gpus, say)) as crew:
            for jobs in kinds:
                for job, seconds in crew.results(jobs):
                    if isinstance(seconds, Lost):
                        raise OhdBenchError(f"{job.says}: {seconds.reason}; the same command goes on")
                    yield job, seconds
