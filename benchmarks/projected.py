"""``python -m benchmarks.projected``: what all of AMBER takes on a GPU, from the steps and columns the decoder counts.

No GPU is asked: the decoder runs over questions and captions of AMBER's numbers and lengths with a forward that
computes nothing, and each of its calls is priced by the FLOPs it has and the bytes it reads on LLaVA-1.5-7B in bf16.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks import shapes
from benchmarks.amber_questions import never
from benchmarks.measure import linear_flops
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.packed.forward import CacheRow, Launched, Said
from harness.vision_language.packed.kv_cache import KVCache, aligned
from harness.vision_language.packed.requests import ImageRequest, Prompt

FLOPS, BYTES, REACHED = 790e12, 3.0e12, 0.5
"""An H100's bf16 FLOP/s and bytes/s, and the part of the former that a prefill is taken to reach."""
ROWS = 98
"""Rows that fit into 80 GB beside the 7B (docs/performance.md)."""
WHOLE = shapes.Shape()
COLUMN = 2 * WHOLE.layers * WHOLE.width * 2
"""Bytes of keys and values of a token."""


class Priced:
    """A forward that computes nothing and adds up what each call would take."""

    def __init__(self) -> None:
        self.device, self.dtype, self.linear = torch.device("cuda"), torch.bfloat16, nullcontext
        self.prefill_s = self.step_s = 0.0
        self.steps = self.tokens = self.padded = self.columns = 0

    def prefill(self, cache: KVCache, rows: Sequence[CacheRow], start: int) -> Said:
        """The images through the tower, their trees through the language model."""
        tokens = len(rows) * aligned(max(len(row.packed) for row in rows))
        tower = len(rows) * 577 * linear_flops(WHOLE.tower_layers, WHOLE.tower_width)
        self.prefill_s += max((tokens * WHOLE.flops_per_token + tower) / (REACHED * FLOPS), 2 * WHOLE.weights / BYTES)
        return self._said(rows)

    def step(self, cache: KVCache, rows: Sequence[CacheRow], start: int) -> Launched:
        """The weights are read once, and the columns in sight of every row."""
        widest, sight = max(len(row.open) for row in rows), aligned(max(row.length + len(row.open) for row in rows))
        for row in rows:
            for n, branch in enumerate(row.open):
                branch.sees[row.length + n] = True
            row.length += len(row.open)
            self.tokens += len(row.open)
        tokens = widest * len(rows)
        read = 2 * WHOLE.weights + len(rows) * sight * COLUMN
        self.step_s += max(tokens * WHOLE.flops_per_token / (REACHED * FLOPS), read / BYTES)
        self.padded += tokens - sum(len(row.open) for row in rows)
        self.columns += len(rows) * sight
        self.steps += 1
        return Launched(*([torch.zeros(sum(len(row.open) for row in rows), 1)] * 2))

    def landed(self, launched: Launched) -> Said:
        """Some token for each branch."""
        return Said(launched.logits, [3] * len(launched.logits))

    def keep(self, cache: KVCache, at: int, row: CacheRow) -> None:
        """The columns that the only branch left sees."""
        (branch,) = row.open
        left = int(branch.sees[: row.length].sum())
        branch.sees[: row.length] = False
        branch.sees[:left], row.length = True, left

    def fetched(self, told: Any) -> list[Any]:
        """Nothing is read of logits that are none."""
        return []

    def _said(self, rows: Sequence[CacheRow]) -> Said:
        count = sum(len(row.open) for row in rows)
        return Said(torch.zeros(count, 1), [3] * count)


def pages(what: str) -> Iterator[ImageRequest]:
    """AMBER's images with their questions (answers of two tokens), a caption of 60 to 140 tokens, or both."""
    rng = random.Random(0)
    for image in range(shapes.AMBER_IMAGES):
        texts = (shapes.questions(rng) + shapes.questions(rng))[: rng.randrange(6, 23)]  # 14 on average
        asked = shapes.request(image, WHOLE.vocabulary, 2, texts).prompts if what != "captions" else ()
        caption = shapes.request(image, WHOLE.vocabulary, 512, ["Describe this image ."]).prompts[0]
        long = Prompt((image, "caption"), caption.tokens, rng.randrange(60, 141))
        yield ImageRequest(None, (*asked, *([long] if what != "questions" else [])))


def priced(what: str) -> Priced:
    """Everything of this kind, asked."""
    text = SimpleNamespace(num_hidden_layers=0, hidden_size=WHOLE.width, num_attention_heads=32, num_key_value_heads=32)
    model = SimpleNamespace(
        config=SimpleNamespace(get_text_config=lambda: text, image_token_id=shapes.IMAGE),
        model=SimpleNamespace(language_model=None),
        get_input_embeddings=lambda: SimpleNamespace(weight=torch.zeros(1)),
    )
    decoder, forward = PackedDecoder(model, never, ROWS), Priced()
    decoder.forward = forward  # type: ignore[assignment]
    answered = sum(1 for _ in decoder.answers(pages(what)))
    assert answered == sum(len(page.prompts) for page in pages(what))
    return forward


def main() -> int:
    """Print a line for the questions, the captions, and both asked together."""
    print(f"computed, not measured: an H100 at {FLOPS / 1e12:.0f} TFLOP/s, {REACHED:.0%} of it reached, {ROWS} rows")
    print(f"{'':12}{'prefill':>9}{'steps':>8}{'their s':>9}{'tokens':>9}{'padded':>8}{'columns a row':>15}{'sum':>7}")
    for what in ("questions", "captions", "both"):
        found = priced(what)
        each = found.columns / max(1, found.steps * ROWS)
        print(
            f"{what:12}{found.prefill_s:8.1f}s{found.steps:8}{found.step_s:8.1f}s{found.tokens:9}{found.padded:8}"
            f"{each:15.0f}{found.prefill_s + found.step_s:6.1f}s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
