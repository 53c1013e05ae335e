"""Which object a question asks about, whether it is there, and what was said: the ground of attribution."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.records import Record
from harness.types import Sample

QUESTION = re.compile(
    r"^Is there (?:an?|any|the) (?P<object>.+?) in (?:the|this) (?:image|picture|photo)\?", re.IGNORECASE
)
ELSEWHERE = ("attribute", "relation")
"""Groups whose questions are about more than presence."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An object that is or is not in an image, and whether the model said it is; None where it was not asked."""

    id: str
    task: str
    image: Path
    object: str
    present: bool
    said: bool | None = None


def asked_about(sample: Sample) -> str | None:
    """The object whose presence this sample asks about; None where it asks something else."""
    if sample.target not in ("yes", "no") or any(part in ELSEWHERE for part in sample.group.split("/")):
        return None
    found = QUESTION.match(sample.prompt)
    return found["object"].lower() if found else None


def annotated(sample: Sample) -> list[str]:
    """The objects that a caption's annotation says are in the image; empty where the sample asks for no caption."""
    if sample.target in ("yes", "no") or sample.texts or not sample.prompt:
        return []
    return [name.strip().lower() for name in sample.target.split(",") if name.strip()]


def claims(task: str, samples: Iterable[Sample], records: Mapping[str, Record]) -> Iterator[Claim]:
    """Every question of presence that was answered yes or no, then every annotated object that was not asked about."""
    known: set[tuple[Path, str]] = set()
    every = list(samples)
    for sample in every:
        name = asked_about(sample)
        if name is None or sample.image is None:
            continue
        known.add((sample.image, name))
        if (said := _said(records.get(sample.id))) is not None:
            yield Claim(sample.id, task, sample.image, name, sample.target == "yes", said)
    for sample in every:
        for name in annotated(sample):
            if sample.image is not None and (sample.image, name) not in known:
                known.add((sample.image, name))
                yield Claim(f"{sample.id}/{name}", task, sample.image, name, True)


def _said(record: Record | None) -> bool | None:
    """Whether the answer said yes, as the task read it; None where there is no answer, or none that can be read."""
    if record is None or not record.scored:
        return None
    counts = record.counts
    return True if counts.get("said_yes") else False if counts.get("said_no") else None


def labels(samples: Iterable[Sample]) -> dict[tuple[Path, str], bool]:
    """Whether an object is in an image, for every pair that the data tells: questions, and annotations.

    Where an image is annotated for a caption, every object of the annotations' vocabulary that it does not name is
    taken to be absent, as the caption's scoring takes it.
    """
    every = list(samples)
    named = {sample.image: set(annotated(sample)) for sample in every if sample.image and annotated(sample)}
    vocabulary = set().union(*named.values()) if named else set()
    found = {(image, name): name in own for image, own in named.items() for name in vocabulary}
    for sample in every:
        name = asked_about(sample)
        if name is not None and sample.image is not None:
            found[sample.image, name] = sample.target == "yes"
    return found
