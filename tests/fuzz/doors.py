"""The front doors of ohd-bench: what may be broken behind each, and the codes with which it may refuse."""

from __future__ import annotations

from collections.abc import Iterator

import behind_answers
import behind_data
import behind_runs
import behind_words
from knocking import Door, Said

DOORS: dict[str, Door] = {
    "score": behind_answers.score,
    "run on data": behind_data.data,
    "run on images": behind_data.images,
    "resume": behind_runs.resume,
    "leaderboard": behind_runs.leaderboard,
    "compare, show, report, export": behind_runs.compare,
    "models": behind_words.configs,
    "training settings": behind_words.settings,
    "words of commands": behind_words.words,
}


CODES = {
    "score": (0, 1, 2, 3),
    "run on data": (0, 3, 6),
    "run on images": (0, 1, 3, 6),
    "resume": (0, 2, 3),
    "leaderboard": (0, 1),
    "compare, show, report, export": (0, 2, 3),
    "models": (0, 1, 2, 4, 6),
    "training settings": (2, 3, 4),
    "words of commands": (0, 2, 3, 4),
}
"""The codes that the documentation gives to what each door may say."""


def faults(door: str, said: Said) -> Iterator[str]:
    """What is wrong with how a command ended, whatever was broken."""
    if not said.trace and said.code not in CODES[door]:
        yield f"exit code {said.code}: {said.err[-200:]}"
    if not said.trace and said.code and not said.err.strip():
        yield "ended without a word"
    if any(ord(letter) < 32 and letter not in "\n\t\r" for letter in said.out):
        yield "a control character reached the terminal"
