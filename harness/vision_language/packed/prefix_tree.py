"""Pack the prompts about one image into a tree of tokens, in which what they share stands once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """Distinct prompt prefixes as nodes in preorder, so that the descendants of a node follow it directly.

    ``positions`` is a node's depth, ``ends`` one past its last descendant, ``picture`` which image token of its path
    it is (-1 for a word), ``leaves`` the node on which each prompt ends.
    """

    tokens: np.ndarray
    positions: np.ndarray
    ends: np.ndarray
    picture: np.ndarray
    leaves: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def path(self, leaf: int) -> np.ndarray:
        """Bool [N]: the node and its ancestors, which is what it may see."""
        node = np.arange(len(self))
        return (node <= leaf) & (leaf < self.ends)


def tree(prompts: Sequence[Tokens], image_token: int) -> Tree:
    """The tree of these prompts; the shared prefix is read off the token ids, wherever the image stands in them."""
    tokens: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    picture: list[int] = []
    leaves = np.zeros(len(prompts), dtype=np.int64)
    path: list[int] = []
    seen = [0]  # image tokens before each depth of the path
    before: Tokens = ()
    for n in sorted(range(len(prompts)), key=lambda k: prompts[k]):
        shared = _shared(before, prompts[n])
        for node in path[shared:]:
            ends[node] = len(tokens)
        del path[shared:], seen[shared + 1 :]
        for token in prompts[n][shared:]:
            is_image = token == image_token
            path.append(len(tokens))
            tokens.append(token)
            positions.append(len(path) - 1)
            ends.append(0)
            picture.append(seen[-1] if is_image else -1)
            seen.append(seen[-1] + is_image)
        leaves[n] = path[-1]
        before = prompts[n]
    for node in path:
        ends[node] = len(tokens)
    return Tree(np.array(tokens), np.array(positions), np.array(ends), np.array(picture), leaves)


def _shared(left: Tokens, right: Tokens) -> int:
    """How many tokens two prompts have in common at their start."""
    most = min(len(left), len(right))
    if left[:most] == right[:most]:
        return most
    return next(k for k in range(most) if left[k] != right[k])
