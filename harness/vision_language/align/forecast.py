"""What an alignment will cost: a few updates of each stage done for real, and nothing of them kept."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from harness import registry
from harness.compute import memory
from harness.compute.forecast import Forecast, Part, size
from harness.types import Place
from harness.vision_language.align import stages, trainer
from harness.vision_language.align.batches import Examples
from harness.vision_language.align.one_stage import OneStage, Opened
from harness.vision_language.align.recipes import Stage
from harness.vision_language.align.stages import Plan

UPDATES, ENOUGH = 3, 20.0
"""Updates after the first that are timed, and the seconds after which fewer will do."""
LOOKED_THROUGH = 256
"""Micro-batches, spread evenly over all of them, whose tokens are counted."""


def forecast(lvlm: str, encoder: str, plan: Plan) -> dict[str, Forecast]:
    """What each stage costs in one process here, by name: its start, every update by its tokens, its looks.

    A later stage begins with this LVLM and a new projector, as what the one before it would leave is not there yet.
    Checkpoints are no part of it. Errors are those of ``stages.align``.
    """
    asked = registry.make_encoder(encoder, Place(device="cpu"))
    found = {}
    with tempfile.TemporaryDirectory() as room:
        for n, told in enumerate(plan.stages):
            stage = stages.resolved(replace(told, projector="new") if n else told, plan.place)
            found[stage.name] = _of_stage(n, OneStage(lvlm, asked, stage, plan, Path(room)), plan.place)
    return found


def _of_stage(n: int, work: OneStage, place: Place) -> Forecast:
    memory.begin()
    began = time.perf_counter()
    opened = work.opened(n)
    start_s = time.perf_counter() - began
    order, updates = trainer.plan_rows(work.stage, opened.learn.lengths)
    parts = tuple(_measured(opened, work, order, updates))
    spent = memory.spent(place)  # before the names of all pictures are held
    counts = {"updates": updates, "rows": len(set(order)), "tokens": parts[0].of}
    read = size({opened.found.source.path, *_pictures(opened, order)})
    return Forecast(parts, start_s, counts, read, **spent)


def _measured(opened: Opened, work: OneStage, order: list[int], updates: int) -> Iterator[Part]:
    """The updates by the tokens they are padded to, and the looks at held-out rows."""
    stage, learn, held = work.stage, opened.learn, opened.held
    chosen = _chosen(learn.lengths, order, stage, updates)
    rows = [n for one in chosen for n in order[one * stage.batch : (one + 1) * stage.batch]]
    some = replace(stage, report_to=(), evaluate_every=0)
    few = Examples(held.rows, held.chosen[: stage.micro_batch], held.reader)
    clock = Clock(len(chosen))
    told = trainer.arguments(some, work.out, len(chosen), 0, opened.model)
    training = trainer.made(opened.model, some, rows, (learn, few), told, [clock])
    training.train()
    batch = stage.batch
    timed = [tokens for n in clock.timed for tokens in _padded(learn, rows[n * batch : (n + 1) * batch], stage)]
    yield Part("tokens", clock.seconds, sum(timed), _all_tokens(learn, order, stage))
    if len(few):
        every = stage.evaluate_every or max(1, updates // 20)
        training.evaluate()
        began = time.perf_counter()
        training.evaluate()
        took = time.perf_counter() - began
        yield Part("rows held out", took, len(few), (1 + updates // every) * len(held))


class Clock(TrainerCallback):  # type: ignore[misc]
    """Notes when each update ended, stops where these are enough, and lets nothing be saved."""

    def __init__(self, updates: int) -> None:
        self.updates, self.ends = updates, list[float]()

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Where there is one update only, it counts from here."""
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """One update more; transformers would save after the last."""
        self.ends.append(time.perf_counter())
        control.should_save = False
        control.should_training_stop = len(self.ends) == self.updates or self.ends[-1] - self.ends[0] > ENOUGH

    @property
    def seconds(self) -> float:
        """How long the updates that are ``timed`` took."""
        return self.ends[-1] - (self.ends[0] if len(self.ends) > 1 else self.began)

    @property
    def timed(self) -> range:
        """The first warms up, where it is not the only one."""
        return range(1 if len(self.ends) > 1 else 0, len(self.ends))


def _chosen(lengths: Sequence[int], order: Sequence[int], stage: Stage, updates: int) -> list[int]:
    """The update with the longest row, which takes the most memory, to warm up; then some spread over all."""
    longest = max(range(len(order)), key=lambda place: abs(lengths[order[place]])) // stage.batch
    number = min(UPDATES, updates - 1)
    return [longest, *(int((n + 0.5) * updates / number) for n in range(number))]


def _padded(learn: Examples, rows: Sequence[int], stage: Stage) -> list[int]:
    """The tokens of each micro-batch of these rows, padded to its longest."""
    size = stage.micro_batch
    return [_tokens(learn, rows[at : at + size]) for at in range(0, len(rows), size)]


def _tokens(learn: Examples, rows: Sequence[int]) -> int:
    return len(rows) * max(len(learn.reader.tokens(learn.rows[learn.chosen[n]]).ids) for n in rows)


def _all_tokens(learn: Examples, order: Sequence[int], stage: Stage) -> int:
    """The tokens of all updates, counted in micro-batches spread evenly over them."""
    number = len(order) // stage.micro_batch
    step = max(1.0, number / LOOKED_THROUGH)
    starts = [int(n * step) * stage.micro_batch for n in range(min(number, LOOKED_THROUGH))]
    counted = [_tokens(learn, order[at : at + stage.micro_batch]) for at in starts]
    return round(sum(counted) / len(counted) * number)


def _pictures(opened: Opened, order: Sequence[int]) -> set[Path]:
    """The pictures of the rows that are trained on and of those held out: rows may share one, which is read once."""
    rows = {*(opened.learn.chosen[n] for n in order), *opened.held.chosen}
    return {image for n in sorted(rows) if (image := opened.found[n].image)}
