"""Actors that each hold something dear, such as a loaded model: given work as they are free, replaced when they die."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from harness.compute.cluster import Cluster, unbroken
from harness.errors import OhdBenchError

IN_HAND = 2
"""Pieces of work that a worker is given: one to do, and one to go on with while the answer to the first travels."""
TRIES = 3
"""How often a piece of work is given out before it counts as what kills its workers."""
PATIENCE = 30.0
"""Seconds without a worker after which the user is told what is waited for."""
GOES_ON = "the same command goes on where it stopped"


@dataclass(frozen=True)
class Lost:
    """Work that has no result, because each worker that was given it died."""

    reason: str


class Lacking(Exception):
    """Raised by a worker's ``do``: it needs this of who gives the work, by ``take``, before it can do that."""

    def __init__(self, what: Any) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True)
class Surroundings:
    """What a worker takes over from the driver, so that paths mean the same and sums add up in the same order."""

    folder: Path
    threads: int
    """Threads to compute in where the user set none; 0 is what torch takes."""
    told: str | None

    @classmethod
    def here(cls, threads: int) -> Surroundings:
        """This process's."""
        return cls(Path.cwd(), threads, os.environ.get("OMP_NUM_THREADS"))

    def take(self) -> None:
        """Makes them this process's, before it loads torch; Ray has set OMP_NUM_THREADS by what the worker reserves."""
        if self.folder.is_dir():
            os.chdir(self.folder)
        if self.told is not None:
            os.environ["OMP_NUM_THREADS"] = self.told
            return
        os.environ.pop("OMP_NUM_THREADS", None)
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)


class _Actor:
    """A worker's whole life: made once, then asked for one piece of work after another."""

    def __init__(self, make: Callable[[], Any], surroundings: Surroundings) -> None:
        surroundings.take()
        self.hold = make()

    def ready(self) -> Any:
        """What it says of itself."""
        return self.hold.ready()

    def do(self, piece: Any, gift: Any) -> tuple[Any, float]:
        """The result, and the seconds it took; first it takes what it lacked, where that comes along."""
        began = time.perf_counter()
        if gift is not None:
            self.hold.take(gift)
        return self.hold.do(piece), time.perf_counter() - began


@dataclass(eq=False)
class _Piece:
    """Work, and how often it was lost."""

    work: Any
    lost: int = 0


@dataclass(eq=False)
class _Worker:
    """An actor as the driver knows it: whether it is ready, what it said then, and what it was given."""

    actor: Any
    ready: bool = False
    said: Any = None
    given: list[_Piece] = field(default_factory=list)
    gift: Any = None
    """What it lacked, to come with the next piece."""

    def takes(self, piece: _Piece) -> bool:
        """Whether it may be given this as well: what was lost before is done alone, so that nothing else is blamed."""
        return not self.given or not (piece.lost or any(other.lost for other in self.given))


class _Queue:
    """Work that nobody does: what was lost first, and of the rest no more than is looked at."""

    def __init__(self, work: Iterable[Any]) -> None:
        self.work, self.looked_at = iter(work), deque[_Piece]()

    def first(self) -> _Piece | None:
        """What is to be done next."""
        return self.looked_at[0] if self.holds(1) else None

    def holds(self, count: int) -> bool:
        """Whether so many pieces are left."""
        self.looked_at.extend(_Piece(work) for work in islice(self.work, max(0, count - len(self.looked_at))))
        return len(self.looked_at) >= count


class Crew:
    """So many workers of a cluster, each with what ``make()`` gives: an object with ``ready()`` and ``do(work)``.

    ``make`` must pickle. ``gpus`` is the share of a GPU that each reserves; where it is 0, each reserves a CPU. Where
    ``do`` raises Lacking, ``supply(what)`` is handed to that worker's ``take``, and the work is given out again.
    """

    def __init__(
        self, cluster: Cluster, number: int, make: Callable[[], Any], gpus: float, say: Callable[[str], None]
    ) -> None:
        self.cluster, self.number, self.make, self.gpus, self.say = cluster, number, make, gpus, say
        self.workers: list[_Worker] = []
        self.under_way: dict[Any, tuple[_Worker, _Piece | None]] = {}
        self.supply: Callable[[Any], Any] = lambda what: None
        self.deaths = 0
        self.start_s = self.busy_s = 0.0

    def results(
        self, work: Iterable[Any], deliver: Callable[[Any, Any], Any] = lambda work, said: work
    ) -> Generator[tuple[Any, Any], None, None]:
        """Each piece of work with its result, or Lost, as they come; no more is taken than workers have in hand.

        A worker is given ``deliver(work, said)``, where ``said`` is what its ``ready()`` gave. An error of a worker is
        raised here, with its own class. Work whose worker died is given out again, up to TRIES times.
        """
        queue = _Queue(work)
        try:
            while queue.first() or self._busy():
                self._enlist()
                self._deal(queue, deliver)
                for ref in self._done():
                    yield from self._heard(ref, queue)
        finally:
            self._forget()

    def close(self) -> None:
        """Ends every worker."""
        import ray

        with unbroken():
            for worker in self.workers:
                ray.kill(worker.actor)
        self.workers.clear()

    def _busy(self) -> bool:
        return any(worker.given for worker in self.workers)

    def _enlist(self) -> None:
        """As many workers as there are to be, in place of the dead too."""
        import ray

        share = -(-self.number // self.cluster.machines)
        surroundings = Surroundings.here(max(1, (os.cpu_count() or 1) // share) if self.cluster.own else 0)
        how = {"num_gpus": self.gpus, "num_cpus": 0 if self.gpus else 1, "scheduling_strategy": "SPREAD"}
        with unbroken():
            while len(self.workers) < self.number:
                worker = _Worker(ray.remote(_Actor).options(**how).remote(self.make, surroundings))
                self.workers.append(worker)
                self.under_way[worker.actor.ready.remote()] = (worker, None)

    def _deal(self, queue: _Queue, deliver: Callable[[Any, Any], Any]) -> None:
        """Work for every worker that is ready and has a hand free; nobody has two pieces where another may get none."""
        for hands in range(1, IN_HAND + 1):
            for worker in self.workers if hands == 1 or queue.holds(self.number) else ():
                piece = queue.first()
                if piece and worker.ready and len(worker.given) < hands and worker.takes(piece):
                    queue.looked_at.popleft()
                    worker.given.append(piece)
                    given = deliver(piece.work, worker.said)
                    gift, worker.gift = worker.gift, None
                    with unbroken():
                        self.under_way[worker.actor.do.remote(given, gift)] = (worker, piece)

    def _done(self) -> list[Any]:
        """What has come to an end; waits for it, and tells the user where that hangs on a place for the workers."""
        import ray

        began = time.monotonic()
        done: list[Any] = []
        while not done:
            with unbroken():
                done, _ = ray.wait(list(self.under_way), timeout=0.5)
            if not any(worker.ready for worker in self.workers) and time.monotonic() - began > PATIENCE:
                began = time.monotonic()
                needed = f"{self.gpus:g} GPU" if self.gpus else "a CPU"
                self.say(f"still waiting for a place for {self.number} workers with {needed} each")
        return done

    def _heard(self, ref: Any, queue: _Queue) -> Iterator[tuple[Any, Any]]:
        """What a worker gave, or what is to be done because it died."""
        import ray

        worker, piece = self.under_way.pop(ref)
        try:
            with unbroken():
                found = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, Lacking) or piece is None:
                raise error.cause from error
            worker.given.remove(piece)
            queue.looked_at.appendleft(piece)
            worker.gift = self.supply(error.cause.what)
            return
        except ray.exceptions.RayError as error:
            yield from self._buried(worker, piece, queue, _why(error))
            return
        if piece is None:
            worker.ready, worker.said = True, found
            self.start_s = self.start_s or self._started()
            return
        worker.given.remove(piece)
        self.deaths = 0
        result, seconds = found
        self.busy_s += seconds
        yield piece.work, result

    def _started(self) -> float:
        seconds = time.monotonic() - self.cluster.began
        self.say(f"the first of {self.number} workers was there after {seconds:.0f} s")
        return seconds

    def _buried(self, worker: _Worker, piece: _Piece | None, queue: _Queue, why: str) -> Iterator[tuple[Any, Lost]]:
        """Work of a dead worker goes back into the queue, or out as Lost; OhdBenchError where all they do is die."""
        import ray

        if worker in self.workers:
            self.workers.remove(worker)
            self.deaths += 1
            with unbroken():
                ray.kill(worker.actor)  # where it is out of reach and not dead
        if piece is not None:
            worker.given.remove(piece)
            piece.lost += 1
            if piece.lost >= TRIES:
                yield piece.work, Lost(f"{piece.lost} workers died over it, the last: {why}")
            else:
                queue.looked_at.appendleft(piece)
        if self.deaths > TRIES * self.number:
            raise OhdBenchError(f"{self.deaths} workers died one after another, the last: {why}; {GOES_ON}")

    def _forget(self) -> None:
        """What is under way when nobody wants it any more, is not waited for."""
        self.under_way = {ref: (worker, piece) for ref, (worker, piece) in self.under_way.items() if piece is None}
        for worker in self.workers:
            worker.given.clear()


def _why(error: Exception) -> str:
    """What Ray's report says of how a worker ended."""
    told = " ".join(str(error).split())
    return told.partition("Worker exit detail: ")[2].partition(" Some common causes")[0] or told[:200]
