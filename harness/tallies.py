"""Totals of records by image and group, of one run or of two on the samples that both answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.records import Record
from harness.units import MARK, Units


@dataclass(frozen=True)
class Tally:
    """Totals by image: ``counts[key][i]`` is what image i adds to that total; ``n[i]`` its answers."""

    images: tuple[str, ...]
    counts: Mapping[str, NDArray[np.float64]]
    n: NDArray[np.int64]

    def totals(self) -> dict[str, float]:
        """The counts of all images added up."""
        return {key: float(column.sum()) for key, column in self.counts.items()}


def groups_of(path: str) -> Iterator[str]:
    """Every group an answer of this group path counts in: the whole (""), and each prefix of the path."""
    yield ""
    parts = path.split("/") if path else []
    for depth in range(1, len(parts) + 1):
        yield "/".join(parts[:depth])


def tally(
    records: Iterable[Record], images: Sequence[str] | None = None, only: Collection[str] | None = None
) -> dict[str, Tally]:
    """Totals by image of every group that has an answer, the whole first; failed records count nowhere.

    ``only`` names the groups that are wanted, where not all of them are.
    ``images`` fixes which images stand in which row (for pairing two runs); by default those of the records.
    """
    scored = [record for record in records if record.scored]
    order = tuple(images if images is not None else sorted({record.image for record in scored}))
    row = {image: i for i, image in enumerate(order)}
    counted = _Counted([record for record in scored if record.image in row], row)
    members = counted.members()
    wanted = members if only is None else {group: at for group, at in members.items() if group in only}
    return {group: counted.tally(order, at) for group, at in wanted.items()}


class _Counted:
    """Records as columns: the row of each one's image, and the number of its counts among all that are told apart."""

    def __init__(self, records: list[Record], row: Mapping[str, int]) -> None:
        self.records = records
        self.rows = np.array([row[record.image] for record in records], np.int64)
        told = np.fromiter((id(record.counts) for record in records), np.int64, len(records))
        _, first, self.kind = np.unique(told, return_index=True, return_inverse=True)
        self.kinds = [records[n].counts for n in first]
        self.values = {
            key: np.array([counts.get(key, 0.0) for counts in self.kinds], np.float64)
            for key in dict.fromkeys(key for counts in self.kinds for key in counts if not key.startswith(MARK))
        }

    def members(self) -> dict[str, NDArray[np.int64]]:
        """Which records count in each group, in their order; groups in the order of their first record."""
        paths: dict[str, list[int]] = {}
        for n, record in enumerate(self.records):
            paths.setdefault(record.group, []).append(n)
        found: dict[str, list[list[int]]] = {"": []}
        for path, at in paths.items():
            for group in groups_of(path):
                found.setdefault(group, []).append(at)
        return {group: np.sort(np.concatenate(parts or [[]])).astype(np.int64) for group, parts in found.items()}

    def tally(self, order: tuple[str, ...], members: NDArray[np.int64]) -> Tally:
        """Totals by image of these records."""
        rows, kind = self.rows[members], self.kind[members]
        met, first = np.unique(kind, return_index=True)
        there = (self.kinds[n] for n in met[np.argsort(first)])
        names = dict.fromkeys(key for counts in there for key in counts)
        counts: dict[str, NDArray[np.float64]] = {
            key: np.bincount(rows, self.values[key][kind], len(order)).astype(np.float64)
            for key in names
            if not key.startswith(MARK)
        }
        joined = Units()
        if len(counts) < len(names):
            self._join(joined, members)
        return Tally(order, {**counts, **joined.columns(len(order))}, np.bincount(rows, minlength=len(order)))

    def _join(self, joined: Units, members: NDArray[np.int64]) -> None:
        for n in members:
            for key, value in self.records[n].counts.items():
                if key.startswith(MARK):
                    joined.add(self.records[n].id, int(self.rows[n]), key, value)


def common(base: Iterable[Record], candidate: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """The records of the samples both runs answered, in the same order."""
    first = {record.id: record for record in base if record.scored}
    second = {record.id: record for record in candidate if record.scored}
    ids = [key for key in first if key in second]
    return [first[key] for key in ids], [second[key] for key in ids]


def placed(record: Record, image: str, group: str) -> Record:
    """The record as one of this image and group."""
    return record if (record.image, record.group) == (image, group) else replace(record, image=image, group=group)


def paired_tallies(base: Iterable[Record], candidate: Iterable[Record]) -> dict[str, tuple[Tally, Tally]]:
    """Totals by group of the samples both runs answered, over the same images.

    The candidate's answer counts on the base's image, whichever image it was given: so a control can be paired.
    """
    first, second = common(base, candidate)
    images = sorted({record.image for record in first})
    second = [placed(b, a.image, a.group) for a, b in zip(first, second, strict=True)]
    left, right = tally(first, images), tally(second, images)
    return {group: (left[group], right[group]) for group in left if group in right}
