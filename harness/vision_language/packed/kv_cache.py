"""A key-value cache with one row for each image, laid out once and written in place; and how many rows fit.

Legend: R rows, H key-value heads, W columns (tokens) a row can hold, D features of a head, A tokens of a step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

# Columns are handed out in eights: CUDA's attention kernels want masks whose rows are so aligned.
ALIGN = 8
# Columns for new tokens are laid out so many at a time: an answer may be 512 tokens long, and few are longer than 100.
GROWTH = 128
# More rows than this gain little: a CPU saturates, and an H200 is by then bound by reading keys and values.
MOST_ROWS = {"cpu": 32, "cuda": 160}
# Tokens of one prefill call: on a CPU one image at a time is as fast and needs the least memory.
PREFILL_TOKENS = {"cpu": 1, "cuda": 16_384}
# Images of a batch for each row. At its end rows stand empty; what a kill costs is the batches under way, which on a
# CPU are minutes.
BATCH = {"cpu": 1, "cuda": 4}
# Of the memory that is free, what the cache may take; the rest is for activations.
SHARE = {"cpu": 0.4, "cuda": 0.75}


class Layer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer: a prefill sees only itself, a step sees the first columns of the first rows."""

    is_sliding = False

    def __init__(self, cache: KVCache) -> None:
        super().__init__()
        # Not held: a circle would keep the tensors of a cache no longer used until Python looks for circles.
        self.cache = cast("KVCache", weakref.proxy(cache))

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Lay out this layer's rows, once."""
        rows, width = self.cache.rows, self.cache.width + ALIGN
        _, heads, _, features = key_states.shape
        # Zeros, not empty: a column not yet written is masked, but still multiplied by 0, so it must be finite.
        self.keys = key_states.new_zeros(rows, heads, width, features)
        self.values = value_states.new_zeros(rows, heads, width, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write where the memory says; the keys and values this call may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        at = self.cache
        # An index on both sides of a slice puts the indexed dimensions first: [R, A, H, D].
        self.keys[at.row[:, None], :, at.columns] = key_states.transpose(1, 2)
        self.values[at.row[:, None], :, at.columns] = value_states.transpose(1, 2)
        if at.visible is None:
            return key_states, value_states
        rows = slice(at.first, at.first + len(at.row))
        return self.keys[rows, :, : at.visible], self.values[rows, :, : at.visible]

    def grow(self, width: int) -> None:
        """As many rows of more columns, with what is in them; the spare column moves to the end."""
        if not self.is_initialized:
            return
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(*old.shape[:2], width + ALIGN, old.shape[-1])
            new[:, :, : old.shape[2] - ALIGN] = old[:, :, :-ALIGN]
            setattr(self, name, new)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """What a mask of this call spans."""
        return self.cache.visible or query_length, 0

    def get_seq_length(self) -> int:
        """Columns in sight."""
        return self.cache.visible or 0

    def get_max_length(self) -> int:
        """Columns a row can hold."""
        return self.cache.width


class KVCache(Cache):  # type: ignore[misc]
    """A transformers cache of ``rows`` by ``width``; nothing in it is ever repeated, concatenated or expanded."""

    def __init__(self, layers: int, rows: int, width: int) -> None:
        self.rows, self.width = rows, width
        self.first = 0
        self.row = torch.zeros(0, dtype=torch.long)
        self.columns = torch.zeros(0, dtype=torch.long)
        self.visible: int | None = None
        super().__init__(layers=[Layer(self) for _ in range(layers)])

    @property
    def spare(self) -> int:
        """A column no token ever sees, where padding is written."""
        return self.width

    def write(self, first: int, row: Tensor, columns: Tensor, visible: int | None) -> KVCache:
        """The cache, told where the next tokens go: rows ``first`` and on ([R]), columns [R, A].

        ``visible`` is how many columns of their rows they see (None: each other).
        """
        self.first, self.row, self.columns, self.visible = first, row, columns, visible
        return self

    def grow(self, width: int) -> None:
        """Lay out so many columns for each row, a layer after the other."""
        for layer in self.layers:
            assert isinstance(layer, Layer)
            layer.grow(width)
        self.width = width

    def move(self, source: int, target: int, length: int) -> None:
        """Put the first columns of one row into another."""
        for layer in self.layers:
            assert isinstance(layer, Layer)
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]

    def keep(self, row: int, columns: Tensor) -> None:
        """Put these columns of a row, in ascending order, into its first ones."""
        for layer in self.layers:
            assert isinstance(layer, Layer)
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys[row, :, : len(columns)] = layer.keys[row, :, columns]
            layer.values[row, :, : len(columns)] = layer.values[row, :, columns]


def aligned(length: int) -> int:
    """The next multiple of eight."""
    return -(-length // ALIGN) * ALIGN


def row_bytes(config: Any, width: int, itemsize: int) -> int:
    """What one row of the cache takes, for a language model of this configuration."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * head * (width + ALIGN) * itemsize  # type: ignore[no-any-return]


def free_bytes(device: torch.device) -> int:
    """Memory still to be had on this device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    import psutil

    return int(psutil.virtual_memory().available)


def auto_rows(bytes_each: int, device: torch.device, free: Callable[[torch.device], int] = free_bytes) -> int:
    """How many rows of this size to keep at once: what fits, up to where more gain nothing."""
    kind = device.type if device.type in SHARE else "cpu"
    return max(1, min(MOST_ROWS[kind], int(free(device) * SHARE[kind]) // max(1, bytes_each)))


def full_batch(device: torch.device, rows: int = 0) -> int:
    """How many images are answered before rows are left empty: enough for the last ones to cost little."""
    kind = device.type if device.type in BATCH else "cpu"
    return BATCH[kind] * (rows or MOST_ROWS[kind])


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether this is a lack of memory, on whichever device; torch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@contextmanager
def out_of_memory(caught: list[str]) -> Iterator[None]:
    """Note a lack of memory in ``caught`` and go on; every other error passes."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        caught.append(str(error).splitlines()[0] if str(error) else "out of memory")
    if caught and torch.cuda.is_available():
        torch.cuda.empty_cache()
