"""Batches as the towers read them, decoded ahead of the step that needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from encoders.towers.clip_encoder import ClipEncoder
from encoders.training import negatives
from encoders.training.dataset import Order, Pair
from encoders.training.hard_negatives import Hard
from encoders.training.step import Batch
from harness.errors import UsageError

if TYPE_CHECKING:
    from encoders.training.settings import Training

READERS = 4


class Feed:
    """The batches of each step for one of the processes; a step's batches depend on nothing but recipe and step."""

    def __init__(
        self,
        recipe: Training,
        encoder: ClipEncoder,
        rows: Sequence[Pair],
        replay: Sequence[Pair],
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.recipe, self.encoder, self.rows, self.replay = recipe, encoder, rows, replay
        self.process, self.world = process
        self.hard = Hard(Path(recipe.hard_negatives)) if recipe.hard_negatives else None
        self.order = Order(len(rows), min(recipe.batch, len(rows)), recipe.seed)
        if self.order.batch < self.world:
            raise UsageError(f"a batch of {self.order.batch} cannot be shared by {self.world} processes")
        replayed = min(recipe.replay_batch, len(replay))
        self.again = Order(len(replay), replayed, recipe.seed + 1) if replay else None

    @property
    def images(self) -> int:
        """How many images a step takes, over all processes."""
        return self.recipe.accumulate * (self.order.batch + (self.again.batch if self.again else 0))

    @property
    def steps(self) -> int:
        """How many optimizer steps the recipe comes to."""
        epochs = self.recipe.epochs * self.order.per_epoch / self.recipe.accumulate
        return self.recipe.steps or max(1, round(epochs))

    @property
    def taken(self) -> int:
        """How many rows the steps take in all, a row of several epochs counted once."""
        return min(self.steps * self.recipe.accumulate * self.order.batch, len(self.rows))

    def __call__(self, first: int) -> Iterator[list[Batch]]:
        """The batches of each step from ``first`` on; the next one is read while this one is computed."""
        with ThreadPoolExecutor(1) as ahead:
            coming: Future[list[Batch]] | None = None
            for step in range(first, self.steps):
                batches = coming.result() if coming else self._step(step)
                coming = ahead.submit(self._step, step + 1) if step + 1 < self.steps else None
                yield batches

    def _step(self, step: int) -> list[Batch]:
        first = step * self.recipe.accumulate
        return [self._batch(number) for number in range(first, first + self.recipe.accumulate)]

    def _batch(self, number: int) -> Batch:
        recipe = self.recipe
        mine = self._share(self.order[number])
        captions = [
            negatives.captions(self.rows[n], recipe.negatives, recipe.negatives_per_row, key, self.hard)
            for n, key in ((n, f"{recipe.seed}/{number}/{n}") for n in mine)
        ]
        pairs = [self.rows[n] for n in mine]
        if self.again:
            extra = [self.replay[n] for n in self._share(self.again[number])]
            choice = Random(f"replay/{recipe.seed}/{number}")
            captions += [[choice.choice(pair.captions)] for pair in extra]
            pairs += extra
        flat = iter(self.encoder.words([text for row in captions for text in row]))  # type: ignore[misc]
        ids = [[next(flat) for _ in row] for row in captions]
        return Batch(self.encoder.files.moved([pair.image for pair in pairs], READERS), ids, len(mine))

    def _share(self, numbers: list[int]) -> list[int]:
        start, end = (len(numbers) * process // self.world for process in (self.process, self.process + 1))
        return numbers[start:end]
