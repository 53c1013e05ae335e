"""Write captions with an LLM behind an OpenAI-compatible server; every raw reply is kept, and asked for only once."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import digest
from harness.errors import OhdBenchError, UsageError

KEY = "OHD_BENCH_LLM_KEY"
"""The environment variable that holds the server's key; OPENAI_API_KEY where it is not set."""
TRIES = 3
"""How often a reply that cannot be read is asked for again."""

INSERT = (
    "Here is a caption of a photograph: {caption}\n"
    "Rewrite it so that it also names each of these objects: {names}. Change as little as you can, keep it one fluent "
    "English sentence of about the same style, and name no other object that the caption does not name."
)
ALTER = (
    "Here is a caption of a photograph: {caption}\n"
    "Rewrite it so that it no longer names any of these objects: {without}. Put one of these in their place instead: "
    "{instead}. Change as little as you can and keep it one fluent English sentence."
)
FORM = '\nAnswer with JSON only: {"captions": ["first version", "second version"]}'


@dataclass(frozen=True)
class Server:
    """Where the LLM is and how it is asked. Waits double from ``wait`` seconds after a refusal, or as it says."""

    url: str
    model: str
    concurrency: int = 8
    timeout: float = 60.0
    tries: int = 6
    wait: float = 1.0

    def __post_init__(self) -> None:
        if not self.model or not self.url.startswith(("http://", "https://")):
            raise UsageError(f"--llm {self.url} needs an http(s) address and a --model")

    def identity(self) -> dict[str, str]:
        """What its replies depend on."""
        return {"model": self.model, "prompts": digest.of_json([INSERT, ALTER, FORM])[:12]}


class LlmError(OhdBenchError):
    """The server cannot be asked (exit 1): what it has said is kept, and the same command goes on."""


@dataclass
class Replies:
    """Every raw reply, a line each in ``replies.jsonl``, by the digest of what was asked."""

    path: Path
    known: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, folder: Path) -> Replies:
        """Those of earlier commands; a torn last line is left out and cut off."""
        path = folder / "replies.jsonl"
        replies = cls(path)
        if path.is_file():
            whole = path.read_bytes()
            end = whole.rfind(b"\n") + 1
            if end < len(whole):
                with path.open("r+b") as file:
                    file.truncate(end)
            for line in whole[:end].splitlines():
                row = json.loads(line)
                replies.known[row["key"]] = row["reply"]
        return replies

    def add(self, key: str, prompt: str, reply: str) -> None:
        """Keeps one, on disk before anything is done with it."""
        line = json.dumps({"key": key, "prompt": prompt, "reply": reply}, ensure_ascii=False) + "\n"
        with self.lock:
            self.known[key] = reply
            with self.path.open("a", encoding="utf-8", errors="surrogatepass") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())


class LlmWriter:
    """The writer of captions that asks an LLM; what cannot be read as captions counts as nothing written."""

    plenty = False

    def __init__(self, server: Server, replies: Replies) -> None:
        self._server, self._replies = server, replies

    def insert(self, caption: str, names: Sequence[str]) -> list[str]:
        """What the LLM writes with these objects named as well."""
        return self._asked(INSERT.format(caption=json.dumps(caption, ensure_ascii=False), names=", ".join(names)))

    def replace(self, caption: str, names: Sequence[str]) -> list[str]:
        """Nothing: an LLM that inserts may put one object in another's place."""
        return []

    def alter(self, caption: str, without: Sequence[str], instead: Sequence[str]) -> list[str]:
        """What the LLM writes with these objects gone and others there."""
        said = json.dumps(caption, ensure_ascii=False)
        return self._asked(ALTER.format(caption=said, without=", ".join(without), instead=", ".join(instead[:5])))

    def _asked(self, prompt: str) -> list[str]:
        for attempt in range(TRIES):
            key = digest.of_json([self._server.identity(), prompt, attempt])[:32]
            reply = self._replies.known.get(key)
            if reply is None:
                reply = _fetched(self._server, prompt + FORM)
                self._replies.add(key, prompt, reply)
            if texts := captions_in(reply):
                return texts
        return []


def captions_in(reply: str) -> list[str]:
    """The captions of a reply, one line each; none where it is not the JSON that was asked for."""
    text = reply.strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError):
        return []
    listed = told.get("captions") if isinstance(told, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        return []
    return [said for one in listed if (said := " ".join(one.split()))]


def _fetched(server: Server, prompt: str) -> str:
    """The words of the model; tried again after time-outs, rate limits and faults of the server."""
    import httpx

    key = os.environ.get(KEY) or os.environ.get("OPENAI_API_KEY", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"model": server.model, "messages": [{"role": "user", "content": prompt}]}
    said, wait = "", 0.0
    for turn in range(server.tries):
        time.sleep(wait)
        wait = server.wait * 2**turn
        try:
            reply = httpx.post(
                f"{server.url.rstrip('/')}/chat/completions", json=body, headers=headers, timeout=server.timeout
            )
        except httpx.HTTPError as error:
            said = type(error).__name__
            continue
        if reply.status_code in (408, 409, 429) or reply.status_code >= 500:
            said = f"HTTP {reply.status_code}"
            wait = _asked_to_wait(reply.headers.get("Retry-After", ""), wait)
            continue
        if reply.status_code != 200:
            raise LlmError(f"{server.url} refuses: HTTP {reply.status_code} {reply.text[:200]}")
        if (words := _words(reply.content)) is not None:
            return words
        said, wait = "it sends no chat completion", 0.0
    raise LlmError(f"{server.url} gave no answer in {server.tries} tries ({said}); the same command goes on from here")


def _asked_to_wait(header: str, otherwise: float) -> float:
    try:
        return min(float(header), 60.0)
    except ValueError:
        return otherwise


def _words(content: bytes) -> str | None:
    try:
        words = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return words if isinstance(words, str) else None
