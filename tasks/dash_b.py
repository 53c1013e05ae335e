"""DASH-B: is the object in the image? Images that a search found to make models see what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from harness import yes_no
from harness.errors import BrokenDataError, DataError, UsageError
from harness.images import find
from harness.metrics import Metric, divide, f1
from harness.registry import task
from harness.rows import json_of, shown
from harness.types import Answer, Counts, Sample, Task

PROMPT = "Can you see a {} in this image? Please answer only with yes or no."
FILES = {"no": ("dash_benchmark_neg.json", "neg"), "yes": ("dash_benchmark_pos.json", "pos")}
RULES = ("official", "strict")


def dash(answer: str) -> yes_no.Said:
    """The authors' reading (YanNeu/DASH-B @ 0ed9a61, eval_utils.py): "yes" anywhere is yes, else "no" anywhere no."""
    said = answer.lower()
    return "yes" if "yes" in said else "no" if "no" in said else None


READINGS = {"official": dash, "strict": yes_no.first_word}


def _is_by_object(listed: Any) -> bool:
    """Whether this is names of images by object by source, at least one object."""
    if not isinstance(listed, dict) or not all(isinstance(things, dict) for things in listed.values()):
        return False
    lists = [images for things in listed.values() for images in things.values()]
    named = all(isinstance(one, list) and all(isinstance(image, str) and image for image in one) for one in lists)
    return bool(lists) and named


@task("dash-b")
class DashB(Task):
    """Yes-no questions on 2,682 images of 70 objects, half of them without the object (arXiv 2503.23573).

    ``rules`` is official (the authors' reading: "yes" anywhere in the answer) or strict (the first word).
    """

    mode, headline = "generate", "accuracy"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": yes_no.SIGNAL["balanced_accuracy"],
        "tnr": yes_no.SIGNAL["recall_no"],
        "tpr": yes_no.SIGNAL["recall_yes"],
        "harmonic_mean": Metric(
            lambda totals: f1(divide(totals["right_yes"], totals["yes"]), divide(totals["right_no"], totals["no"]))
        ),
        **{name: metric for name, metric in yes_no.SIGNAL.items() if not name.startswith(("recall", "balanced"))},
    }
    summary = (("", "accuracy"), ("", "tnr"), ("", "tpr"), ("", "yes_ratio"))
    rule_sets: ClassVar[tuple[str, ...]] = RULES
    positive: ClassVar[str] = "yes"

    def __init__(self, data: Path, rules: str = "official") -> None:
        super().__init__(data)
        if rules not in RULES:
            raise UsageError(f"dash-b does not know the rules '{rules}'; there is {' and '.join(RULES)}")
        self._rules = rules

    def samples(self) -> Iterator[Sample]:
        """The images without the object, then those with it, in the order of the authors' files."""
        for label, (name, folder) in FILES.items():
            for source, objects in self._listed(name).items():
                for thing, images in objects.items():
                    for image in images:
                        yield self._sample(label, (folder, source, thing, image))

    def row_id(self, row: Mapping[str, Any]) -> str | None:
        """The id of the question that a row of the authors' answer file is about (their eval_utils.py writes it)."""
        told = [row.get(name) for name in ("object_name", "gt", "img_id")]
        return "/".join(told) if all(isinstance(one, str) for one in told) else None  # type: ignore[arg-type]

    def sample(self, id: str) -> Sample:
        """The question of this id, ``OBJECT/LABEL/IMAGE``; one on an image off the list counts in the whole alone.

        The authors' own answers are about an earlier list of images with the object; the label is in the answer's row.
        """
        thing, _, rest = id.partition("/")
        label, _, image = rest.partition("/")
        if label not in FILES or not image:
            raise DataError(f"'{id}' is no question of DASH-B; write OBJECT/yes/IMAGE or OBJECT/no/IMAGE")
        return self._by_id.get(id) or Sample(id, Path(image), label, prompt=PROMPT.format(thing))

    @cached_property
    def _by_id(self) -> Mapping[str, Sample]:
        return {sample.id: sample for sample in self.samples()}

    def _listed(self, name: str) -> Mapping[str, Mapping[str, list[str]]]:
        root = self.data / "dash_b"
        path = root / name if (root / name).is_file() else root / "images" / name
        listed = json_of(path)
        if not _is_by_object(listed):
            raise BrokenDataError(f"{path} is not a list of images by source and object, as DASH-B's is")
        if bare := [f"{source}: {thing}" for source, things in listed.items() for thing in things if not things[thing]]:
            raise BrokenDataError(f"{path} lists no image of {shown(bare[0])}; fill or remove the list")
        return listed  # type: ignore[no-any-return]

    def _sample(self, label: str, place: tuple[str, str, str, str]) -> Sample:
        folder, source, thing, name = place
        roots = (self.data / "dash_b" / "images", self.data / "dash_b")
        image = find(name, *(root / folder / source / thing for root in roots))
        prompt = PROMPT.format(thing)
        return Sample(f"{thing}/{label}/{name}", image, label, prompt=prompt, group=source)

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """What the answer says against what is there."""
        assert answer.text is not None, "DASH-B asks for words"
        return yes_no.counts(sample.target, READINGS[self._rules](answer.text))

    def rules(self) -> Mapping[str, Any]:
        """How answers are read."""
        return {"version": self.version, "rules": self._rules}

    def floors(self) -> Mapping[str, Answer]:
        """What always saying yes or no scores."""
        return {"always-yes": Answer("Yes"), "always-no": Answer("No")}
