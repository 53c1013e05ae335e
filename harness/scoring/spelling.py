"""Images and questions by keys that do not depend on how a tool spells them."""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache
from pathlib import Path
from typing import Any

_COCO = re.compile(r"COCO_(?:train|val|test)20\d\d_(?=\d{12}$)", re.IGNORECASE)
_PICTURE = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE)
_YES_NO = re.compile(r"^(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would)\b.*\?$")
LONGEST_NAME = 300
"""Longer text under an image's name is the picture itself."""


@lru_cache(maxsize=1 << 17)
def image_keys(name: str | int) -> frozenset[str]:
    """The keys of an image by name, path or number: its stem without COCO's prefix, and ``#42`` for a bare number."""
    last = re.split(r"[/\\]", str(name).strip())[-1]
    last = last.removesuffix(".0") if re.fullmatch(r"\d{1,18}\.0", last) else last  # a number of pandas
    bare = _PICTURE.sub("", last)
    stem = _COCO.sub("", bare)
    return frozenset({stem, f"#{int(stem)}"} if bare == last and stem.isascii() and stem.isdigit() else {stem})


@lru_cache(maxsize=1 << 17)
def sample_keys(image: Path | None) -> frozenset[str]:
    """The keys under which a sample's image may be told: as ``image_keys``, and the number that its name ends in."""
    if image is None:
        return frozenset()
    stem = _COCO.sub("", image.stem)
    number = re.search(r"\d{1,18}$", stem)
    return frozenset({stem, f"#{int(number[0])}"} if number else {stem})


def is_picture(name: str) -> bool:
    """Whether a text is the name of a picture by its look: a picture's suffix, or COCO's prefix and number."""
    last = re.split(r"[/\\]", name.strip())[-1]
    return len(name) <= LONGEST_NAME and bool(_PICTURE.search(last) or _COCO.match(last))


def is_image(value: Any) -> bool:
    """Whether a value names an image: text of a name's length, or a number."""
    if isinstance(value, str):
        return 0 < len(value.strip()) <= LONGEST_NAME
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def counts_rows(name: Any) -> bool:
    """Whether an image is called by the number of a row, as in VLMEvalKit's tables (``images/POPE/0.jpg``)."""
    return re.fullmatch(r"\d{1,6}", _PICTURE.sub("", re.split(r"[/\\]", str(name))[-1])) is not None


@lru_cache(maxsize=1 << 16)
def plain(question: str) -> str:
    """The question in lower case with single spaces; "imange", as POPE's older files have it, is "image"."""
    words = question.replace("<image>", " ").lower().replace("imange", "image").split()
    return " ".join("a" if word == "an" else word for word in words)


@lru_cache(maxsize=1 << 16)
def asked(prompt: str) -> str:
    """The key of a sample's question: its first line; what follows is an instruction."""
    return plain(prompt.strip().partition("\n")[0])


def find_question(told: str, known: Container[str]) -> str | None:
    """The known question that stands in a prompt, whatever is written around it; the last of several."""
    found = [piece for piece in _pieces(told) if piece in known]
    return found[-1] if found else None


@lru_cache(maxsize=1 << 16)
def _pieces(told: str) -> tuple[str, ...]:
    """The parts of a prompt that may be its question: lines, sentences that ask, and what follows a colon in them."""
    whole = [plain(told), *(plain(line) for line in told.splitlines())]
    asking = [sentence.strip() for text in whole for sentence in re.findall(r"[^?]*\?", text)]
    tails = [sentence[at.end() :].strip() for sentence in asking for at in re.finditer(r"[:>.!\]\"]\s*", sentence)]
    return (*whole, *asking, *tails)


def is_yes_no(told: str) -> bool:
    """Whether a prompt asks for yes or no by its form."""
    return any(_YES_NO.match(piece) for piece in _pieces(told))
