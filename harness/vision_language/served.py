"""The token ids that a server reads, by its own word, beside those that the folder it serves is asked with here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx

from harness.errors import ModelError

PROBE = "Is the sky blue? Answer yes or no."
SHOWING = ("vllm", "sglang")
"""Servers, by what they say of themselves in ``/v1/models``, that have ``/tokenize``; others are not asked for it."""


def ids_in(text: str, key: str) -> list[int] | None:
    """The token ids under this key of a reply; None where there are none."""
    try:
        found = json.loads(text)[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(id, int) for id in found) else None


def tokenised(client: httpx.Client, url: str, body: Mapping[str, Any]) -> list[int] | None:
    """What ``/tokenize``, beside vLLM's ``/v1``, makes of a prompt or of messages; None where it is not offered."""
    try:
        response = client.post(f"{url.removesuffix('/v1')}/tokenize", json=body)
    except httpx.RequestError:
        return None
    return ids_in(response.text, "tokens") if response.is_success else None


def lacks_start(client: httpx.Client, url: str, model: str) -> bool | None:
    """Whether chats are read without the start token that the server's own tokenizer puts before a plain text.

    vLLM adds no special tokens to a chat, and LLaVA-1.5's template on the hub writes none. None where the server does
    not show what it reads.
    """
    if listed(client, url, model).get("owned_by") not in SHOWING:
        return None
    text = {"model": model, "prompt": PROBE}
    bare = tokenised(client, url, text | {"add_special_tokens": False})
    if not bare:
        return None
    whole = tokenised(client, url, text | {"add_special_tokens": True})
    chat = tokenised(client, url, {"model": model, "messages": [{"role": "user", "content": PROBE}]})
    if not whole or not chat:
        return None
    return whole[0] != bare[0] and chat[0] != whole[0]


def listed(client: httpx.Client, url: str, model: str) -> dict[str, Any]:
    """What the server's list of models says of this one; empty where it says nothing."""
    try:
        models = client.get(f"{url}/models").json()["data"]
        return next(entry for entry in models if entry["id"] == model)
    except (httpx.RequestError, ValueError, LookupError, TypeError, RecursionError, StopIteration):
        return {}


def root(client: httpx.Client, url: str, model: str) -> Path | None:
    """The folder from which the server says it serves this model, where such a folder lies on this machine."""
    told = listed(client, url, model).get("root")
    return Path(told) if isinstance(told, str) and os.path.isfile(os.path.join(told, "config.json")) else None


class Folder:
    """The folder that a server serves, as transformers reads it here."""

    def __init__(self, path: Path) -> None:
        from harness.vision_language.layouts import checkpoint
        from harness.vision_language.layouts.folder import read_json

        self.path = path
        self.processor = checkpoint.processor_of(path)
        config = read_json(path / "config.json")
        self.image_token = config.get("image_token_id", config.get("image_token_index"))

    def ids(self, prompt: str, image: Any) -> list[int] | None:
        """The ids of transformers' ``apply_chat_template(tokenize=True)``; None where the folder has no template."""
        from harness.vision_language import template

        if template.own_chat(self.processor) is None:
            return None
        try:
            found: list[int] = template.read(self.processor, prompt, image)["input_ids"][0].tolist()
        except ValueError:
            return None
        return found

    def differs(self, served: Sequence[int], prompt: str, image: Any) -> str | None:
        """How a question's ids differ from those it has here; empty where they do not, None where nothing compares."""
        here = self.ids(prompt, image)
        if here is None:
            return None
        if list(served) == here or self._folded(served) == self._folded(here) != here:
            return ""
        first = next((n for n, (one, other) in enumerate(zip(served, here, strict=False)) if one != other), None)
        at = min(len(served), len(here)) if first is None else first
        return (
            f"the server reads {len(served)} token ids, {self.path} asked here {len(here)}; they differ from the "
            f"{at + 1}. on: {list(served[at : at + 4])} there, {here[at : at + 4]} here"
        )

    def _folded(self, ids: Sequence[int]) -> list[int]:
        """The ids with each picture as one: servers that show a prompt before the picture's places are filled in."""
        return [id for token, run in groupby(ids) for id in ([token] if token == self.image_token else run)]


def folder(client: httpx.Client, url: str, model: str, told: str) -> Folder | None:
    """The served folder: the one that the user names, or the one that the server names where it lies here."""
    if told and not os.path.isfile(os.path.join(told, "config.json")):
        raise ModelError(f"?folder={told}: no model lies there; name the folder that the server serves")
    path = Path(told) if told else root(client, url, model)
    try:
        return Folder(path) if path else None
    except ModelError:
        if told:
            raise
        return None
