"""``openai``: any server that speaks OpenAI's chat completions (vLLM, SGLang, ``transformers serve``, hosted ones)."""

from __future__ import annotations

import math
import os
import re
from urllib.parse import urlsplit

from harness import registry
from harness.errors import ModelError, UsageError
from harness.types import LVLM, Encoder, LvlmHost, Place, Spec

OPTIONS = ("model", "folder", "key_env", "concurrency", "retries", "timeout", "backoff", "logprobs", "tokens")
NUMBERS = {"concurrency": "8", "retries": "5", "timeout": "120", "backoff": "1"}


@registry.lvlm("openai", elsewhere=lambda spec: True)
def openai(spec: Spec, place: Place) -> LvlmHost:
    """Any server that speaks OpenAI's chat completions: vLLM, SGLang, ``transformers serve``, hosted ones.

    ``openai:http://host/v1?model=NAME[&key_env=VARIABLE&concurrency=8&retries=5&timeout=120&logprobs=no&tokens=N]``;
    ``tokens`` is how many new ones an answer may have, where a task's own number is too few for a model that reasons;
    ``folder=DIR`` is where what is served lies on this machine, for token ids to be compared.
    """
    if "key" in spec.options or "api_key" in spec.options:
        raise UsageError("a key does not belong in a spec, which is recorded: set OPENAI_API_KEY, or ?key_env=VARIABLE")
    try:
        address = urlsplit(spec.location)
        address.port  # noqa: B018 (raises where it is none)
        (address.hostname or "").encode("idna")
    except ValueError as error:
        raise UsageError(f"'{spec.text}': {error}; write openai:http://host:port/v1?model=NAME") from error
    if "@" in address.netloc:
        raise UsageError("a password does not belong in the address, which is recorded: set OPENAI_API_KEY")
    registry.no_more_options(spec, *OPTIONS)
    if address.scheme not in ("http", "https") or not re.fullmatch(r"[^\s%\x00-\x20\x7f]+", address.hostname or ""):
        raise UsageError(f"'{spec.text}' holds no address; write openai:http://host:port/v1?model=NAME")
    if not spec.options.get("model"):
        raise UsageError(f"'{spec.text}': say which model the server is to use: ?model=NAME")
    from harness.vision_language.remote import Remote

    remote = Remote(spec, key(spec), **{name: number(spec, name) for name in NUMBERS})
    remote.require_server()

    def host(encoder: Encoder | None) -> LVLM:
        if encoder is not None:
            raise ModelError(
                f"{spec.name}: a server's tower cannot be swapped from here; write the swapped model with "
                "ohd-bench encoder merge, serve that folder, and run without --encoder"
            )
        return remote

    return host


def key(spec: Spec) -> str:
    """The key from the environment: $OPENAI_API_KEY, or the variable that the spec names, which then must be set."""
    name = spec.options.get("key_env", "")
    if name and not os.environ.get(name):
        raise UsageError(f"?key_env={name}: the environment has no such variable")
    found = os.environ.get(name or "OPENAI_API_KEY", "").strip()
    if not (found.isascii() and found.isprintable()):
        raise UsageError(f"${name or 'OPENAI_API_KEY'} holds a character that no key has")
    return found


def number(spec: Spec, name: str) -> float:
    """A number among the options; UsageError where it is none."""
    try:
        value = float(spec.options.get(name, NUMBERS[name]))
    except ValueError as error:
        raise UsageError(f"?{name}={spec.options[name]} is no number") from error
    if not math.isfinite(value):
        raise UsageError(f"?{name}={spec.options[name]} is no number")
    if value < 0 or (name == "concurrency" and value < 1):
        raise UsageError(f"?{name}={spec.options[name]} is too small")
    return value
