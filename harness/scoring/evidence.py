"""What a row says of its question, held against a task's samples: which of them it may be about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.errors import DataError
from harness.scoring import fields, spelling
from harness.scoring.answers import AnswerFile, Given
from harness.types import Sample, Task

LONGEST_QUESTION = 2_000
"""Longer text under an unknown name is no question."""
LLAVA_BLOCK = 10_000_000
"""LLaVA's ``llava_pope_test.jsonl`` numbers the questions of its three samplings from 1, 10000001 and 20000001."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one row tells: the keys of its images, the question it asks of the task's or none of them, id and truth."""

    images: tuple[frozenset[str], ...]
    asks: bool
    question: str | None
    other_yes_no: bool
    id: str | None
    place: int | None
    truth: str

    def agrees(self, sample: Sample) -> bool:
        """Whether nothing that is told of image and question speaks against this sample."""
        keys = spelling.sample_keys(sample.image)
        if any(keys.isdisjoint(told) for told in self.images):
            return False
        if not self.asks:
            return True
        if sample.target in ("yes", "no"):
            return self.question == spelling.asked(sample.prompt)
        return self.question is None and not self.other_yes_no


@dataclass
class Evidence:
    """A task's samples under all the names that one file may use for them."""

    file: AnswerFile
    task: Task
    samples: Sequence[Sample]

    @cached_property
    def by_id(self) -> Mapping[str, Sample]:
        """The samples by the task's own ids."""
        return {sample.id: sample for sample in self.samples}

    @cached_property
    def groups(self) -> Mapping[str, Sequence[Sample]]:
        """The samples of each group, in their order."""
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            found.setdefault(sample.group, []).append(sample)
        return found

    @cached_property
    def by_question(self) -> Mapping[str, Sequence[Sample]]:
        """The samples that ask for yes or no, by their question."""
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            if sample.target in ("yes", "no"):
                found.setdefault(spelling.asked(sample.prompt), []).append(sample)
        return found

    @cached_property
    def _by_image(self) -> Mapping[str, Sequence[Sample]]:
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            for key in spelling.sample_keys(sample.image):
                found.setdefault(key, []).append(sample)
        return found

    def of_image(self, value: str | int) -> Sequence[Sample]:
        """The samples about this image; a task may know images beyond its list."""
        keys = spelling.image_keys(value)
        listed = {sample.id: sample for key in sorted(keys) for sample in self._by_image.get(key, ())}
        more = getattr(self.task, "sample", None)
        if listed or more is None:
            return list(listed.values())
        numbers = [key.lstrip("#") for key in sorted(keys) if re.fullmatch(r"#?\d{1,18}", key)]
        try:
            return [more(str(int(numbers[0])))] if numbers else []
        except DataError:
            return []

    @cached_property
    def told(self) -> Sequence[Told]:
        """What each row of the file tells."""
        return [self._told(given) for given in self.file.answers]

    def _told(self, given: Given) -> Told:
        words = self._asked(given)
        known = None if words is None else spelling.find_question(words, self.by_question)
        return Told(
            images=tuple(spelling.image_keys(value) for value in self.images(given)),
            asks=words is not None,
            question=known,
            other_yes_no=words is not None and known is None and spelling.is_yes_no(words),
            id=self.row_id(given.row) or given.id,
            place=given.place,
            truth=(given.truth or "").strip().rstrip(".").lower(),
        )

    def row_id(self, row: Mapping[str, Any]) -> str | None:
        """The id that the task itself makes of a row of its authors' own files; None where it makes none."""
        made: str | None = getattr(self.task, "row_id", lambda row: None)(row)
        return made

    def images(self, given: Given) -> list[Any]:
        """The names of images in this row; a column that counts rows holds none."""
        return [value for name, value in given.images.items() if name in self._image_fields]

    def _asked(self, given: Given) -> str | None:
        """The words of the question: a field for them, or ``text`` or an unknown one that holds one of the task's."""
        if given.question is not None:
            return given.question
        texts = [value for name, value in given.row.items() if name == "text" or fields.role(str(name)) is None]
        found = (text for text in texts if isinstance(text, str) and len(text) <= LONGEST_QUESTION)
        return next((text for text in found if spelling.find_question(text, self.by_question) is not None), None)

    @cached_property
    def _image_fields(self) -> frozenset[str]:
        names = dict.fromkeys(name for given in self.file.answers for name in given.images)
        return frozenset(name for name in names if not self._counts_rows(name))

    def _counts_rows(self, name: str) -> bool:
        """Whether an image column only numbers the rows, as VLMEvalKit's does, beside questions."""
        if any(self._asked(given) is None for given in self.file.answers):
            return False
        values = [given.images[name] for given in self.file.answers if name in given.images]
        return all(map(spelling.counts_rows, values)) and not any(map(self.of_image, values))

    def editions(self) -> Iterator[Mapping[str, Mapping[str, Sample]]]:
        """By group, the samples by their numbers: as the data has them, and as other editions of the lists do."""
        own = {group: {s.id.rpartition("/")[2]: s for s in listed} for group, listed in self.groups.items()}
        yield own
        for edition in getattr(self.task, "editions", dict)().values():
            numbered = {group: enumerate(ids, 1) for group, ids in edition.items()}
            yield {
                **own,
                **{g: {str(n): self.by_id[id] for n, id in ids if id in self.by_id} for g, ids in numbered.items()},
            }

    def why_not(self, given: Given, told: Told) -> str:
        """Why this row is about none of the samples, as well as it can be said."""
        name, sample = self.task.name, self.by_id.get(told.id or "")
        unknown = [value for value in self.images(given) if not self.of_image(value)]
        if unknown:
            return f"{name} asks nothing about the image {unknown[0]!r:.80} ({about(given)})"
        if sample is not None:
            asks = f"{sample.prompt.partition(chr(10))[0]!r:.80} of {sample.image.name if sample.image else 'no image'}"
            return f"the row is not about the question of this id, which is {asks} ({about(given)})"
        if told.id is not None and not told.asks and not told.images and "/" not in self.samples[0].id:
            return f"{name} has no such id; it has {self.samples[0].id} to {self.samples[-1].id}"
        if told.id is None and not told.asks:
            return f"nothing says which question of {name} this answers: add its id, or 'image' and 'question'"
        if told.id is not None and not told.asks and not told.images:
            return f"{name} has no such id; its ids are like {self.samples[0].id}; or add 'image' and 'question'"
        return f"these answers fit no group of {name} ({about(given)})"


def about(given: Given) -> str:
    """What a row says of its question, for an error to quote."""
    told = {
        "id": given.id,
        "row": given.place,
        **given.images,
        "question": given.question,
        "category": ",".join(given.categories) or None,
    }
    said = ", ".join(f"{key} {value!r:.80}" for key, value in told.items() if value is not None)
    return said or "nothing is said of it"
