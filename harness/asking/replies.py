"""What a model gives back is a reply to what it was asked, and its numbers are numbers; or the model is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from harness.errors import DegenerateError, ModelError
from harness.types import Answer, Failure, Reply, writable

ROUNDING = 1e-6
"""How far above 1 a probability may come by the rounding of float32."""


def sound(replies: Iterable[Reply], asked: Iterable[str], task: str) -> Iterator[Reply]:
    """The same replies, one for each sample that was asked.

    ModelError at the first that is none, or of another sample; DegenerateError where one is not a finite number.
    """
    due = set(asked)
    for sample, reply in replies:
        if sample.id not in due:
            raise ModelError(
                f"{task}: the model answers the sample '{sample.id}', which was not asked or has an answer"
            )
        due.remove(sample.id)
        if odd := _odd(reply):
            raise ModelError(f"{task}: the model answers the sample '{sample.id}' with {odd}")
        if isinstance(reply, Answer) and not all(map(math.isfinite, _numbers(reply))):
            raise DegenerateError(
                f"{task} gives scores that are not finite (sample {sample.id}); "
                "its weights are damaged, or overflow in this --dtype"
            )
        yield sample, reply


def _odd(reply: Any) -> str:
    """What is wrong with a reply; nothing where it is one."""
    if isinstance(reply, Failure):
        return "" if isinstance(reply.reason, str) else f"a failure whose reason is {reply.reason!r:.40}, no text"
    if not isinstance(reply, Answer):
        return f"{reply!r:.40}; right would be an Answer or a Failure"
    if reply.text is not None and not (isinstance(reply.text, str) and writable(reply.text)):
        return f"the text {reply.text!r:.40}, which is none"
    try:
        numbers = _numbers(reply)
    except (TypeError, ValueError):
        return "scores or a p_yes that are no numbers"
    if reply.p_yes is not None and not (math.isnan(numbers[-1]) or 0 <= numbers[-1] <= 1 + ROUNDING):
        return f"p_yes = {numbers[-1]:g}; right would be a probability, from 0 to 1"
    return ""


def _numbers(reply: Answer) -> list[float]:
    """Its scores, and last its p(yes) where it has one."""
    given = [*(reply.scores or ()), *(() if reply.p_yes is None else (reply.p_yes,))]
    if any(isinstance(one, str) for one in given):
        raise TypeError("texts are no numbers")
    return list(map(float, given))
