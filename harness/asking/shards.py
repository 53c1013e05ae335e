"""Shards: whole batches of a task's questions, dealt by digest to commands that know nothing of each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import digest
from harness.asking import batches
from harness.errors import UsageError
from harness.types import Sample


@dataclass(frozen=True)
class Shard:
    """Share ``number`` (from 1) of ``of``."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard of ``I/N``; UsageError where it is none."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(
                f"shard {text}: it is I/N with I from 1 to N; "
                "under Slurm $((SLURM_PROCID + 1))/$SLURM_NTASKS, under GNU parallel {#}/N"
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        """``2-of-7``, as its folder is called."""
        return f"{self.number}-of-{self.of}"

    def share(self, questions: Sequence[Sample], keys: Mapping[str, str], size: int) -> set[str]:
        """The ids of this shard's questions, ``size`` images in a batch.

        Batches are cut from all questions and never parted, so every answer is that of one process to the last bit.
        They are put in the order of their digest (of images, prompts and model) and dealt in turn: however a data file
        is sorted, no shard gets all long ones, and shards differ by one batch at most.
        """
        every = [[sample for image in batch for sample in image] for batch in batches.cut(questions, size)]
        every.sort(key=lambda batch: digest.of_json([keys[sample.id] or sample.id for sample in batch]))
        return {sample.id for batch in every[self.number - 1 :: self.of] for sample in batch}
