"""Answer many prompts about many images at once: each image's prompts as one tree, rows refilled as they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.errors import ModelError
from harness.vision_language.packed import kv_cache
from harness.vision_language.packed.forward import Branch, CacheRow, Forward, Launched, Said
from harness.vision_language.packed.prefix_tree import tree
from harness.vision_language.packed.requests import Completion, ImageRequest, Prompt, WorkCounts

# Requests looked at before the cache is laid out: the longest of them sets its width.
PEEKED = 32
# Rows are refilled once one in so many is free, so that a GPU prefills several images in a call.
REFILL = 16
# Moving a column costs about as much as some steps' reading of it.
MOVING = 8


class Step(NamedTuple):
    """A step that was launched, of the rows from ``start`` on."""

    start: int
    launched: Launched


class PackedDecoder:
    """Greedy answers of a LLaVA, the same as one by one, with every shared token computed once.

    ``finished`` tells whether an answer's tokens end it; ``rows`` is how many images are in memory at once (0: what
    fits). Where memory runs out the rows are halved, and answers go on where they were. ``read`` is asked once a
    prefill what there is to read of the logits [N, V] of first tokens, and gives a number of each.
    """

    def __init__(
        self,
        model: Any,
        finished: Callable[[Sequence[int], Prompt], bool],
        rows: int = 0,
        read: Callable[[Tensor], Tensor | None] = lambda logits: None,
    ) -> None:
        self.work = WorkCounts()
        self.forward = Forward(model, self.work)
        self.finished, self.rows, self.read = finished, rows, read
        self.config = model.config.get_text_config()
        self.image_token = model.config.image_token_id

    def answers(self, requests: Iterable[ImageRequest]) -> Iterator[Completion]:
        """What was said to every prompt, each as soon as it ends."""
        waiting = _Waiting(requests, self._row)
        cache: kv_cache.KVCache | None = None
        live: list[CacheRow] = []
        done: list[Completion] = []
        while live or waiting:
            short: list[str] = []
            step: Step | None = None
            with self._computing(short):
                if not live and cache is not None and cache.width < _laid(waiting.peeked[0]):
                    cache = None  # before the new one is laid out: how many rows fit is what is then free
                cache = self._laid_out(waiting) if cache is None else cache
                self._fill(cache, live, waiting, done)
                step = self._launch(cache, live)
            # A GPU is at work while these are counted and written: outside the context, whose inference mode is ours.
            yield from done
            done = []
            with self._computing(short):
                if cache is not None and step:
                    self._land(cache, live, step, done)
            if short:
                cache = None
                waiting.put_back(self._halved(live, short[0]))
                live = []
        yield from done

    @contextmanager
    def _computing(self, short: list[str]) -> Iterator[None]:
        with kv_cache.out_of_memory(short), torch.inference_mode(), self.forward.linear():
            yield

    def _row(self, request: ImageRequest) -> CacheRow:
        return CacheRow(request, tree([prompt.tokens for prompt in request.prompts], self.image_token))

    def _laid_out(self, waiting: _Waiting) -> kv_cache.KVCache:
        """A cache in which the requests looked at fit, and so the next one."""
        width = max(_laid(row) for row in waiting.peeked)
        # A cache wider than any request costs memory in every row, one too narrow is laid out again (``answers``).
        each = kv_cache.row_bytes(self.config, width, self.forward.dtype.itemsize)
        rows = self.rows or kv_cache.auto_rows(each, self.forward.device)
        self.work.columns = max(self.work.columns, width)
        # Where the stream has ended, rows beyond those already looked at would stay empty.
        return kv_cache.KVCache(
            self.config.num_hidden_layers, min(rows, len(waiting.peeked) + waiting.more * rows), width
        )

    def _fill(self, cache: kv_cache.KVCache, live: list[CacheRow], waiting: _Waiting, done: list[Completion]) -> None:
        """Take requests into free rows, as many in one call as a prefill should hold."""
        most = kv_cache.PREFILL_TOKENS.get(self.forward.device.type, 1)
        if live and cache.rows - len(live) < cache.rows // REFILL:
            return
        while waiting and len(live) < cache.rows and _laid(waiting.peeked[0]) <= cache.width:
            start, tokens = len(live), 0
            while waiting and len(live) < cache.rows and _laid(waiting.peeked[0]) <= cache.width and tokens < most:
                live.append(waiting.take())
                tokens += len(live[-1].packed)
            # New rows stand behind the live ones: a prefill writes one run of rows, a step reads the first ones.
            new = live[start:]
            for row in new:
                _open(row)
            branches = [branch for row in new for branch in row.open]
            said = self.forward.prefill(cache, new, start)
            read = self.read(said.logits)
            for branch, number in zip(branches, () if read is None else self.forward.fetched(read), strict=False):
                if branch.first is None:
                    branch.read = number
            self._said(branches, said)
            self._close(cache, live, start, done)

    def _launch(self, cache: kv_cache.KVCache, live: list[CacheRow]) -> Step | None:
        """One more token: of the rows with several open answers, and those behind them, where there are any.

        So no row of one long answer is padded to the width of an image's questions. New rows come last, so the rows
        before the first of several answers have one each, and wait for the few steps that questions take.
        """
        if not live:
            return None
        start = next((r for r, row in enumerate(live) if len(row.open) > 1), 0)
        rows = live[start:]
        needed = max(row.length + len(row.open) for row in rows)
        if needed > cache.width:
            cache.grow(min(max(map(_width, rows)), kv_cache.aligned(needed + kv_cache.GROWTH)))
            self.work.growths += 1
            self.work.columns = max(self.work.columns, cache.width)
        return Step(start, self.forward.step(cache, rows, start))

    def _land(self, cache: kv_cache.KVCache, live: list[CacheRow], step: Step, done: list[Completion]) -> None:
        """The tokens of a step, when they are there."""
        said = self.forward.landed(step.launched)
        self._said([branch for row in live[step.start :] for branch in row.open], said)
        self._close(cache, live, step.start, done)

    def _said(self, branches: list[Branch], said: Said) -> None:
        for n, (branch, token) in enumerate(zip(branches, said.tokens, strict=True)):
            if branch.first is None:
                branch.first = said.logits[n]
            branch.tokens.append(token)

    def _close(self, cache: kv_cache.KVCache, live: list[CacheRow], start: int, done: list[Completion]) -> None:
        """Hand over the answers that ended in the rows from ``start`` on, and let go of what they held.

        The last rows move into the places of those with no answer left.
        """
        for r in range(start, len(live)):
            row = live[r]
            before = len(row.open)
            for branch in [branch for branch in row.open if self._ended(branch)]:
                row.open.remove(branch)
                assert branch.first is not None
                done.append(Completion(branch.prompt, tuple(branch.tokens), branch.first, branch.read))
            if before > 1 == len(row.open) and _worth_keeping_alone(row):
                self.forward.keep(cache, r, row)
        # From the end: the last row, which moves into the gap, has been looked at, so it still has a branch.
        for r in reversed(range(start, len(live))):
            if not live[r].open:
                last = live.pop()
                if r < len(live):
                    cache.move(len(live), r, last.length)
                    live[r] = last

    def _ended(self, branch: Branch) -> bool:
        return len(branch.tokens) >= branch.prompt.limit or self.finished(branch.tokens, branch.prompt)

    def _halved(self, live: list[CacheRow], why: str) -> list[CacheRow]:
        """What goes on in half the rows, or the prompts of the only row in two halves."""
        self.work.halvings += 1
        if len(live) > 1:
            self.rows = len(live) // 2
            return [self._again(row, row.open) for row in live]
        self.rows = 1
        if not live or len(live[0].open) == 1:
            raise ModelError(f"one question about one image does not fit into memory: {why}")
        branches, half = live[0].open, len(live[0].open) // 2
        return [self._again(live[0], branches[:half]), self._again(live[0], branches[half:])]

    def _again(self, row: CacheRow, branches: Sequence[Branch]) -> CacheRow:
        """These answers of a row as a row of its own, what they have said so far behind their prompts."""
        # A model that says the image's own token is asked again: in a tree it would stand for a patch.
        begun = [Branch(one.prompt) if self.image_token in one.tokens else one for one in branches]
        said = tree([(*one.prompt.tokens, *one.tokens) for one in begun], self.image_token)
        return CacheRow(ImageRequest(row.request.pixels, tuple(one.prompt for one in begun)), said, begun)


def _open(row: CacheRow) -> None:
    """Begin the answers of a row, each behind the last token of its prompt, or go on with those that were begun."""
    row.length = len(row.packed)
    row.open = [*row.begun] or [Branch(prompt) for prompt in row.request.prompts]
    # A branch sees the path to its leaf and its own tokens; what other prompts put between them it never sees.
    for branch, leaf in zip(row.open, row.packed.leaves, strict=True):
        branch.sees = np.zeros(_width(row), dtype=bool)
        branch.sees[: row.length] = row.packed.path(leaf)
        branch.position = int(row.packed.positions[leaf]) + 1


def _worth_keeping_alone(row: CacheRow) -> bool:
    """Whether what the only answer left may still read, in vain, is far more than moving its columns together is."""
    (branch,) = row.open
    seen = int(branch.sees[: row.length].sum())
    return (branch.prompt.limit - len(branch.tokens)) * (row.length - seen) > MOVING * seen


def _width(row: CacheRow) -> int:
    """Columns this row may come to fill."""
    return kv_cache.aligned(len(row.packed) + sum(prompt.limit for prompt in row.request.prompts))


def _laid(row: CacheRow) -> int:
    """Columns to lay out for this row to begin with; it comes to fill more where its answers are long."""
    return min(_width(row), kv_cache.aligned(len(row.packed) + kv_cache.GROWTH))


class _Waiting:
    """Requests still to be taken, some of them looked at already."""

    def __init__(self, requests: Iterable[ImageRequest], row: Callable[[ImageRequest], CacheRow]) -> None:
        self.rows = (row(request) for request in requests)
        self.peeked: deque[CacheRow] = deque()
        self.more = True
        self._look()

    def __bool__(self) -> bool:
        return bool(self.peeked)

    def _look(self) -> None:
        wanted = PEEKED - len(self.peeked)
        if wanted > 0 and self.more:
            new = list(islice(self.rows, wanted))
            self.more = len(new) == wanted
            self.peeked.extend(new)

    def take(self) -> CacheRow:
        """The next request, as a row."""
        row = self.peeked.popleft()
        self._look()
        return row

    def put_back(self, rows: Sequence[CacheRow]) -> None:
        """Take these before all others."""
        self.peeked.extendleft(reversed(rows))
