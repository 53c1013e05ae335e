"""HallusionBench: questions in sets, where a figure is changed or taken away and the answer with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from harness import yes_no
from harness.metrics import Metric, ratio
from harness.registry import task
from harness.rows import Row, rows
from harness.types import Answer, Counts, Sample, Task
from harness.units import together

TRUTH = {"0": "no", "1": "yes"}
FIGURES = ("0", "1", "2")
"""``visual_input``: a question without a figure, on a figure, on a changed figure."""


@dataclass(frozen=True)
class _Question:
    """A row of the authors' file: where it stands in its set, what is asked, what is right."""

    row: Row
    category: str
    place: str
    figure: str
    number: str
    pictured: bool
    truth: str

    @property
    def id(self) -> str:
        return f"{self.place}/{self.figure}/{self.number}"

    @property
    def units(self) -> dict[str, str]:
        """The question and the figure that it is part of; a question without a figure is part of no figure."""
        units = {"question": f"{self.place}/{self.number}"}
        if self.category == "VD" or self.figure != "0":
            units["figure"] = f"{self.place}/{self.figure}"
        return units


def _question(row: Row) -> _Question:
    category = row.one_of("category", ("VD", "VS"))
    place = "/".join((category, row.text("subcategory"), row.id("set_id")))
    truth, pictured = TRUTH[row.number("gt_answer", TRUTH)], row.number("visual_input", FIGURES) != "0"
    return _Question(row, category, place, row.id("figure_id"), row.id("question_id"), pictured, truth)


@task("hallusion")
class Hallusion(Task):
    """Yes-no questions on figures and on changed figures (arXiv 2310.14566), counted as the authors' utils.py does.

    aAcc: questions right. qAcc: questions right on every figure of their set. fAcc: figures with every question right
    (a question about no figure is part of none). The authors have GPT-4 judge each answer; here the first word is read,
    and an answer that is neither yes nor no is wrong, except to a question without its figure, where it may be unsure
    (tianyi-lab/HallusionBench @ 08e51de, utils.py, assign_correctness).
    """

    mode, headline = "generate", "aAcc"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "aAcc": ratio("correct", "n"),
        "qAcc": ratio("right_question", "n_question"),
        "fAcc": ratio("right_figure", "n_figure"),
        **yes_no.SIGNAL,
    }
    summary = (("", "aAcc"), ("", "qAcc"), ("", "fAcc"), ("", "yes_ratio"))
    positive: ClassVar[str] = "yes"

    @cached_property
    def _by_id(self) -> Mapping[str, _Question]:
        found: dict[str, _Question] = {}
        for one in map(_question, rows(self.data / "hallusion" / "HallusionBench.json")):
            if one.id in found:
                raise one.row.wrong(f"this question stands on line {found[one.id].row.line} already")
            found[one.id] = one
        return found

    @cached_property
    def _sizes(self) -> Counter[tuple[str, str]]:
        """How many answers make up each question over its figures, and each figure over its questions."""
        return Counter(unit for one in self._by_id.values() for unit in one.units.items())

    def samples(self) -> Iterator[Sample]:
        """Every question of the authors' file; those about no figure come without an image."""
        root = self.data / "hallusion"
        for id, one in self._by_id.items():
            group, _, number = one.place.rpartition("/")
            image = root / group / f"{number}_{one.figure}.png" if one.pictured else None
            yield Sample(id, image, one.truth, prompt=one.row.text("question"), group=group)

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """Right or not, and what that means for the question over its figures and for the figure over its questions."""
        assert answer.text is not None, "HallusionBench asks for words"
        one, said = self._by_id[sample.id], yes_no.first_word(answer.text)
        unsure = said is None and one.category == "VS" and one.figure == "0"
        correct = float(said == sample.target or unsure)
        counts: dict[str, float] = {**yes_no.counts(sample.target, said), "correct": correct}
        for kind, unit in one.units.items():
            own = {one.number if kind == "figure" else one.figure: correct}
            counts |= together(kind, unit, self._sizes[kind, unit], **own)
        return counts

    def floors(self) -> Mapping[str, Answer]:
        """What always saying yes or no scores."""
        return {"always-yes": Answer("Yes"), "always-no": Answer("No")}
