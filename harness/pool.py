"""Ask several copies of a model at once, each in its own process, the images dealt out in turn."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from harness.ask import Ask, ranker, speaker
from harness.errors import OhdBenchError
from harness.features import features_of
from harness.types import Asked, Place, Reply

# Images waiting for a worker. A model may look at many before it answers the first, so nothing else bounds them.
WAITING = 64


@dataclass(frozen=True)
class Crew:
    """What a worker needs to make its own copy of a model: the specs, the place, and the folders of --include."""

    mode: str
    encoder: str
    lvlm: str
    place: Place
    include: tuple[Path, ...] = ()

    def __call__(self, worker: int, workers: int) -> Ask:
        """The model of this worker, on its share of the machine."""
        from harness import registry

        registry.load(self.include)
        place = self.own_place(worker, workers)
        encoder = registry.make_encoder(self.encoder, place) if self.encoder else None
        if self.mode == "rank":
            assert encoder is not None
            return ranker(encoder, place, features_of(encoder, place))
        return speaker(registry.make_lvlm(self.lvlm, place)(encoder))

    def own_place(self, worker: int, workers: int) -> Place:
        """One GPU after another where there are several; the cores in equal parts where there is none."""
        import torch

        gpus = torch.cuda.device_count()
        if self.place.device in ("auto", "cuda") and gpus:
            return replace(self.place, device=f"cuda:{worker % gpus}")
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
        return self.place


Make = Callable[[int, int], Ask]


def pooled(make: Make, workers: int) -> Ask:
    """An ask whose images are answered by so many processes; ``make`` is called in each, and must pickle."""

    def ask(asked: Iterable[Asked]) -> Iterator[Reply]:
        context = multiprocessing.get_context("spawn")
        inboxes = [context.Queue(WAITING) for _ in range(workers)]
        outbox = context.Queue()
        crew = [
            context.Process(target=_work, args=(make, n, workers, inbox, outbox), daemon=True)
            for n, inbox in enumerate(inboxes)
        ]
        for process in crew:
            process.start()
        feeder = _Feeder(asked, inboxes)
        feeder.start()
        try:
            yield from _replies(crew, outbox, feeder)
        finally:
            feeder.stopped = True
            for process in crew:
                process.terminate()
                process.join()
            for channel in (*inboxes, outbox):
                channel.cancel_join_thread()
                channel.close()

    return ask


class _Feeder(threading.Thread):
    """Deals the images out in turn; in a thread of its own, so that reading replies never waits for it."""

    def __init__(self, asked: Iterable[Asked], inboxes: list[Any]) -> None:
        super().__init__(daemon=True, name="feeder")
        self.asked, self.inboxes = asked, inboxes
        self.stopped = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Hand out every image, then tell each worker that there are no more."""
        try:
            for n, one in enumerate(self.asked):
                self._put(self.inboxes[n % len(self.inboxes)], one)
            for inbox in self.inboxes:
                self._put(inbox, None)
        except BaseException as error:
            self.error = error

    def _put(self, inbox: Any, one: Asked | None) -> None:
        while not self.stopped:
            try:
                inbox.put(one, timeout=0.5)
            except queue.Full:
                continue
            return


def _replies(crew: Sequence[BaseProcess], outbox: Any, feeder: _Feeder) -> Iterator[Reply]:
    """What the workers answer, until all have said that they are done; an error of one is raised here."""
    working = set(range(len(crew)))
    while working:
        if feeder.error is not None:
            raise feeder.error
        try:
            kind, worker, what = outbox.get(timeout=0.5)
        except queue.Empty:
            _require_alive(crew, working, outbox)
            continue
        if kind == "error":
            raise what
        if kind == "done":
            working.discard(worker)
        else:
            yield what


def _require_alive(crew: Sequence[BaseProcess], working: set[int], outbox: Any) -> None:
    for worker in working:
        code = crew[worker].exitcode
        if code is not None and outbox.empty():
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise OhdBenchError(f"worker {worker} {how}; the same command goes on where it stopped")


def _work(make: Make, worker: int, workers: int, inbox: Any, outbox: Any) -> None:
    """A worker's whole life: make the model, answer what comes, say that it is done."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver hears Ctrl-C, flushes, and ends its workers
    try:
        for reply in make(worker, workers)(iter(inbox.get, None)):
            outbox.put(("reply", worker, reply))
    except Exception as error:  # raised again in the driver, with its own class and exit code
        outbox.put(("error", worker, _portable(error)))
    else:
        outbox.put(("done", worker, None))


def _portable(error: Exception) -> Exception:
    """The error as it can travel between processes."""
    import pickle
    import traceback

    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (our own object, this instant)
    except (pickle.PickleError, TypeError, AttributeError):
        return RuntimeError("".join(traceback.format_exception(error)))
    error.add_note("".join(traceback.format_exception(error)))
    return error
