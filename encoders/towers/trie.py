"""Encode captions at the cost of what is new in each: every distinct prefix token once, under a tree mask.

Legend: N captions, R rows of L nodes each of which at most P end a caption, W the tower's width, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import CLIPModel

from encoders.towers import last_layer
from harness.errors import ModelError, UsageError

ROWS = (96, 384)
"""Nodes a row may hold; between, the width of the tower: long rows repeat few prefixes, short ones attend to little."""

Tokens = tuple[int, ...]


class PackedRow(NamedTuple):
    """Captions as trees in preorder: ``ends[i]`` is where the subtree of node i ends, ``leaves`` the captions' ends."""

    tokens: list[int]
    depths: list[int]
    ends: list[int]
    leaves: dict[Tokens, int]


def text_features(model: CLIPModel, token_ids: Sequence[Sequence[int]], row: int = 0) -> Tensor:
    """Projected features [N, D], not normalised: what ``get_text_features`` gives for the padded captions.

    ``token_ids`` are whole captions, from the start token to the end token (what follows it is left out); ``row``
    bounds the nodes under one mask (0 goes by the tower's width). The tower is causal and reads a caption at its end
    token, so a token's state depends on its prefix alone, and gradients
    add up in shared nodes to those of the padded way.
    """
    captions = [up_to_the_end(tuple(ids), model) for ids in token_ids]
    if not captions:
        return model.text_projection.weight.new_zeros(0, model.text_projection.out_features)  # type: ignore[no-any-return]
    # Sorted, captions with a beginning in common are neighbours, which is all that cutting them into trees needs.
    rows = _rows(sorted(set(captions)), row or _row(model))
    end_RPW = _states(model, rows)
    most = end_RPW.shape[1]
    place = {caption: r * most + n for r, one in enumerate(rows) for n, caption in enumerate(one.leaves)}
    index_N = torch.tensor([place[caption] for caption in captions], device=end_RPW.device)
    return model.text_projection(end_RPW.flatten(0, 1)[index_N])  # type: ignore[no-any-return]


def nodes(model: CLIPModel, token_ids: Sequence[Sequence[int]], row: int = 0) -> int:
    """How many tokens go through the tower for these captions, padding included."""
    count, length, _ = laid_out(model, token_ids, row)
    return count * length


def laid_out(model: CLIPModel, token_ids: Sequence[Sequence[int]], row: int = 0) -> tuple[int, int, int]:
    """How many rows these captions are packed into, how long each is with its padding, and how many ends each has."""
    rows = _rows(sorted({up_to_the_end(tuple(ids), model) for ids in token_ids}), row or _row(model))
    length = max((len(one.tokens) for one in rows), default=0)
    return len(rows), length, max((len(one.leaves) for one in rows), default=0)


def _row(model: CLIPModel) -> int:
    return max(ROWS[0], min(ROWS[1], model.text_projection.in_features))  # type: ignore[no-any-return]


def up_to_the_end(ids: Tokens, model: CLIPModel) -> Tokens:
    """The caption up to the token at which transformers pools."""
    config: Any = model.config.text_config
    # Configurations written before transformers' PR 24773 say 2 and are pooled at the highest id.
    end = max(ids, default=0) if config.eos_token_id == 2 else config.eos_token_id
    if end not in ids:
        raise ModelError(f"a caption of {len(ids)} tokens has no end token (id {end}): the tower would read its start")
    ids = ids[: ids.index(end) + 1]
    if len(ids) > config.max_position_embeddings:
        raise UsageError(f"a caption has {len(ids)} tokens; this tower reads {config.max_position_embeddings}")
    return ids


def _rows(captions: Sequence[Tokens], limit: int) -> list[PackedRow]:
    """Sorted distinct captions in as few rows as the limit allows, of about equal length."""
    limit = max([limit, *map(len, captions)])
    rows = list(_cut(captions, limit))
    mean = -(-sum(len(one.tokens) for one in rows) // len(rows)) if rows else 0
    # Every row is padded to the longest: as many rows at a lower limit cost less. Five tries are near enough.
    for even in range(mean, limit, max(1, (limit - mean) // 4)):
        cut = list(_cut(captions, max([even, *map(len, captions)])))
        if len(cut) == len(rows):
            return cut
    return rows


def _cut(captions: Sequence[Tokens], limit: int) -> Iterator[PackedRow]:
    """Rows filled one after the other; each begins a new forest, so a prefix is repeated only where a row ends."""
    one = PackedRow([], [], [], {})
    path: list[int] = []
    previous: Tokens = ()
    for caption in captions:
        shared = _shared(previous, caption)
        if len(one.tokens) + len(caption) - shared > limit:
            yield one
            # Nothing is seen across rows: the next one repeats the whole prefix.
            one, path, shared = PackedRow([], [], [], {}), [], 0
        del path[shared:]
        for depth in range(shared, len(caption)):
            path.append(len(one.tokens))
            one.tokens.append(caption[depth])
            one.depths.append(depth)
            one.ends.append(0)
        # Ancestors that were there before grow too: what follows them is still below them.
        for node in path:
            one.ends[node] = len(one.tokens)
        one.leaves[caption] = path[-1]
        previous = caption
    if one.tokens:
        yield one


def _shared(one: Tokens, other: Tokens) -> int:
    """How many tokens two captions begin with in common."""
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return n
    return min(len(one), len(other))


def _states(model: CLIPModel, rows: Sequence[PackedRow]) -> Tensor:
    """The tower's final states [R, P, W] where captions end: those of each row in their order, then padding."""
    tower, device = model.text_model, model.text_projection.weight.device
    length = max(len(one.tokens) for one in rows)
    token_RL = torch.tensor([_padded(one.tokens, length) for one in rows], device=device)
    depth_RL = torch.tensor([_padded(one.depths, length) for one in rows], device=device)
    # A padding node is a subtree of its own, so that no softmax is over nothing.
    end_RL = torch.tensor([[*one.ends, *range(len(one.ends) + 1, length + 1)] for one in rows], device=device)
    # Not through ``embeddings.forward``: it refuses rows longer than the positions a single caption may have.
    embed = tower.embeddings
    state_RLW = embed.token_embedding(token_RL) + embed.position_embedding(depth_RL)
    mask = _mask(end_RL, state_RLW.dtype, additive=tower.config._attn_implementation != "sdpa")
    most = max(len(one.leaves) for one in rows)
    read_RP = torch.tensor([_padded([*one.leaves.values()], most) for one in rows], device=device)
    return tower.final_layer_norm(last_layer.states(tower, state_RLW, read_RP, mask))  # type: ignore[no-any-return]


def _padded(values: list[int], length: int) -> list[int]:
    return values + [0] * (length - len(values))


def _mask(end_RL: Tensor, dtype: torch.dtype, *, additive: bool) -> Tensor:
    """What each node may see, [R, 1, L, L]: itself and its ancestors, the nodes whose subtree it lies in."""
    node_L = torch.arange(end_RL.shape[1], device=end_RL.device)
    seen_RLL = (node_L <= node_L.unsqueeze(1)) & (node_L.unsqueeze(1) < end_RL.unsqueeze(1))
    seen = seen_RLL.unsqueeze(1)
    if not additive:
        return seen
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
