"""The rows that an alignment trains on: which can be used, why the others cannot, and each read when it is wanted.

Of every row there is kept in memory where it lies and its length in words, 20 bytes in all, so that LLaVA's 665,000
conversations take no more than 14 MB.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.images import lies_inside
from harness.rows import can_be_a_file
from harness.vision_language.align import sources
from harness.vision_language.align.conversation import GPT, HUMAN, Turn, turns
from harness.vision_language.tokens import IMAGE

QUESTION = "Describe this image."
"""What a caption answers where it is trained on as a conversation."""
OUTSIDE = "the image lies outside the folder of images; name another by --images, or say --allow-outside"


@dataclass(frozen=True)
class Row:
    """A conversation, and the image it is about (None: it is about words only)."""

    image: Path | None
    said: tuple[Turn, ...]
    words: int
    """What rows are grouped by, as LLaVA counts: over all turns as they stand; negative where there is no image."""


@dataclass
class Counts:
    """How many rows there are, and of those that cannot be used how many by reason, each with the first one's name."""

    rows: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """One more that cannot be used."""
        self.bad[reason] = self.bad.get(reason, 0) + 1
        self.first.setdefault(reason, name)

    @property
    def share(self) -> float:
        """The share of rows that cannot be used."""
        return sum(self.bad.values()) / self.rows if self.rows else 0.0

    def said(self) -> str:
        """Every reason, how often, and where it was first met."""
        return "; ".join(f"{number} {why} (first: {self.first[why]})" for why, number in sorted(self.bad.items()))


class Unusable(Exception):
    """A row that cannot be trained on, and why, in words that are the same for all of its kind."""


class Rows(Sequence[Row]):
    """The usable rows of a source, each read from the disk when it is asked for."""

    def __init__(self, source: sources.Source, images: Path, allow_outside: bool = False) -> None:
        self.source, self.images, self.allow_outside = source, images, allow_outside
        self.starts, self.sizes, self.words = array("q"), array("l"), array("i")
        self.counts = Counts()
        self.digest = ""

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, n: Any) -> Any:
        """The nth row."""
        return self._read(self.source.row(sources.Place(self.starts[n], self.sizes[n])))

    def _read(self, told: Any) -> Row:
        return read(told, self.images)

    def look_through(self, unusable: Callable[[Row], str]) -> None:
        """Reads the source through: which rows can be used, their lengths in words, and a digest of them all."""
        total = hashlib.sha256()
        for place, told in self.source.rows():
            self.counts.rows += 1
            try:
                row = self._read(told)
                if row.image and not (self.allow_outside or lies_inside(row.image, self.images)):
                    raise Unusable(OUTSIDE)
                check(row, unusable)
            except Unusable as why:
                self.counts.add(str(why), named(told, self.counts.rows))
                continue
            self.starts.append(place.start)
            self.sizes.append(place.size)
            self.words.append(row.words)
            total.update(repr((str(row.image and row.image.name), row.said)).encode())
        self.digest = total.hexdigest()


def load(
    path: Path, images: Path | None, unusable: Callable[[Row], str], max_bad: float, allow_outside: bool = False
) -> Rows:
    """The rows of this file or folder; DataError where more than the share ``max_bad`` of them cannot be used.

    A row whose image lies outside the folder of images, links followed, can be used where that is allowed.
    """
    found = Rows(sources.source(path), images or (path if path.is_dir() else path.parent), allow_outside)
    found.look_through(unusable)
    counts = found.counts
    if not counts.rows:
        raise DataError(f"{path} holds no rows")
    if counts.share > max_bad:
        raise DataError(
            f"{path}: {sum(counts.bad.values())} of {counts.rows} rows cannot be used, more than --max-bad "
            f"{100 * max_bad:g} %: {counts.said()}"
        )
    if not len(found):
        raise DataError(f"{path}: none of its {counts.rows} rows can be used: {counts.said()}")
    return found


def read(told: Any, images: Path) -> Row:
    """A row of a data file: a conversation as LLaVA writes it, or an image with its caption as ``text``."""
    if not isinstance(told, dict):
        raise Unusable("neither a conversation nor a caption")
    image = told.get("image")
    if image is not None and not (isinstance(image, str) and can_be_a_file(image)):
        raise Unusable("'image' is no file name")
    conversation = told.get("conversations")
    if conversation is None and isinstance(told.get("text"), str) and image:
        asked = {"from": HUMAN, "value": f"{IMAGE}\n{QUESTION}"}
        conversation = [asked, {"from": GPT, "value": told["text"].strip()}]
    if conversation is None and image and "text" in told:
        raise Unusable("a caption is no text in UTF-8")
    if conversation is None:
        raise Unusable("neither a conversation nor a caption")
    said = _said(conversation)
    words = sum(len(one["value"].split()) for one in conversation)
    return Row(images / image if image else None, said, words if image else -words)


def _said(conversation: Any) -> tuple[Turn, ...]:
    if not isinstance(conversation, list) or not all(_is_turn(one) for one in conversation):
        raise Unusable("a turn is no {'from': …, 'value': …}")
    if sum(one["value"].count(IMAGE) for one in conversation) > 1:
        raise Unusable(f"more than one {IMAGE}")
    try:
        said = tuple(turns(conversation))
    except DataError as error:
        raise Unusable("roles out of order") from error
    return said


def _is_turn(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("from"), str) and isinstance(one.get("value"), str)


def check(row: Row, unusable: Callable[[Row], str]) -> None:
    """Unusable, with the reason, where this row cannot be trained on."""
    if len(row.said) < 2 or any(not turn.text.strip() for turn in row.said if turn.who == GPT):
        raise Unusable("an answer is empty")
    if len(row.said) % 2:
        raise Unusable("the last question has no answer")
    marked = [IMAGE in turn.text for turn in row.said]
    if any(marked[1:]):
        raise Unusable(f"{IMAGE} outside the first question")
    if marked[0] != (row.image is not None):
        raise Unusable(f"an image without {IMAGE}" if row.image else f"{IMAGE} without an image")
    if row.image and not row.image.is_file():
        raise Unusable("the image is missing")
    if why := unusable(row):
        raise Unusable(why)


def named(told: Any, number: int) -> str:
    """What a row is called in a message: its place, its id and its image."""
    parts = [f"row {number}"]
    if isinstance(told, dict):
        parts += [f"{key} {told[key]}" for key in ("id", "image") if isinstance(told.get(key), str | int)]
    return ", ".join(parts)
