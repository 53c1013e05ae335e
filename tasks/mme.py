"""MME: fourteen kinds of perception and cognition, two questions an image, one to be answered yes and one no."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from harness import yes_no
from harness.errors import BrokenDataError, DataError
from harness.images import PICTURES
from harness.metrics import Metric, Totals, divide, ratio
from harness.registry import task
from harness.rows import text_of
from harness.types import Answer, Counts, Sample, Task
from harness.units import together

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


def mme(answer: str) -> yes_no.Said:
    """MME's reading (eval_tool/calculation.py, in zjunlp/Deco @ a3ccc15): yes or no within the first four letters."""
    said = answer.lower()
    if said in ("yes", "no"):
        return said  # type: ignore[return-value]
    return "yes" if "yes" in said[:4] else "no" if "no" in said[:4] else None


def _score(categories: tuple[str, ...]) -> Metric:
    """The sum over these categories of accuracy and accuracy+, each of 100; nan where a category was not asked."""

    def total(totals: Totals) -> float:
        parts = [
            divide(totals[f"right_{one}"], totals[f"n_{one}"])
            + divide(totals[f"right_image:{one}"], totals[f"n_image:{one}"])
            for one in categories
        ]
        return sum(parts)  # type: ignore[no-any-return]

    return Metric(total)


@task("mme")
class Mme(Task):
    """Yes-no questions in fourteen categories (arXiv 2306.13394): accuracy, accuracy+ (both of an image), the score."""

    mode, headline = "generate", "perception"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "perception": _score(PERCEPTION),
        "cognition": _score(COGNITION),
        "accuracy": ratio("right", "n"),
        "accuracy_plus": ratio("right_image", "n_image"),
        "score": Metric(lambda t: divide(t["right"], t["n"]) + divide(t["right_image"], t["n_image"])),
        **yes_no.SIGNAL,
    }
    summary = (("", "perception"), ("", "cognition"), ("", "accuracy"), ("", "accuracy_plus"))
    positive: ClassVar[str] = "yes"

    def metrics_of(self, group: str) -> Mapping[str, Metric]:
        """The sums of categories mean something for the whole only, the score only within a category."""
        left_out = ("perception", "cognition") if group else ("score",)
        return {name: metric for name, metric in self.metrics.items() if name not in left_out}

    def samples(self) -> Iterator[Sample]:
        """The questions of every category that is there, in the order of the categories and of the files' names."""
        root = self._root()
        there = [name for name in (*PERCEPTION, *COGNITION) if (root / name).is_dir()]
        if not there:
            raise DataError(f"{root} holds none of MME's categories ({', '.join(PERCEPTION)} …)")
        for category in there:
            for path in sorted((root / category).rglob("*.txt")):
                yield from self._asked(category, path)

    def _root(self) -> Path:
        root = self.data / "mme"
        inner = root / "MME_Benchmark_release_version"
        return inner if inner.is_dir() else root

    def _asked(self, category: str, path: Path) -> Iterator[Sample]:
        image, lines = self._image(category, path.stem), text_of(path).strip().splitlines()
        parts = [line.rstrip().rpartition("\t") for line in lines]
        for number, (_, tab, answer) in enumerate(parts, 1):
            if not tab or answer.lower() not in ("yes", "no"):
                raise BrokenDataError(f"{path}, line {number}: MME's lines are a question, a tab, and Yes or No")
        if len(lines) != 2:
            raise BrokenDataError(f"{path} has {len(lines)} lines; MME asks two questions about an image")
        for number, (question, _, answer) in enumerate(parts, 1):
            id = f"{category}/{path.stem}/{number}"
            yield Sample(id, image, answer.lower(), prompt=question.strip(), group=category)

    def _image(self, category: str, stem: str) -> Path:
        """The image of this name: beside its questions, or in ``images``."""
        folders = (self._root() / category / "images", self._root() / category)
        candidates = [folder / f"{stem}{suffix}" for folder in folders for suffix in sorted(PICTURES)]
        return next((path for path in candidates if path.is_file()), candidates[0])

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """What the answer says against the truth; an image counts for accuracy+ where both its answers are right."""
        assert answer.text is not None, "MME asks for words"
        counts = yes_no.counts(sample.target, mme(answer.text))
        category, image, number = sample.id.rsplit("/", 2)
        whole = {f"q{number}": counts["right"]}
        return {
            **counts,
            f"n_{category}": counts["n"],
            f"right_{category}": counts["right"],
            **together("image", f"{category}/{image}", of=2, **whole),
            **together(f"image:{category}", image, of=2, **whole),
        }

    def floors(self) -> Mapping[str, Answer]:
        """What always saying yes or no scores."""
        return {"always-yes": Answer("Yes"), "always-no": Answer("No")}
