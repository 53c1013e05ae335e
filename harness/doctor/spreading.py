"""Whether work can be spread over processes here: Ray, and a worker of it that no other machine reaches."""

from __future__ import annotations

import time

import psutil

from harness import extras
from harness.compute import cluster
from harness.compute.crew import Crew, Lost
from harness.doctor.looked import Looked
from harness.doctor.packages import installed
from harness.errors import OhdBenchError


class Echo:
    """A worker that gives back what it is given."""

    def ready(self) -> bool:
        """Always."""
        return True

    def do(self, work: str) -> str:
        """The same."""
        return work


def ray(quick: bool) -> Looked:
    """Ray's version, and how long it takes until there is a worker; what goes wrong is in no plain run's way."""
    if not extras.there("ray"):
        return Looked("Ray", "absent: no --workers, no --ray; --shard needs none", extras.command("ray"), False)
    found = installed("ray")
    if quick:
        return Looked("Ray", found)
    began = time.monotonic()
    try:
        open_to = _tried()
    except (OhdBenchError, OSError, RuntimeError) as error:
        told = (str(error).strip().splitlines() or ["no word of why"])[0]
        return Looked("Ray", f"{found}, does not start: {told}", "leave --workers out; --shard needs no Ray", False)
    took = f"{found}, a worker of it was there after {time.monotonic() - began:.0f} s"
    if open_to:
        return Looked("Ray", f"{took}, listening on {', '.join(open_to)}", "leave --workers out: others can reach it")
    return Looked("Ray", f"{took}, within reach of this machine alone")


def _tried() -> list[str]:
    """The addresses beside loopback on which a Ray with one worker listens; OhdBenchError where it does nothing."""
    with cluster.opened(1) as here:
        crew = Crew(here, 1, Echo, 0, lambda text: None)
        ((_, said),) = crew.results(["here"])
        try:
            if isinstance(said, Lost):
                raise OhdBenchError(said.reason)
            return sorted(set(_listening()) - {"127.0.0.1", "::1"})
        finally:
            crew.close()


def _listening() -> list[str]:
    processes = psutil.Process().children(recursive=True)
    lines = [line for process in processes for line in process.net_connections(kind="inet")]
    return [line.laddr.ip.removeprefix("::ffff:") for line in lines if line.status == psutil.CONN_LISTEN]
