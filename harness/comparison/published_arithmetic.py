"""What printed precision and recall say about bias: the totals behind a published row, rounding taken along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from harness import yes_no
from harness.comparison.bias import split

PAPER = "arXiv 2410.03176 (EMNLP 2024)"


@dataclass(frozen=True, slots=True)
class Printed:
    """A published row of a yes-no benchmark: percentages of one class, and how many questions have which answer."""

    table: str
    model: str
    positive: str
    precision: float
    recall: float
    no: int
    yes: int
    accuracy: float | None = None

    def totals(self, precision: float | None = None, recall: float | None = None) -> dict[str, float]:
        """The counts that give this precision and recall (by default the printed ones), not whole numbers."""
        p = (self.precision if precision is None else precision) / 100
        r = (self.recall if recall is None else recall) / 100
        own, other = (self.no, self.yes) if self.positive == "no" else (self.yes, self.no)
        right = r * own
        said = right / p
        rest = other - (said - right)
        names = ("no", "yes") if self.positive == "no" else ("yes", "no")
        total = {f"right_{names[0]}": right, f"said_{names[0]}": said, names[0]: own}
        total |= {f"right_{names[1]}": rest, f"said_{names[1]}": own + other - said, names[1]: other}
        return {key: float(value) for key, value in total.items()} | {"n": own + other, "right": right + rest}

    def value(self, metric: str) -> tuple[float, float, float]:
        """A metric of these totals, with the least and the most that rounding to one decimal leaves open."""
        measure = METRICS[metric]
        near = [
            float(measure(self.totals(self.precision + dp, self.recall + dr)))
            for dp, dr in product((-0.05, 0.05), repeat=2)
        ]
        return float(measure(self.totals())), min(near), max(near)


METRICS = {**yes_no.SIGNAL, "accuracy": yes_no.answer_metrics("no")["accuracy"]}

# Precision and recall have "no" as the positive class in AMBER, "yes" in POPE. AMBER: 9,427 of 14,216 answers are no.
_AMBER = (
    ("full fine-tuning", ((93.9, 65.6, 74.3), (85.5, 84.4, 80.2))),
    ("LoRA", ((93.5, 65.7, 74.2), (86.4, 84.3, 80.8))),
)
_POPE = {
    "COCO": (((81.8, 91.9, 85.4), (90.9, 85.1, 81.2)), ((81.8, 92.5, 85.7), (89.7, 86.9, 88.3))),
    "Flickr30K": (((67.5, 96.9, 73.7), (78.5, 88.0, 81.2)), ((67.9, 96.9, 74.4), (83.0, 85.7, 82.8))),
    "NoCaps": (((71.2, 92.7, 76.7), (80.6, 84.0, 81.3)), ((71.2, 92.3, 76.7), (81.8, 84.9, 82.6))),
}


def pairs() -> Iterator[tuple[Printed, Printed]]:
    """Each published pair of LLaVA-1.5 with CLIP's tower and with the paper's tuned one."""
    for way, values in _AMBER:
        yield _pair(f"AMBER discriminative, {way} (table 6)", "no", values, (9427, 4789))
    for source, ways in _POPE.items():
        for way, values in zip(("full fine-tuning", "LoRA"), ways, strict=True):
            yield _pair(f"POPE expanded, {source}, {way} (table 4)", "yes", values, (4500, 4500))


def _pair(
    table: str, positive: str, values: Sequence[tuple[float, float, float]], asked: tuple[int, int]
) -> tuple[Printed, Printed]:
    base, tuned = (
        Printed(table, model, positive, precision, recall, *asked, accuracy)
        for model, (precision, recall, accuracy) in zip(("LLaVA-1.5", "tuned"), values, strict=True)
    )
    return base, tuned


SHOWN = ("accuracy", "recall_no", "recall_yes", "balanced_accuracy", "d_prime", "criterion", "yes_ratio")


def reading(base: Printed, tuned: Printed) -> dict[str, object]:
    """The arithmetic of one published pair: each metric before and after, and how the change of accuracy splits."""
    values: Mapping[str, list[tuple[float, float, float]]] = {n: [one.value(n) for one in (base, tuned)] for n in SHOWN}
    by_bias, by_sight = split(base.totals(), tuned.totals())
    return {
        "table": base.table,
        "values": {name: [list(one) for one in pair] for name, pair in values.items()},
        "printed_accuracy": [base.accuracy, tuned.accuracy],
        "by_criterion": by_bias,
        "by_d_prime": by_sight,
        "reading": _kind(values),
    }


def _kind(values: Mapping[str, list[tuple[float, float, float]]]) -> str:
    """``bias`` where accuracy rises and balanced accuracy does not, ``criterion`` where it does and d' does not."""
    rises = {name: after[1] > before[2] for name, (before, after) in values.items()}
    if not rises["accuracy"]:
        return "no gain"
    if not rises["balanced_accuracy"]:
        return "bias"
    return "sight" if rises["d_prime"] else "criterion"


HEAD = (
    "published pair",
    "accuracy",
    "recall of no",
    "recall of yes",
    "balanced accuracy",
    "d′",
    "criterion",
    "reading",
)


def table() -> list[tuple[str, ...]]:
    """A row of text for each published pair, under HEAD: before → after, and what the change is."""
    rows = []
    for pair in pairs():
        found = reading(*pair)
        values = [[one.value(name)[0] for one in pair] for name in SHOWN[:-1]]
        cells = [f"{a:z.{d}f} → {b:z.{d}f}" for (a, b), d in zip(values, (1, 1, 1, 1, 2, 2), strict=True)]
        rows.append((str(found["table"]), *cells, str(found["reading"])))
    return rows
