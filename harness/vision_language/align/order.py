"""In which order rows are trained on: shuffled, or grouped by modality and length as LLaVA-1.5's second stage is.

Source: haotian-liu/LLaVA@c121f04, llava/train/llava_trainer.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def even_chunks(indices: Sequence[int], lengths: Sequence[int], chunks: int) -> list[list[int]]:
    """The indices in so many chunks of one number and nearly one length; dealt out where they do not go up."""
    if len(indices) % chunks:
        return [list(indices[start::chunks]) for start in range(chunks)]
    filled: list[list[int]] = [[] for _ in range(chunks)]
    sums = [0.0] * chunks
    for index in indices:
        shortest = sums.index(min(sums))
        filled[shortest].append(index)
        sums[shortest] += lengths[index]
        if len(filled[shortest]) == len(indices) // chunks:
            sums[shortest] = math.inf
    return filled


def by_length(lengths: Sequence[int], batch: int, world: int, draw: torch.Generator) -> list[int]:
    """Rows in megabatches drawn at random, each sorted by length and split into ``world`` batches of like length."""
    drawn = torch.randperm(len(lengths), generator=draw).tolist()
    size = world * batch
    order: list[int] = []
    for start in range(0, len(drawn), size):
        mega = sorted(drawn[start : start + size], key=lambda n: lengths[n], reverse=True)
        order += [n for chunk in even_chunks(mega, lengths, world) for n in chunk]
    return order


def length_grouped(
    lengths: Sequence[int], batch: int, world: int, seed: int, megabatch_seed: int | None = None
) -> list[int]:
    """LLaVA's order: megabatches of one modality and like length; the last of each joined, by index, at the end.

    ``lengths`` are positive for rows with an image, negative for those without; ``world`` is processes times
    accumulation steps; ``megabatch_seed`` seeds the order of the megabatches alone, where it is not to go on from
    ``seed``.
    """
    draw = torch.Generator().manual_seed(seed)
    of_megabatches = draw if megabatch_seed is None else torch.Generator().manual_seed(megabatch_seed)
    if len({length > 0 for length in lengths}) < 2:
        return by_length(lengths, batch, world, of_megabatches)
    kinds = []
    for sign in (1, -1):
        of_kind = [n for n, length in enumerate(lengths) if length * sign > 0]
        found = by_length([abs(lengths[n]) for n in of_kind], batch, world, draw)
        kinds.append(_megabatches([of_kind[n] for n in found], batch * world))
    last = [n for kind in kinds for n in kind.pop()]
    whole = [mega for kind in kinds for mega in kind]
    mixed = [whole[n] for n in torch.randperm(len(whole), generator=of_megabatches).tolist()]
    return [n for mega in mixed for n in mega] + sorted(last)


def _megabatches(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def shuffled(count: int, seed: int) -> list[int]:
    """So many rows in an order drawn by the seed."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()


def filled(order: list[int], size: int) -> list[int]:
    """The order filled up from its start to a multiple of ``size``, as accelerate does it for several processes."""
    missing = -len(order) % size
    return order + (order * math.ceil(missing / len(order)))[:missing]
