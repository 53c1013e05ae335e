"""Answer many prompts about many images at once: each image's prompts as one tree, rows refilled as they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import ModelError
from harness.vision_language import memory as mem
from harness.vision_language.forward import Branch, Forward, Row
from harness.vision_language.pages import Page, Prompt, Said, Work
from harness.vision_language.prefix import tree

# Pages looked at before the cache is laid out: the longest of them sets its width.
LOOK_AHEAD = 32
# Rows are refilled once one in so many is free, so that a GPU prefills several images in a call.
REFILL = 16


class PackedDecoder:
    """Greedy answers of a LLaVA, the same as one by one, with every shared token computed once.

    ``finished`` tells whether an answer's tokens end it; ``rows`` is how many images are in memory at once (0: what
    fits). Where memory runs out the rows are halved and what was unfinished is asked again.
    """

    def __init__(self, model: Any, finished: Callable[[Sequence[int], Prompt], bool], rows: int = 0) -> None:
        self.work = Work()
        self.forward = Forward(model, self.work)
        self.finished, self.rows = finished, rows
        self.config = model.config.get_text_config()
        self.image_token = model.config.image_token_id

    def answers(self, pages: Iterable[Page]) -> Iterator[Said]:
        """What was said to every prompt, each as soon as it ends."""
        waiting = _Waiting(pages, self._row)
        memory: mem.Memory | None = None
        live: list[Row] = []
        while live or waiting:
            short: list[str] = []
            done: list[Said] = []
            with mem.out_of_memory(short), torch.inference_mode(), self.forward.linear():
                if not live and memory and memory.width < _width(waiting.ahead[0]):
                    memory = None  # before the new one is laid out: how many rows fit is what is then free
                memory = memory or self._laid_out(waiting)
                self._fill(memory, live, waiting, done)
                self._step(memory, live, done)
            if short:
                memory = None
                waiting.put_back(self._halved(live, short[0]))
                live = []
            yield from done

    def _row(self, page: Page) -> Row:
        return Row(page, tree([prompt.tokens for prompt in page.prompts], self.image_token))

    def _laid_out(self, waiting: _Waiting) -> mem.Memory:
        """A cache in which the pages looked at fit, and so the next one."""
        width = max(_width(row) for row in waiting.ahead)
        each = mem.row_bytes(self.config, width, self.forward.dtype.itemsize)
        rows = self.rows or mem.auto_rows(each, self.forward.device)
        return mem.Memory(self.config.num_hidden_layers, min(rows, len(waiting.ahead) + waiting.more * rows), width)

    def _fill(self, memory: mem.Memory, live: list[Row], waiting: _Waiting, done: list[Said]) -> None:
        """Take pages into free rows, as many in one call as a prefill should hold."""
        most = mem.PREFILL_TOKENS.get(self.forward.device.type, 1)
        if live and memory.rows - len(live) < memory.rows // REFILL:
            return
        while waiting and len(live) < memory.rows and _width(waiting.ahead[0]) <= memory.width:
            start, tokens = len(live), 0
            while waiting and len(live) < memory.rows and _width(waiting.ahead[0]) <= memory.width and tokens < most:
                live.append(waiting.take())
                tokens += len(live[-1].packed)
            new = live[start:]
            for row in new:
                _open(row, memory.width)
            logits = self.forward.prefill(memory, new, start)
            self._said([branch for row in new for branch in row.open], logits)
            self._close(memory, live, done)

    def _step(self, memory: mem.Memory, live: list[Row], done: list[Said]) -> None:
        if live:
            logits = self.forward.step(memory, live)
            self._said([branch for row in live for branch in row.open], logits)
            self._close(memory, live, done)

    def _said(self, branches: list[Branch], logits: Tensor) -> None:
        for n, (branch, token) in enumerate(zip(branches, logits.argmax(-1).tolist(), strict=True)):
            if branch.first is None:
                branch.first = logits[n]
            branch.tokens.append(token)

    def _close(self, memory: mem.Memory, live: list[Row], done: list[Said]) -> None:
        """Hand over the answers that ended, and move the last rows into the places of those with no branch left."""
        for row in live:
            for branch in [branch for branch in row.open if self._ended(branch)]:
                row.open.remove(branch)
                assert branch.first is not None
                done.append(Said(branch.prompt, tuple(branch.tokens), branch.first))
        for r in reversed(range(len(live))):
            if not live[r].open:
                last = live.pop()
                if r < len(live):
                    memory.move(len(live), r, last.length)
                    live[r] = last

    def _ended(self, branch: Branch) -> bool:
        return len(branch.tokens) >= branch.prompt.limit or self.finished(branch.tokens, branch.prompt)

    def _halved(self, live: list[Row], why: str) -> list[Page]:
        """What has to be asked again in half the rows, or the prompts of the only row in two halves."""
        self.work.halvings += 1
        left = [Page(row.page.pixels, tuple(branch.prompt for branch in row.open)) for row in live]
        if len(left) > 1:
            self.rows = len(left) // 2
            return left
        self.rows = 1
        if not left or len(left[0].prompts) == 1:
            raise ModelError(f"one question about one image does not fit into memory: {why}")
        page, half = left[0], len(left[0].prompts) // 2
        return [Page(page.pixels, page.prompts[:half]), Page(page.pixels, page.prompts[half:])]


def _open(row: Row, width: int) -> None:
    """Begin the answers of a row, each behind the last token of its prompt."""
    row.length = len(row.packed)
    for prompt, leaf in zip(row.page.prompts, row.packed.leaves, strict=True):
        columns = np.zeros(width, dtype=bool)
        columns[: row.length] = row.packed.path(leaf)
        row.open.append(Branch(prompt, columns, int(row.packed.positions[leaf]) + 1))


def _width(row: Row) -> int:
    """Columns this row may come to fill."""
    return mem.aligned(len(row.packed) + sum(prompt.limit for prompt in row.page.prompts))


class _Waiting:
    """Pages still to be taken, some of them looked at already."""

    def __init__(self, pages: Iterable[Page], row: Callable[[Page], Row]) -> None:
        self.rows = (row(page) for page in pages)
        self.row = row
        self.ahead: deque[Row] = deque()
        self.more = True
        self._look()

    def __bool__(self) -> bool:
        return bool(self.ahead)

    def _look(self) -> None:
        wanted = LOOK_AHEAD - len(self.ahead)
        if wanted > 0 and self.more:
            new = list(islice(self.rows, wanted))
            self.more = len(new) == wanted
            self.ahead.extend(new)

    def take(self) -> Row:
        """The next page, as a row."""
        row = self.ahead.popleft()
        self._look()
        return row

    def put_back(self, pages: Iterable[Page]) -> None:
        """Ask these again, before all others."""
        self.ahead.extendleft(reversed([self.row(page) for page in pages]))
