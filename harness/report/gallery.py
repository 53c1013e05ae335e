"""The pictures behind the numbers: what a change put right and broke, what both get wrong, invented words marked."""

from __future__ import annotations

import base64
import io
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import tallies
from harness.comparison.compare import Comparison
from harness.comparison.significance import correct
from harness.errors import DataError
from harness.images import ImageError, lies_inside, open_image
from harness.records import Record
from harness.types import Answer, Sample, Task

SIDE = 192
LONGEST = 1500
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of an answer, marked where it names what is not there."""

    text: str
    invented: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """One model's answer, in parts, with how many characters were left out."""

    name: str
    parts: tuple[Part, ...]
    right: bool
    more: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """One sample with what each side answered."""

    task: str
    group: str
    kind: str
    id: str
    image: str
    picture: str
    prompt: str
    target: str
    said: tuple[Said, ...]


def cards(
    one: Comparison, tasks: Mapping[str, Task], most: int, seed: int = 0, fence: Path | None = None
) -> Iterator[Card]:
    """Up to so many cards of each kind and task, drawn by seed: fixed, broken, and wrong on both sides.

    Captions are drawn apart from questions, of which there are many more.
    """
    for found in one.tasks:
        name = found.task.name
        if name not in one.base.records:  # groups of runs: no one answer stands for them
            continue
        task = tasks.get(name)
        samples = _samples(task, fence)
        first, second = tallies.common(one.base.records[name], one.candidate.records[name])
        shelves: dict[tuple[str, bool], list[tuple[Record, Record]]] = {}
        for before, after in zip(first, second, strict=True):
            if (kind := _kind(before, after)) is not None:
                shelves.setdefault((kind, "captions" in before.counts), []).append((before, after))
        said_before, said_after = one.base.worded(name), one.candidate.worded(name)
        for (kind, captions), pairs in sorted(shelves.items()):
            chosen = random.Random(f"{seed}/{name}/{kind}/{captions}").sample(pairs, min(most, len(pairs)))
            for before, after in chosen:
                sides = ((one.base.name, said_before[before.id]), (one.candidate.name, said_after[after.id]))
                yield _card(task, samples.get(before.id), kind, name, sides)


def mixed(every: Sequence[Card]) -> list[Card]:
    """The same cards, one of each task and kind in turn, so that the first page shows all."""
    shelves: dict[tuple[str, ...], list[Card]] = {}
    for card in every:
        shelves.setdefault((card.task, card.kind, card.prompt[:8]), []).append(card)
    longest = max((len(shelf) for shelf in shelves.values()), default=0)
    return [shelf[i] for i in range(longest) for shelf in shelves.values() if i < len(shelf)]


def _samples(task: Task | None, fence: Path | None) -> dict[str, Sample]:
    """The task's samples by id, those outside the fence without their picture.

    None where its data is not at hand, so that a report of kept answers still works.
    """
    if task is None:
        return {}
    try:
        return {sample.id: _fenced(sample, fence) for sample in task.samples()}
    except DataError:
        return {}


def _fenced(sample: Sample, fence: Path | None) -> Sample:
    outside = fence is not None and sample.image is not None and not lies_inside(sample.image, fence)
    return replace(sample, image=None) if outside else sample


def _kind(before: Record, after: Record) -> str | None:
    was, now = correct(before), correct(after)
    if was is None or now is None or (was and now):
        return None
    return "wrong on both" if not was and not now else "fixed" if now else "broken"


def _card(task: Task | None, sample: Sample | None, kind: str, name: str, sides: Sequence[tuple[str, Record]]) -> Card:
    record = sides[0][1]
    return Card(
        name,
        record.group,
        kind,
        record.id,
        record.image,
        thumbnail(sample.image) if sample and sample.image else "",
        sample.prompt if sample else "",
        _target(sample),
        tuple(said(title, one, task, sample) for title, one in sides),
    )


def _target(sample: Sample | None) -> str:
    if sample is None:
        return ""
    return sample.texts[int(sample.target)] if sample.texts else sample.target


def said(name: str, record: Record, task: Task | None, sample: Sample | None) -> Said:
    """What one side answered, cut where it is very long, invented words marked."""
    assert isinstance(record.reply, Answer)
    if record.reply.text is None:
        return Said(name, (Part(_ranked_first(record.reply, sample)),), bool(correct(record)))
    text = record.reply.text[:LONGEST]
    more = len(record.reply.text) - len(text)
    captioned = task is not None and sample is not None and record.counts.get("invented", 0) > 0
    parts = marked(text, task, sample) if captioned and task and sample else (Part(text),)
    return Said(name, parts, bool(correct(record)), more)


def _ranked_first(answer: Answer, sample: Sample | None) -> str:
    scores = answer.scores or ()
    best = max(range(len(scores)), key=scores.__getitem__, default=0)
    return sample.texts[best] if sample and best < len(sample.texts) else f"text {best + 1} first"


def marked(text: str, task: Task, sample: Sample) -> tuple[Part, ...]:
    """The text in parts; a word is marked where a caption of it alone (or of it and the next) invents something."""
    words = list(WORD.finditer(text))
    inside: list[tuple[int, int]] = []
    for i, word in enumerate(words):
        pair = text[word.start() : words[i + 1].end()] if i + 1 < len(words) else ""
        if _invents(word.group(), task, sample):
            inside.append(word.span())
        elif pair and not _invents(words[i + 1].group(), task, sample) and _invents(pair, task, sample):
            inside.append((word.start(), words[i + 1].end()))
    parts: list[Part] = []
    at = 0
    for start, end in inside:
        if start >= at:
            parts += [Part(text[at:start]), Part(text[start:end], True)]
            at = end
    return tuple(part for part in (*parts, Part(text[at:])) if part.text)


def _invents(words: str, task: Task, sample: Sample) -> bool:
    return task.count(sample, Answer(words)).get("invented", 0) > 0


def thumbnail(path: Path) -> str:
    """The picture as a small JPEG in a data address; empty where it is not there or cannot be read."""
    try:
        image = open_image(path)
    except (ImageError, FileNotFoundError):
        return ""
    image.thumbnail((SIDE, SIDE))
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(kept.getvalue()).decode("ascii")
