"""Reasoning traces: where the words end that a model says to itself, and its answer begins.

``<think> … </think>`` is what DeepSeek-R1, Qwen3, GLM-4.1V and their kin write, ``◁think▷ … ◁/think▷`` Kimi-VL,
``[THINK] … [/THINK]`` Magistral. A template may write the opening mark into the prompt, so that only the closing one
is in the answer.
"""

from __future__ import annotations

import re

OPEN = re.compile(r"<(?:think|thinking|thought|reasoning)>|◁think▷|\[THINK\]", re.IGNORECASE)
CLOSE = re.compile(r"</(?:think|thinking|thought|reasoning)>|◁/think▷|\[/THINK\]", re.IGNORECASE)
ANSWER = re.compile(r"\s*<answer>(?P<words>.*?)(?:</answer>\s*)?", re.IGNORECASE | re.DOTALL)


def answer_of(text: str) -> str | None:
    """The words after the trace; all of them where there is no trace; None where the trace has no end."""
    closed = [mark.end() for mark in CLOSE.finditer(text)]
    if closed:
        return text[closed[-1] :]
    return None if OPEN.match(text.lstrip()) else text


def spoken(text: str) -> str | None:
    """What counts of an answer: its words after a trace, without ``<answer>`` around them; None where none are left."""
    answer = answer_of(text)
    if answer is None or answer == text:
        return answer
    wrapped = ANSWER.fullmatch(answer)
    return (wrapped["words"] if wrapped else answer).strip() or None


def has_trace(text: str) -> bool:
    """Whether there is a trace in the text, ended or not."""
    return answer_of(text) != text


def is_mark(token: str) -> bool:
    """Whether this token is the mark of a trace."""
    return bool(OPEN.fullmatch(token) or CLOSE.fullmatch(token))


def opened(prompt: str) -> str:
    """The mark with which a prompt opens the trace of its answer; nothing where it opens none."""
    ends = [mark for mark in OPEN.finditer(prompt) if mark.end() == len(prompt.rstrip())]
    return ends[-1].group() if ends else ""


def ended(text: str, until: str) -> bool:
    """Whether what ends an answer is in it; what stands in a trace ends nothing."""
    return bool(until) and until in (answer_of(text) or "")


def cut(text: str, until: str) -> str:
    """The text up to and with what ends the answer in it, the trace whole."""
    answer = answer_of(text)
    if not until or not answer or until not in answer:
        return text
    return text[: len(text) - len(answer) + answer.index(until) + len(until)]


def no_answer(text: str, tokens: int) -> str:
    """Why a trace without an end is no answer, with all that was said."""
    return f"no answer within {tokens} tokens, the reasoning before it is not over; it said: {text}"
