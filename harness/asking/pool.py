"""Ask several copies of a model at once, each in its own process, the batches dealt out in turn."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from harness.asking.ask import Ask, ranker, speaker
from harness.asking.features import features_of
from harness.errors import OhdBenchError
from harness.types import OF_ENCODERS, Asked, Place, Reply

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
        if self.mode in OF_ENCODERS:
            assert encoder is not None
            return ranker(encoder, place, features_of(encoder, place))
        return speaker(registry.make_lvlm(self.lvlm, place)(encoder))

    def own_place(self, worker: int, workers: int) -> Place:
        """One GPU after another where there are several; the cores in equal parts where there is none."""
        import torch

        gpus = torch.cuda.device_count()
        if self.place.device in ("auto", "cuda") and gpus:
            return replace(self.place, device=f"cuda:{worker % gpus}")
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
        return self.place


Make = Callable[[int, int], Ask]


def pooled(make: Make, workers: int, batch: int = 0) -> Ask:
    """An ask whose batches are answered by so many processes; ``make`` is called in each, and must pickle.

    A worker is given whole batches, so that it computes together what one process would.
    """

    def ask(asked: Iterable[Asked]) -> Iterator[Reply]:
        context = multiprocessing.get_context("spawn")
        inboxes = [context.Queue(WAITING) for _ in range(workers)]
        # A pipe for each: a worker that is killed while it writes leaves no lock behind that others wait for.
        pipes = [context.Pipe(duplex=False) for _ in range(workers)]
        crew = [
            context.Process(target=_work, args=(make, n, workers, inbox, outbox), daemon=True)
            for n, (inbox, (_, outbox)) in enumerate(zip(inboxes, pipes, strict=True))
        ]
        with _deaf_to_interrupts():
            for process in crew:
                process.start()
        for _, outbox in pipes:
            outbox.close()  # the worker's end, so that a worker's end is heard
        feeder = _Feeder(asked, inboxes)
        feeder.start()
        try:
            yield from _replies(crew, [reader for reader, _ in pipes], feeder)
        finally:
            feeder.stopped = True
            for process in crew:
                process.terminate()
                process.join()
            for inbox in inboxes:
                inbox.cancel_join_thread()
                inbox.close()
            for reader, _ in pipes:
                reader.close()

    return Ask(ask, batch, workers)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started here hear no Ctrl-C: the driver hears it, flushes, and ends its workers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Feeder(threading.Thread):
    """Deals the images out, each to its batch's worker; in a thread, so that reading replies never waits for it."""

    def __init__(self, asked: Iterable[Asked], inboxes: list[Any]) -> None:
        super().__init__(daemon=True, name="feeder")
        self.asked, self.inboxes = asked, inboxes
        self.stopped = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Hand out every image, then tell each worker that there are no more."""
        try:
            for one in self.asked:
                self._put(self.inboxes[one.batch % len(self.inboxes)], one)
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


def _replies(crew: Sequence[BaseProcess], readers: Sequence[Connection], feeder: _Feeder) -> Iterator[Reply]:
    """What the workers answer, until all have said that they are done; an error of one is raised here."""
    working: dict[Any, BaseProcess] = dict(zip(readers, crew, strict=True))
    while working:
        if feeder.error is not None:
            raise feeder.error
        ready: list[Any] = wait(list(working), timeout=0.5)
        for reader in ready:
            try:
                kind, what = reader.recv()
            except (EOFError, OSError) as error:  # its end of the pipe is closed, perhaps amid a message
                raise _ended(crew.index(working[reader]), working[reader]) from error
            if kind == "error":
                raise what
            if kind == "done":
                del working[reader]
            else:
                yield what


def _ended(worker: int, process: BaseProcess) -> OhdBenchError:
    process.join()
    code = process.exitcode or 0
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return OhdBenchError(f"worker {worker} {how}; the same command goes on where it stopped")


def _work(make: Make, worker: int, workers: int, inbox: Any, outbox: Connection) -> None:
    """A worker's whole life: make the model, answer what comes, say that it is done."""
    threading.Thread(target=_end_with_driver, daemon=True, name="end with driver").start()
    try:
        for reply in make(worker, workers)(iter(inbox.get, None)):
            outbox.send(("reply", reply))
    except Exception as error:  # raised again in the driver, with its own class and exit code
        outbox.send(("error", _portable(error)))
    else:
        outbox.send(("done", None))


def _end_with_driver() -> None:
    """Waits for the driver's end, whatever ends it, and ends this process at once, whatever it is computing."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    wait([driver.sentinel])
    os._exit(1)


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
