"""What a training will cost: its first steps and a part of a look done for real, and nothing of them kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.training.evaluation import AT_ONCE, ohd_accuracy
from encoders.training.loop import TrainingRun
from harness.compute import memory
from harness.compute.forecast import Forecast, Part, size
from harness.types import Place

if TYPE_CHECKING:
    from encoders.training.settings import Training

STEPS, ENOUGH = 6, 10.0
"""Steps after the first that are timed, and the seconds after which fewer will do."""


def forecast(recipe: Training, root: Path) -> Forecast:
    """What this training costs in one process here: its start, every step, every look at the dev rows.

    Checkpoints are no part of it. DataError and ModelError as the training itself would raise them.
    """
    memory.begin()
    began = time.perf_counter()
    run = TrainingRun(recipe, root, Path())  # writes nothing before it trains
    start_s = time.perf_counter() - began
    feed = run.feed
    parts = (_steps(run), *_looks(run))
    counts = {"steps": feed.steps, "rows": feed.taken, "images": feed.images * feed.steps, "looks": _number(run)}
    # All of them, however few the steps: the data's digest is one of every picture.
    pictures = {pair.image for pair in (*feed.rows, *feed.replay, *run.looks.dev)}
    pictures |= {path for path, _ in run.looks.zero_shot.pictures} if run.looks.zero_shot else set()
    where = Place(device=run.accelerator.device.type)
    return Forecast(parts, start_s, counts, size(pictures), **memory.spent(where))


def _steps(run: TrainingRun) -> Part:
    """The steps, from end to end, as a step may wait for its pictures; the first warms up, where it is not the only.

    Their pictures are decoded before: of all epochs and trainings one decodes, and keeps what it decoded.
    """
    for _ in islice(run.feed(0), STEPS + 1):
        pass
    ends = [time.perf_counter()]
    for batches in run.feed(0):
        run.step(batches)
        ends.append(time.perf_counter())
        if len(ends) > 2 and (len(ends) == STEPS + 2 or ends[-1] - ends[1] > ENOUGH):
            break
    timed = ends[1:] if len(ends) > 2 else ends
    return Part("steps", timed[-1] - timed[0], len(timed) - 1, run.feed.steps)


def _number(run: TrainingRun) -> int:
    """How often the dev rows are looked at: at the start, every so many steps, at the end, and what is then saved."""
    steps = run.feed.steps
    return 1 + steps // run.every + bool(steps % run.every) + 1 + len(run.recipe.front)


def _looks(run: TrainingRun) -> Iterator[Part]:
    """What the looks are made of: rows to rank, captions of classes, pictures of classes and for the drift."""
    encoder, looks, often = run.looker, run.looks, _number(run)
    rows = looks.dev[:AT_ONCE]
    yield _timed("dev rows", lambda: ohd_accuracy(encoder, rows, _go_on), len(rows), often * len(looks.dev))
    texts = looks.zero_shot.texts if looks.zero_shot else []
    if texts[:AT_ONCE]:
        some = texts[:AT_ONCE]
        yield _timed("classes", lambda: encoder.encode_texts(some).cpu(), len(some), often * len(texts))
    pictures = [path for path, _ in looks.zero_shot.pictures] if looks.zero_shot else []
    pictures += looks.images
    seen = pictures[:AT_ONCE]
    yield _timed("pictures", lambda: encoder.encode_files(seen).cpu(), len(seen), often * len(pictures))


def _go_on() -> None:
    """Nothing breaks a measurement off."""


def _timed(what: str, work: Callable[[], Any], done: int, of: int) -> Part:
    """The work done once to warm up, and once by the clock."""
    work()
    began = time.perf_counter()
    work()
    return Part(what, time.perf_counter() - began, done, of)
