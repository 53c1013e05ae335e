"""Find the question each row of a file is about: by ids that image and words bear out, by these alone, or by place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from harness.scoring.answers import AnswerFile, Given
from harness.scoring.evidence import LLAVA_BLOCK, Evidence, Told, about
from harness.types import Sample, Task

Match = tuple[Given, Sample]
Fits = list[list[Sample]]
"""For each row the samples it may be about."""

LLAVA_ORDER = ("adversarial", "random", "popular")
"""The samplings of LLaVA's blocks, in their order."""
BY_WORDS_ALONE = (
    "no image is named that is known, rows are matched by their words: counts are exact, intervals and pairs are not"
)


@dataclass(frozen=True)
class Matched:
    """Rows with their samples, and what a reader has to know of how they were found."""

    pairs: list[Match]
    remarks: list[str] = field(default_factory=list)


def match(file: AnswerFile, task: Task, samples: Sequence[Sample], repeats: bool = False) -> Matched:
    """Each row with its sample; UsageError at the first that fits none, or, unless allowed, comes twice."""
    book = _Book(file, Evidence(file, task, samples), repeats)
    found = list(book.matches())
    if file.format == "ohd-bench":  # a later record replaces an earlier one of the same sample
        found = list({sample.id: (given, sample) for given, sample in found}.values())
    elif not repeats:
        _refuse_repeats(file, found)
    return Matched(found, [f"{file.path}: {remark}" for remark in book.remarks])


def _refuse_repeats(file: AnswerFile, found: Sequence[Match]) -> None:
    seen: dict[str, Given] = {}
    for given, sample in found:
        if sample.id in seen:
            first = seen[sample.id].line
            raise file.wrong(given, f"this question was answered on line {first} (--repeats counts every answer)")
        seen[sample.id] = given


@dataclass
class _Book:
    """The ways to find every row's sample, the surest first, and to tell apart the several that fit."""

    file: AnswerFile
    evidence: Evidence
    repeats: bool
    remarks: list[str] = field(default_factory=list)

    @property
    def _told(self) -> Sequence[Told]:
        return self.evidence.told

    @property
    def _groups(self) -> Mapping[str, Sequence[Sample]]:
        return self.evidence.groups

    def matches(self) -> Iterator[Match]:
        """Each row with its sample, or with several where its category names several groups."""
        ways = (self._by_id, self._by_number, self._by_words, self._by_place, self._by_truth_in_place)
        for way in (*ways, self._by_words_alone):
            found = way()
            if found is not None and all(found):
                yield from self._told_apart(found)
                return
        raise self._fitless()

    def _by_id(self) -> Fits:
        """By the task's own ids, where image and question bear them out."""
        return [self._own(told) for told in self._told]

    def _own(self, told: Told) -> list[Sample]:
        sample = self.evidence.by_id.get(told.id or "")
        more = getattr(self.evidence.task, "sample", None)
        by_own_ids = self.file.format == "ohd-bench" or hasattr(self.evidence.task, "row_id")
        if sample is None and more is not None and told.id is not None and by_own_ids:
            sample = more(told.id)
        return [sample] if sample is not None and told.agrees(sample) else []

    def _by_number(self) -> Fits | None:
        """By numbers that begin anew in each group, in any edition of the lists, LLaVA's blocks among them."""
        if None in self._numbers:
            return None
        for edition in self.evidence.editions():
            lists, found = list(edition.values()), []
            for told, number in zip(self._told, self._numbers, strict=True):
                key = str((number or 0) % LLAVA_BLOCK)
                found.append([sample for one in lists if (sample := one.get(key)) and told.agrees(sample)])
            if all(found):
                return found
        return None

    @cached_property
    def _numbers(self) -> Sequence[int | None]:
        """The rows' ids as numbers, LLaVA's of three blocks at most; None where an id is none."""
        ids = [int(told.id) if told.id is not None and told.id.isdigit() else None for told in self._told]
        return [number if number is None or number < LLAVA_BLOCK * len(LLAVA_ORDER) else None for number in ids]

    def _by_words(self) -> Fits:
        """By image and question, or by an image about which only one question is asked."""
        return [self._worded(given, told) for given, told in zip(self.file.answers, self._told, strict=True)]

    def _worded(self, given: Given, told: Told) -> list[Sample]:
        images = self.evidence.images(given)
        found = [sample for sample in self.evidence.of_image(images[0]) if told.agrees(sample)] if images else []
        return found if told.asks or len(found) == 1 else []

    def _by_place(self) -> Fits | None:
        """By the order of the rows, where they tell nothing but the question: one group's list after another's."""
        if not all(told.id is None and told.asks and not told.images for told in self._told):
            return None
        found: Fits = []
        while len(found) < len(self._told):
            fits = {group: block for group in self._groups if (block := self._block(group, len(found)))}
            named = self._named_by_file(list(fits))
            if len(named) != 1:
                return None
            found += [[sample] for sample in fits[named[0]]]
        return found

    def _block(self, group: str, at: int) -> list[Sample]:
        """This group's samples, in any edition, where the rows from here on ask about them one by one."""
        for edition in self.evidence.editions():
            pairs = list(zip(self._told[at:], edition[group].values(), strict=False))
            if all(told.agrees(sample) for told, sample in pairs):
                return [sample for _, sample in pairs]
        return []

    def _by_truth_in_place(self) -> Fits | None:
        """By a count of rows from 0 or 1 that the objects of the rows bear out: lmms-eval's captions of AMBER."""
        for first in (0, 1):
            found = [self._placed(told, first) for told in self._told]
            if all(found):
                return found
        return None

    def _placed(self, told: Told, first: int) -> list[Sample]:
        samples, place = self.evidence.samples, -1 if told.place is None else told.place - first
        objects = [a or b for a, b in re.findall(r"'([^']*)'|\"([^\"]*)\"", told.truth)]
        is_it = 0 <= place < len(samples) and bool(objects) and objects == samples[place].target.lower().split(", ")
        return [samples[place]] if is_it and told.agrees(samples[place]) else []

    def _by_words_alone(self) -> Fits:
        """By the question, and by the truth where the row tells it: whichever image it is, the counts are the same."""
        asked = self.evidence.by_question
        found = []
        for told in self._told:
            listed = [s for s in asked.get(told.question or "", ()) if told.truth in ("", s.target)]
            found.append([s for s in listed if told.agrees(s)])
        if all(found):
            self.remarks.append(BY_WORDS_ALONE)
        return found

    def _told_apart(self, found: Fits) -> Iterator[Match]:
        """Each row with its own sample: by category, by where its numbers begin anew, by the file's name."""
        named = [self._named(given) for given in self.file.answers]
        if named and all(named):
            yield from self._in_turn(self._by_category(found, named))
            return
        if any(len({sample.group for sample in fits}) > 1 for fits in found):
            found = self._by_block(found)
        yield from self._in_turn([[fits] for fits in found])

    def _named(self, given: Given) -> tuple[str, ...]:
        return tuple(group for group in self._groups if any(_is_named(group, name) for name in given.categories))

    def _by_category(self, found: Fits, named: Sequence[Sequence[str]]) -> list[list[list[Sample]]]:
        parts = []
        for given, fits, groups in zip(self.file.answers, found, named, strict=True):
            own = [[sample for sample in fits if sample.group == group] for group in groups]
            if not all(own):
                raise self.file.wrong(given, f"{self.evidence.task.name} has no such question there ({about(given)})")
            parts.append(own)
        return parts

    def _in_turn(self, parts: Sequence[Sequence[Sequence[Sample]]]) -> Iterator[Match]:
        """Each row with one sample of each of its parts: where several are alike, the first that is not taken yet."""
        taken: set[str] = set()
        for given, own in zip(self.file.answers, parts, strict=True):
            for alike in own:
                chosen = self._one_of(given, alike, taken)
                taken.add(chosen.id)
                yield given, chosen

    def _one_of(self, given: Given, alike: Sequence[Sample], taken: set[str]) -> Sample:
        if len({(sample.group, sample.target) for sample in alike}) > 1:
            what = f"{len(alike)} questions of {self.evidence.task.name} could be meant ({about(given)})"
            raise self.file.wrong(given, f"{what}: add 'image' and 'question' to each answer")
        free = next((sample for sample in alike if sample.id not in taken), None)
        if free is None and len(alike) > 1 and not self.repeats:
            raise self.file.wrong(given, f"all {len(alike)} questions like this are answered before ({about(given)})")
        return free or alike[0]

    def _by_block(self, found: Fits) -> Fits:
        """The samples of one group for each block of rows."""
        chosen: dict[int, str] = {}
        blocks = dict(self._blocks(found))
        fitting = {at: self._common(found[at:end]) for at, end in blocks.items()}
        while len(chosen) < len(blocks):
            left = {at: self._free(groups, chosen) for at, groups in fitting.items() if at not in chosen}
            sure = next((at for at, groups in left.items() if len(groups) == 1), None)
            at, group = (sure, left[sure][0]) if sure is not None else self._guided(left, len(blocks))
            chosen[at] = group
        return [[s for s in found[i] if s.group == chosen[at]] for at, end in blocks.items() for i in range(at, end)]

    def _free(self, groups: Sequence[str], chosen: Mapping[int, str]) -> list[str]:
        return [group for group in groups if self.repeats or group not in chosen.values()]

    def _common(self, fits: Fits) -> list[str]:
        """The groups in which every one of these rows may be."""
        common = set.intersection(*({sample.group for sample in one} for one in fits))
        return [group for group in self._groups if group in common]

    def _blocks(self, found: Fits) -> Iterator[tuple[int, int]]:
        """Where each block of rows begins and ends: where numbers begin anew, or a group's whole list is full."""
        start = 0
        while start < len(found):
            end = self._end_by_number(start) if None not in self._numbers else self._end_by_size(found, start)
            yield start, end
            start = end

    def _end_by_number(self, start: int) -> int:
        numbers = [number or 0 for number in self._numbers]
        for i in range(start + 1, len(numbers)):
            if numbers[i] < numbers[i - 1] or numbers[i] // LLAVA_BLOCK > numbers[i - 1] // LLAVA_BLOCK:
                return i
        return len(numbers)

    def _end_by_size(self, found: Fits, start: int) -> int:
        rest = len(found) - start
        sizes = {len(listed) for edition in self.evidence.editions() for listed in edition.values()}
        for size in sorted({min(size, rest) for size in sizes} | {rest}, reverse=True):
            block = found[start : start + size]
            if self._common(block) and len({frozenset(s.id for s in fits) for fits in block}) == size:
                return start + size
        return len(found)

    def _guided(self, left: Mapping[int, list[str]], blocks: int) -> tuple[int, str]:
        """The group of a block that fits several: as the file's name or LLaVA's order of blocks has it."""
        for at, groups in left.items():
            named = self._named_by_file(groups)
            if len(named) == 1 and blocks == 1:
                return at, named[0]
            block = (self._numbers[at] or 0) // LLAVA_BLOCK
            in_order = [group for group in groups if _last(group) == LLAVA_ORDER[block % 3]]
            if block and in_order:
                return at, in_order[0]
        at, groups = next(iter(left.items()))
        fit = f"fit {', '.join(map(_last, groups))}" if groups else "fit no group together"
        raise self.file.wrong(
            self.file.answers[at],
            f"these answers {fit}: put the one meant into the file's name, or add 'image' and 'question', or "
            "'category', to each answer",
        )

    def _named_by_file(self, groups: list[str]) -> list[str]:
        """Of several groups those that the file's name tells, all of them where it tells none."""
        name = self.file.path.name.lower()
        words = {group: rf"(?<![a-z]){re.escape(_last(group).lower())}(?![a-z])" for group in groups}
        told = [group for group in groups if re.search(words[group], name)]
        return told if told and len(groups) > 1 else groups

    def _fitless(self) -> Exception:
        """What to raise about the first row that no sure way finds a sample for."""
        for given, told in zip(self.file.answers, self._told, strict=True):
            if not self._own(told) and not self._worded(given, told):
                return self.file.wrong(given, self.evidence.why_not(given, told))
        first = self.file.answers[0]
        return self.file.wrong(first, f"these answers fit no group of {self.evidence.task.name} together")


def _is_named(group: str, name: str) -> bool:
    return name in (group, group.replace("/", "-"), _last(group))


def _last(group: str) -> str:
    return group.rpartition("/")[2]
