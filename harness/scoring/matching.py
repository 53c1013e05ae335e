"""Find the question each answer of a file belongs to: by its id, by image and question, or by its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError
from harness.scoring.answers import AnswerFile, Given
from harness.types import Sample, Task

Match = tuple[Given, Sample]


def match(file: AnswerFile, task: Task, samples: Sequence[Sample], repeats: bool = False) -> list[Match]:
    """Each answer with its sample; UsageError at the first that fits none, or, unless allowed, comes twice."""
    found = list(_Book(task, samples).matches(file))
    if file.format == "ohd-bench":  # a later record replaces an earlier one of the same sample
        return list({sample.id: (given, sample) for given, sample in found}.values())
    if not repeats:
        seen: dict[str, Given] = {}
        for given, sample in found:
            if sample.id in seen:
                first = seen[sample.id].line
                raise file.wrong(given, f"this question was answered on line {first} (--repeats counts every answer)")
            seen[sample.id] = given
    return found


@dataclass
class _Book:
    """A task's samples by all that a file may call them."""

    task: Task
    samples: Sequence[Sample]

    def __post_init__(self) -> None:
        self.by_id = {sample.id: sample for sample in self.samples}
        self.groups: dict[str, list[Sample]] = {}
        for sample in self.samples:
            self.groups.setdefault(sample.group, []).append(sample)

    def matches(self, file: AnswerFile) -> Iterator[Match]:
        """Each answer with its sample."""
        by_id = file.format in ("ohd-bench", "amber", "chair")
        if by_id or (file.answers and all(given.id in self.by_id for given in file.answers)):
            yield from ((given, self._known(file, given)) for given in file.answers)
        elif all(given.category for given in file.answers):
            yield from self._by_category(file)
        else:
            yield from self._by_block(file)

    def _known(self, file: AnswerFile, given: Given) -> Sample:
        sample = self.by_id.get(str(given.id))
        if sample is not None:
            return sample
        more = getattr(self.task, "sample", None)  # a task may know images beyond its list
        if more is not None:
            try:
                return more(given.id)  # type: ignore[no-any-return]
            except DataError as error:
                raise file.wrong(given, str(error)) from error
        first, last = self.samples[0].id, self.samples[-1].id
        raise file.wrong(given, f"{self.task.name} has no such id; it has {first} to {last}")

    def _by_category(self, file: AnswerFile) -> Iterator[Match]:
        """Each answer in every group that its category names (VLMEvalKit joins them with commas)."""
        shelves = {group: _Shelf(samples) for group, samples in self.groups.items()}
        for given in file.answers:
            named = [part.strip() for part in str(given.category).split(",")]
            groups = [group for group in shelves if _is_named(group, named)] or list(shelves)
            hits = [hit for group in groups if (hit := shelves[group].find(given)) is not None]
            if not hits:
                raise file.wrong(given, f"{self.task.name} has no such question ({_about(given)})")
            yield from ((given, hit) for hit in hits)

    def _by_block(self, file: AnswerFile) -> Iterator[Match]:
        """One group's answers after another's: which, the file's name tells, or its questions."""
        told = [group for group in self.groups if _last(group) in file.path.name.lower()]
        left = {group: _Shelf(self.groups[group]) for group in told or self.groups}
        at = 0
        while at < len(file.answers):
            fits = {group: hits for group, shelf in left.items() if (hits := shelf.block(file.answers[at:]))}
            if not fits:
                raise self._fitless(file, at, bool(told))
            if len(fits) > 1:
                raise file.wrong(
                    file.answers[at],
                    f"these answers fit {', '.join(map(_last, fits))}: put the one meant into the file's name, or add "
                    "'image' and 'question', or 'category', to each answer",
                )
            group, hits = next(iter(fits.items()))
            yield from zip(file.answers[at:], hits, strict=False)
            at += len(hits)
            del left[group]

    def _fitless(self, file: AnswerFile, at: int, told: bool) -> Exception:
        shelves = [_Shelf(samples) for samples in self.groups.values()]
        odd = (given for given in file.answers[at:] if all(shelf.find(given) is None for shelf in shelves))
        given = next(odd, file.answers[at])
        why = " that the file's name tells" if told else ""
        return file.wrong(given, f"these answers fit no group of {self.task.name}{why} ({_about(given)})")


class _Shelf:
    """One group's samples, to be found by id and question, by image and question, or by their order."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self._by_number = {sample.id.rpartition("/")[2]: sample for sample in samples}
        self._by_image: dict[str, list[Sample]] = {}
        for sample in samples:
            self._by_image.setdefault(Path(sample.image or "").stem, []).append(sample)

    def find(self, given: Given) -> Sample | None:
        """The sample this answer is about, by what it says about itself."""
        if given.image is not None and given.question is not None:
            return next((s for s in self._by_image.get(given.image, ()) if _asks(s, given.question)), None)
        sample = self._by_number.get(given.id or "")
        if sample is None or (given.question is not None and not _asks(sample, given.question)):
            return None
        return sample

    def block(self, answers: Sequence[Given]) -> list[Sample] | None:
        """The samples of as many answers as the group has, None where one of them does not fit."""
        found: list[Sample] = []
        for place, given in enumerate(answers[: len(self.samples)]):
            placed = self.samples[place]
            in_place = given.id is None and given.image is None and given.question is not None
            hit = (placed if _asks(placed, given.question or "") else None) if in_place else self.find(given)
            if hit is None:
                return None
            found.append(hit)
        return found if not any(n > 1 for n in Counter(s.id for s in found).values()) else None


def _asks(sample: Sample, question: str) -> bool:
    """Whether this is the sample's question; tools add a line or a sentence of instruction to it."""
    return question.strip().startswith(sample.prompt.partition("\n")[0].strip())


def _is_named(group: str, names: Sequence[str]) -> bool:
    return any(name in (group, group.replace("/", "-"), _last(group)) for name in names)


def _last(group: str) -> str:
    return group.rpartition("/")[2]


def _about(given: Given) -> str:
    told = {"question_id": given.id, "image": given.image, "question": given.question, "category": given.category}
    return (
        ", ".join(f"{key} {value!r:.80}" for key, value in told.items() if value is not None) or "nothing is said of it"
    )
