"""Read what a server replied: the words and p(yes), or why they are no answer; a key that it echoes is masked."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

import httpx

from harness import traces
from harness.types import Answer, Failure

MASK = "***"
SHORTEST_KEY = 6
"""Shorter ones are no secrets but words such as EMPTY, which an answer may hold."""
LARGEST = 1 << 26
"""Bytes of a reply that are read, unpacked: far above any answer with its log-probabilities."""
NO_ANSWER = ("content_filter", "error", "abort", "tool_calls", "function_call")
"""Ways to finish by which the model was not let speak to its end, or did not answer in words."""
ROUNDING = 0.01
"""How far above 0 half precision may put the logarithm of a probability."""
ROOM = re.compile(r"maximum context length is (\d+)")
TAKEN = re.compile(r"\((\d+) in the messages|has (\d+) input tokens|\((\d+) in your prompt|resulted in (\d+) tokens")
WHOLE = re.compile(r"max_model_len=(\d+)")
"""How vLLM 0.32 (renderers/params.py) refuses more tokens than its context; as many as that it cuts to what fits."""
TOO_LONG = re.compile(
    r"context length|context_length|max_(?:completion_)?tokens'? is too large|cannot be greater than max_model_len",
    re.IGNORECASE,
)


def masked(text: str, key: str) -> str:
    """The text without the key: as it stands, as JSON and URLs write it, and in base64 at whatever place."""
    if len(key) >= SHORTEST_KEY:
        for shape in (key, json.dumps(key)[1:-1], quote(key, safe=""), quote_plus(key), *_in_base64(key.encode())):
            text = text.replace(shape, MASK)
    return text


def _in_base64(key: bytes) -> Iterator[str]:
    """What base64 makes of the key after 0, 1 and 2 other bytes, without the letters that its neighbours share."""
    for before in range(3):
        bits = slice(-(-before * 8 // 6), (before + len(key)) * 8 // 6)
        for alphabet in (b"+/", b"-_"):
            yield base64.b64encode(bytes(before) + key, alphabet).decode()[bits]


@dataclass(frozen=True)
class Heard:
    """A server's reply as it came: its status, its words with the key masked, how long it asks to be left alone."""

    status: int
    text: str
    wait: float = 0.0
    unreadable: str = ""
    """What is wrong with the bytes, where they are no UTF-8, too many, or never all there."""

    @property
    def ok(self) -> bool:
        """Whether the server says that all went well."""
        return 200 <= self.status < 300

    def told(self) -> str:
        """The status and the beginning of the words."""
        return f"HTTP {self.status}: {self.text[:200]}"

    def too_long(self) -> bool:
        """Whether it refuses the request because prompt and answer do not fit into its context."""
        return self.status in (400, 413, 422) and bool(TOO_LONG.search(self.text))

    def fits(self) -> int | None:
        """How many tokens an answer may have at most, where the refusal tells it."""
        room, taken = ROOM.search(self.text), TAKEN.search(self.text)
        if whole := WHOLE.search(self.text):
            return int(whole[1])
        return int(room[1]) - int(next(filter(None, taken.groups()))) if room and taken else None


def heard(response: httpx.Response, key: str, patience: float = math.inf) -> Heard:
    """The reply of a response that is still to be read, for at most so many seconds."""
    data, unreadable, end = bytearray(), "", time.monotonic() + patience
    for part in response.iter_bytes():
        data += part
        if len(data) > LARGEST or time.monotonic() > end:
            late = f"not whole after {patience:g} s"
            unreadable = f"larger than {LARGEST >> 20} MiB" if len(data) > LARGEST else late
            del data[1000:]
            break
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text, unreadable = data.decode(errors="replace"), unreadable or f"no UTF-8 (byte {error.start})"
    return Heard(response.status_code, masked(text, key), told_to_wait(response), unreadable)


def told_to_wait(response: httpx.Response) -> float:
    """How many seconds the server asks to be left alone."""
    try:
        seconds = float(response.headers.get("retry-after", 0))
    except ValueError:  # a date
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


class NoReply(Exception):
    """Why a reply is no answer."""


def read(reply: Heard, until: str, tokens: int, key: str = "") -> Answer | Failure:
    """The answer in a reply to a question that allowed so many tokens, with p(yes) where its log-probabilities tell."""
    try:
        choice = _choice(reply)
        words = _words(choice["message"])
        words = masked(words, key).strip()
        answer = traces.answer_of(words)
        ended = choice.get("finish_reason")
        if ended in NO_ANSWER:
            raise NoReply(f"the server ended it with finish_reason {ended}, so it is no answer")
        if answer is None or (not answer.strip() and ended == "length"):
            return Failure(f"finish_reason {ended}: {traces.no_answer(words, tokens)}")
        return Answer(traces.cut(words, until), None if answer != words else p_yes(choice.get("logprobs")))
    except NoReply as why:
        return Failure(f"{why}: {reply.text[:200]}")


def gives_logprobs(reply: Heard) -> bool:
    """Whether the reply holds log-probabilities; some servers take the request for them and give none."""
    try:
        return bool(_choice(reply)["logprobs"]["content"][0]["top_logprobs"])
    except (NoReply, LookupError, TypeError):
        return False


def _choice(reply: Heard) -> Mapping[str, Any]:
    """The first choice of a chat completion, whose message is an object."""
    if reply.unreadable:
        raise NoReply(f"the server's reply is {reply.unreadable}")
    try:
        choice = json.loads(reply.text)["choices"][0]
        choice["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise NoReply("the server's reply is no chat completion") from error
    if not isinstance(choice, dict) or not isinstance(choice["message"], dict):
        raise NoReply("the server's reply is no chat completion")
    return choice


def _words(message: Mapping[str, Any]) -> str:
    """The whole text of a message, with the reasoning that a server puts into a field of its own."""
    content = message["content"]
    if content is None:
        content = message.get("refusal") or ""
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else parts
    # vLLM's docs, features/reasoning_outputs: reasoning, called reasoning_content until 0.11.
    trace = message.get("reasoning") or message.get("reasoning_content") or ""
    if not isinstance(content, str) or not isinstance(trace, str):
        raise NoReply("the server's words are no text")
    if trace.strip() and not traces.has_trace(content):
        content = f"<think>{trace}</think>{content}"
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise NoReply("the server's words hold half a surrogate pair") from error
    return content


def p_yes(told: Any) -> float | None:
    """Mass of yes by mass of yes and no among the first token's likeliest; None where neither is among them."""
    mass = {"yes": 0.0, "no": 0.0}
    try:
        content = (told or {}).get("content") or [{}]
        for one in content[0].get("top_logprobs") or ():
            word = one["token"].strip("▁Ġ \n\t").lower()
            if word in mass:
                mass[word] += _probability(one["logprob"])
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise NoReply("the server's log-probabilities have no shape that is known") from error
    total = sum(mass.values())
    if not math.isfinite(total):
        raise NoReply("the server's log-probabilities are not finite")
    return mass["yes"] / total if total else None


def _probability(logarithm: Any) -> float:
    if isinstance(logarithm, bool) or logarithm > ROUNDING:
        raise NoReply("the server's log-probabilities are none: one is above 0")
    return math.exp(logarithm)
