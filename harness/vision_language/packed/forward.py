"""The two calls a packed LLaVA is made of: a tree of prompts into the cache, and one more token on every open branch.

Legend: R rows (images), N nodes of a tree, A tokens of a step in a row, L columns in sight, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.compute.onednn import fast_linear
from harness.errors import DegenerateError, ModelError
from harness.vision_language.packed.kv_cache import KVCache, aligned
from harness.vision_language.packed.prefix_tree import Tree
from harness.vision_language.packed.requests import ImageRequest, Prompt, WorkCounts

# Attentions that compute under the mask they are handed, and language models that read nothing else.
TREE_ATTENTION = ("sdpa", "eager")
TREE_MODELS = ("llama", "mistral", "qwen2")
TREE_ROPE = ("default", "linear", "llama3")


@dataclass(slots=True)
class Branch:
    """One prompt being answered: the columns it sees, the place of its next token, and its tokens so far."""

    prompt: Prompt
    sees: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    position: int = 0
    tokens: list[int] = field(default_factory=list)
    first: Tensor | None = None
    read: Any = None


@dataclass(slots=True)
class CacheRow:
    """One image in the cache: its tree, the columns it fills, and the branches still open.

    ``begun`` are the answers, one for each prompt, that go on where memory ran out; the tree holds their tokens too.
    """

    request: ImageRequest
    packed: Tree
    begun: Sequence[Branch] = ()
    length: int = 0
    open: list[Branch] = field(default_factory=list)


def why_not_packed(model: Any) -> str:
    """Why this model must be asked one by one, or "" where packed trees give its answers."""
    text = model.config.get_text_config()
    if len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1:
        return "it is spread over several devices"
    if text._attn_implementation not in TREE_ATTENTION:
        return f"its attention '{text._attn_implementation}' takes no tree mask"
    if text.model_type not in TREE_MODELS:
        return f"its language model '{text.model_type}' is not known to follow a given mask"
    if getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True):
        return "its attention slides over a window"
    rope = (getattr(text, "rope_parameters", None) or {}).get("rope_type", "default")
    return "" if rope in TREE_ROPE else f"its '{rope}' positions depend on the length of the batch"


class Said(NamedTuple):
    """The logits [N, V] of some prompts or branches, and the likeliest token of each."""

    logits: Tensor
    tokens: list[int]


class Launched(NamedTuple):
    """What a call comes to, perhaps still being computed: logits, the likeliest tokens, whether all are finite."""

    logits: Tensor
    told: Tensor


class Forward:
    """A LLaVA's parts, called with explicit positions and 4-D masks.

    transformers' LlamaModel makes positions without looking at the mask, so neither is ever left to it.
    """

    def __init__(self, model: Any, work: WorkCounts) -> None:
        self.model, self.work = model, work
        self.language_model = model.model.language_model
        self.embed = model.get_input_embeddings()
        self.device, self.dtype = self.embed.weight.device, self.embed.weight.dtype

    def linear(self) -> AbstractContextManager[Any]:
        """The fastest linear layers for where the model is."""
        return fast_linear(self.device, self.dtype, self.embed.weight.shape[1])

    def prefill(self, cache: KVCache, rows: Sequence[CacheRow], start: int) -> Said:
        """Put the trees of these rows into the cache from row ``start`` on; what is said to each prompt."""
        height = aligned(max(len(row.packed) for row in rows))
        tokens = np.zeros((len(rows), height), dtype=np.int64)
        positions = np.zeros((len(rows), height), dtype=np.int64)
        columns = np.full((len(rows), height), cache.spare, dtype=np.int64)
        ends = np.broadcast_to(np.arange(height) + 1, (len(rows), height)).copy()  # padding sees itself
        for r, row in enumerate(rows):
            n = len(row.packed)
            # An image token is no word of the language model: any id will do, patches take its place below.
            tokens[r, :n] = np.where(row.packed.picture < 0, row.packed.tokens, 0)
            positions[r, :n] = row.packed.positions
            columns[r, :n] = np.arange(n)
            ends[r, :n] = row.packed.ends
            self.work.prompt_tokens += n
        self.work.prefills += 1
        self.work.padded_tokens += tokens.size - sum(len(row.packed) for row in rows)
        embeds_RND = self._with_pictures(self.embed(self._to(tokens)), rows)
        written = cache.write(start, self._rows(start, rows), self._to(columns), None)
        node = self._to(np.arange(height))
        sees_RNN = (node[None, None, :] <= node[None, :, None]) & (node[None, :, None] < self._to(ends)[:, None, :])
        hidden_RND = self._language(embeds_RND, sees_RNN, positions, written)
        leaves = np.concatenate([r * height + np.asarray(row.packed.leaves) for r, row in enumerate(rows)])
        return self.landed(self._launched(hidden_RND.flatten(0, 1)[self._to(leaves)]))

    def step(self, cache: KVCache, rows: Sequence[CacheRow], start: int = 0) -> Launched:
        """Feed the last token of every open branch of these rows, which lie in the cache from row ``start`` on.

        What is said, in the order of rows and branches, when it has ``landed``; a GPU need not be waited for till then.
        """
        widest = max(len(row.open) for row in rows)
        sight = aligned(max(row.length + len(row.open) for row in rows))
        tokens = np.zeros((len(rows), widest), dtype=np.int64)
        positions = np.zeros((len(rows), widest), dtype=np.int64)
        columns = np.full((len(rows), widest), cache.spare, dtype=np.int64)
        sees = np.zeros((len(rows), widest, sight), dtype=bool)
        sees[:, :, 0] = True  # padding must see something, or its softmax is not a number
        for r, row in enumerate(rows):
            for a, branch in enumerate(row.open):
                # The token sees itself, whose key this very call writes; columns differ, so branches do not meet.
                branch.sees[row.length + a] = True
                tokens[r, a], positions[r, a], columns[r, a] = branch.tokens[-1], branch.position, row.length + a
                seen = branch.sees[:sight]
                sees[r, a, : len(seen)] = seen
                branch.position += 1  # rotary positions are those of asking alone, whatever column it lies in
            row.length += len(row.open)
            self.work.step_tokens += len(row.open)
        self.work.steps += 1
        self.work.padded_tokens += tokens.size - sum(len(row.open) for row in rows)
        written = cache.write(start, self._rows(start, rows), self._to(columns), sight)
        hidden_RAD = self._language(self.embed(self._to(tokens)), self._to(sees), positions, written)
        real = np.concatenate([r * widest + np.arange(len(row.open)) for r, row in enumerate(rows)])
        return self._launched(hidden_RAD.flatten(0, 1)[self._to(real)])

    def keep(self, cache: KVCache, at: int, row: CacheRow) -> None:
        """Drop every column of a row with one open branch that this branch does not see."""
        (branch,) = row.open
        columns = np.flatnonzero(branch.sees[: row.length])
        cache.keep(at, self._to(columns))
        branch.sees[: row.length] = np.arange(row.length) < len(columns)
        row.length = len(columns)

    def _rows(self, start: int, rows: Sequence[CacheRow]) -> Tensor:
        return self._to(np.arange(start, start + len(rows)))

    def _with_pictures(self, embeds_RND: Tensor, rows: Sequence[CacheRow]) -> Tensor:
        """The embeddings, with the projected patch tokens where the image stands."""
        pictured = [r for r, row in enumerate(rows) if row.request.pixels is not None]
        if not pictured:
            return embeds_RND
        pixels = torch.stack([p for r in pictured if (p := rows[r].request.pixels) is not None])
        tower = next(self.model.model.vision_tower.parameters())
        features = self.model.get_image_features(pixel_values=pixels.to(tower.device, tower.dtype)).pooler_output
        self.work.vision_calls += 1
        self.work.images += len(pictured)
        for r, patches in zip(pictured, features, strict=True):
            nodes = np.flatnonzero(rows[r].packed.picture >= 0)
            which = rows[r].packed.picture[nodes]
            if len(which) == 0 or which.max() + 1 != len(patches):
                raise ModelError(f"the prompt has {len(set(which))} image tokens where the tower gives {len(patches)}")
            embeds_RND[r, self._to(nodes)] = patches.to(embeds_RND)[self._to(which)]
        return embeds_RND

    def _language(self, embeds: Tensor, sees: Tensor, positions: np.ndarray, cache: KVCache) -> Tensor:
        # The lowest number and not -inf: a row of nothing but -inf, as padding has, would come out of softmax as nan.
        zero = torch.zeros((), dtype=self.dtype, device=self.device)
        lowest = torch.full((), torch.finfo(self.dtype).min, dtype=self.dtype, device=self.device)
        return self.language_model(  # type: ignore[no-any-return]
            inputs_embeds=embeds,
            attention_mask=torch.where(sees[:, None], zero, lowest),
            position_ids=self._to(positions),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    def _launched(self, hidden: Tensor) -> Launched:
        logits = self.model.lm_head(hidden).float()
        # Both in one transfer: it is the only time in a call that the host waits for the device.
        return Launched(logits, torch.cat([logits.argmax(-1), torch.isfinite(logits).all().long()[None]]))

    def landed(self, launched: Launched) -> Said:
        """What a call said; DegenerateError where it is no number."""
        *tokens, finite = self.fetched(launched.told)
        if not finite:
            raise DegenerateError("the language model's logits are not finite: its weights or its dtype are at fault")
        return Said(launched.logits, tokens)

    def fetched(self, told: Tensor) -> list[Any]:
        """These numbers on the host."""
        self.work.waits += 1
        return told.tolist()

    def _to(self, array: np.ndarray) -> Tensor:
        self.work.copied_bytes += array.nbytes
        there = torch.from_numpy(array)
        # From pinned memory the copy goes on while the host does; from any other the host waits for it.
        there = there.pin_memory() if self.device.type == "cuda" else there
        return there.to(self.device, non_blocking=True)
