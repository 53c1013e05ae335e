"""Rows as a model trains on them: tokens, labels and pixels, padded to the longest of a micro-batch.

Legend: B rows, L tokens, I images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from harness import images
from harness.errors import DataError
from harness.vision_language.align.conversation import IGNORED, PLACE, Tokens, Writing, plain
from harness.vision_language.align.rows import Row, Rows
from harness.vision_language.preprocess import Pixels


@dataclass(frozen=True)
class Reader:
    """How a row becomes tokens and pixels for one LVLM and one stage."""

    writing: Writing
    pixels: Pixels
    image_id: int
    image_tokens: int
    limit: int

    def tokens(self, row: Row) -> Tokens:
        """Ids and labels of a row, its image in place, cut at the limit."""
        return self.writing.tokens(row.said).expanded(self.image_id, self.image_tokens, self.limit)

    def unusable(self, row: Row) -> str:
        """Why this row cannot be trained on with this LVLM; empty where it can."""
        if row.image is None and self.writing.form is plain:
            return "no image, which the template 'plain' needs"
        return "too long: nothing to learn is left within the limit" if self.too_long(row) else ""

    def too_long(self, row: Row) -> bool:
        """Whether the cut would leave nothing to learn, or an image in part."""
        # A token is never shorter than a byte: only rows whose beginning is long need be tokenised.
        before = self.writing.form(row.said[:2])
        bytes_before = sum(len(piece.text.encode()) for piece in before if not piece.learnt)
        if bytes_before + self.image_tokens + 8 < self.limit:
            return False
        whole = self.writing.tokens(row.said)
        cut = whole.expanded(self.image_id, self.image_tokens, self.limit)
        images_whole = cut.ids.count(self.image_id) == whole.ids.count(PLACE) * self.image_tokens
        return not images_whole or all(label == IGNORED for label in cut.labels)


class Examples(Dataset[dict[str, Any]]):
    """Chosen rows, read and prepared one by one."""

    def __init__(self, rows: Rows, chosen: Sequence[int], reader: Reader) -> None:
        self.rows, self.chosen, self.reader = rows, chosen, reader

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, n: int) -> dict[str, Any]:
        row = self.rows[self.chosen[n]]
        found = self.reader.tokens(row)
        return {"ids": found.ids, "labels": found.labels, "pixels": self._pixels(row)}

    def _pixels(self, row: Row) -> Tensor | None:
        if row.image is None:
            return None
        try:
            return self.reader.pixels(images.open_image(row.image))
        except images.ImageError as error:
            raise DataError(f"{error}; put it right or take its row out, and the same command goes on") from error

    @property
    def lengths(self) -> list[int]:
        """The rows' lengths in words, negative for those without an image."""
        return [self.rows.words[n] for n in self.chosen]


def together(examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Ids, mask and labels [B, L], padded on the right, and the pixels [I, 3, H, W] of the rows that have an image."""
    longest = max(len(one["ids"]) for one in examples)
    ids_BL = torch.zeros(len(examples), longest, dtype=torch.long)
    mask_BL, labels_BL = torch.zeros_like(ids_BL), torch.full_like(ids_BL, IGNORED)
    for n, one in enumerate(examples):
        length = len(one["ids"])
        ids_BL[n, :length], labels_BL[n, :length] = torch.tensor(one["ids"]), torch.tensor(one["labels"])
        mask_BL[n, :length] = 1
    batch = {"input_ids": ids_BL, "attention_mask": mask_BL, "labels": labels_BL}
    seen = [one["pixels"] for one in examples if one["pixels"] is not None]
    return batch | ({"pixel_values": torch.stack(seen)} if seen else {})


def held_out(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The rows to train on and those held out, drawn by the seed; at least one of each where any is to be held out."""
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    number = min(max(1, round(count * share)), count - 1) if share else 0
    return sorted(drawn[number:]), sorted(drawn[:number])
