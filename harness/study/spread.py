"""Trainings and alignments of a study in several processes at a time: none of them needs another of its kind."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness import registry
from harness.asking.run_options import RunOptions
from harness.compute import cluster, memory
from harness.compute.crew import Crew, Lost
from harness.console import Silent
from harness.data import Data
from harness.errors import DataError, OhdBenchError
from harness.study.identity import rows_digest
from harness.study.jobs import Align, Job, Train
from harness.study.perform import Bench


@dataclass(frozen=True)
class Trainer:
    """What a worker does: one training or alignment after another, each going on where it was stopped.

    ``probe`` lies where all that is made is to lie; ``rows`` is the digest of the rows that trainings read.
    """

    options: RunOptions
    data: Data
    probe: Path
    rows: str

    def ready(self) -> bool:
        """Always; DataError where this machine does not see the folders of the study."""
        registry.load(self.options.include)
        if not self.probe.is_file():
            raise self._unseen(self.probe.parent, "--out")
        if not self.data.root.is_dir() or rows_digest(self.data) != self.rows:
            raise self._unseen(self.data.root, "--data")
        return True

    def do(self, job: Job) -> dict[str, Any]:
        """Does the job; the seconds it took, on what, and the most memory."""
        memory.begin()
        began = time.perf_counter()
        Bench(self.options, self.data, Silent().ticking).do(job)
        return {"seconds": time.perf_counter() - began, **memory.spent(self.options.place)}

    def _unseen(self, folder: Path, option: str) -> DataError:
        host = socket.gethostname()
        return DataError(f"the worker on {host} does not see {folder}: {option} is to be on storage that all share")


def trained(
    bench: Bench, todo: Sequence[Job], root: Path, say: Callable[[str], None]
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Every training, and when all are through every alignment, as they come, with what each took.

    Each worker has a GPU where there are any, and writes below ``root``. OhdBenchError where a job's workers died over
    it; DataError where a machine does not see what it is to read or to write.
    """
    kinds = [[job for job in todo if isinstance(job, kind)] for kind in (Train, Align)]
    most = max(map(len, kinds))
    if most == 0:
        return
    options = bench.options
    with cluster.opened(min(options.workers or 1, most), options.ray) as here, _probe(root) as probe:
        number, gpus = here.shared_out(options.workers, options.device)
        make = partial(Trainer, options, bench.data, probe, rows_digest(bench.data))
        with closing(Crew(here, min(number, most), make, gpus, say)) as crew:
            for jobs in kinds:
                for job, spent in crew.results(jobs):
                    if isinstance(spent, Lost):
                        raise OhdBenchError(f"{job.says}: {spent.reason}; the same command goes on")
                    yield job, spent


@contextmanager
def _probe(root: Path) -> Iterator[Path]:
    """A file of this folder, by which whoever sees the folder is known."""
    root.mkdir(parents=True, exist_ok=True)
    file, name = tempfile.mkstemp(prefix=".seen-", dir=root)
    os.close(file)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
