"""Check what a plug-in promises: a task's questions, counts and floors; an encoder's rows, digest and description."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness import digest, images, registry
from harness.asking import evaluate
from harness.data import Data
from harness.errors import DataError, ModelError
from harness.records import Record
from harness.result import Result
from harness.tallies import tally
from harness.types import OF_ENCODERS, Answer, Encoder, Place, Sample, Task

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import RenderableType

SHOWN = 3
MARKS = ("<image>", "USER:", "ASSISTANT:", "{", "}")
"""What belongs into a model's template, not into a question, or was never filled in."""
CLOSE = 1e-4
CAPTIONS = ("A photo of a cat.", "Two people ride bicycles past a red bus on a wet street.", "a dog")


@dataclass(frozen=True)
class Finding:
    """One promise, whether it is kept, and what was found."""

    promise: str
    kept: bool
    found: str


@dataclass(frozen=True)
class Checked(Result):
    """Every promise of one plug-in."""

    name: str
    findings: Sequence[Finding]

    @property
    def passed(self) -> bool:
        """Whether every promise is kept."""
        return all(one.kept for one in self.findings)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each promise."""
        return [{"promise": one.promise, "kept": one.kept, "found": one.found} for one in self.findings]

    def content(self) -> Any:
        """The same, under the name."""
        return {"name": self.name, "passed": self.passed, "findings": self.rows()}

    def parts(self) -> Iterator[RenderableType]:
        """A line for each promise."""
        for one in self.findings:
            yield Text(
                f"{'ok ' if one.kept else 'NOT'}  {one.promise}: {one.found}", style="" if one.kept else "bold red"
            )


def check_task(text: str, data: Data) -> Checked:
    """Every promise of the task this spec names, over this data; DataError where its files are missing."""
    task = evaluate.open_task(text, data.root)
    samples = task.given()
    if not samples:
        raise DataError(f"{text} has no sample in {data.root}")
    twice = digest.of_json([_plain(sample) for sample in evaluate.open_task(text, data.root).given()])
    shown = list(dict.fromkeys(sample.image for sample in samples if sample.image))
    findings = [
        Finding("samples load", True, f"{len(samples)} about {len(shown)} images"),
        _finding("ids are unique", _repeated(sample.id for sample in samples)),
        _finding(
            "two readings give the same samples",
            [] if digest.of_json([_plain(sample) for sample in samples]) == twice else ["they differ"],
        ),
        _finding("images are there and open", _unopened(task, shown, data)),
        _finding("what is asked is whole", [told for sample in samples for told in _unasked(task, sample)]),
        *_counted(task, samples),
    ]
    return Checked(text, findings)


def check_encoder(text: str) -> Checked:
    """Every promise of the encoder this spec names; ModelError where it does not load."""
    from harness.comparison.encoders import patterns

    encoder, again = (registry.make_encoder(text, Place()) for _ in range(2))
    pictures = patterns(4)
    findings = [
        _finding("it knows its spec", [] if encoder.spec == text else [f"it says {encoder.spec!r}"]),
        *_rows("images", encoder.encode_images, pictures),
        *_texts(encoder),
        _finding(
            "the digest is stable",
            [] if encoder.digest() and encoder.digest() == again.digest() else ["two loads differ, or it is empty"],
        ),
        _finding("its description is plain data", _undescribed(encoder)),
        Finding("it has a tower, or says why not", *_tower(encoder)),
    ]
    return Checked(text, findings)


def _finding(promise: str, wrong: Iterable[str]) -> Finding:
    faults = list(wrong)
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return Finding(promise, not faults, "; ".join(faults[:SHOWN]) + more if faults else "yes")


def _plain(sample: Sample) -> list[Any]:
    image = str(sample.image) if sample.image else None
    return [
        sample.id,
        image,
        sample.target,
        sample.prompt,
        list(sample.texts),
        sample.group,
        sample.tokens,
        sample.until,
    ]


def _repeated(ids: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [f"'{id}' stands twice" for id in ids if id in seen or seen.add(id)]  # type: ignore[func-returns-value]


def _unopened(task: Task, shown: Sequence[Any], data: Data) -> list[str]:
    try:
        images.check(set(shown), task.name, data.fence)
        for path in shown[:: max(1, len(shown) // 8)]:
            images.open_image(path)
    except (DataError, images.ImageError) as error:
        return [str(error)]
    return []


def _unasked(task: Task, sample: Sample) -> Iterator[str]:
    """What of a sample cannot be asked as it stands."""
    if task.mode in OF_ENCODERS:
        yield from _unranked(task, sample)
        return
    if not sample.prompt.strip():
        yield f"'{sample.id}' has no prompt"
    for mark in MARKS:
        if mark in sample.prompt:
            yield f"the prompt of '{sample.id}' holds {mark!r}"


def _unranked(task: Task, sample: Sample) -> Iterator[str]:
    """What of a sample an encoder cannot be asked."""
    if len(sample.texts) < (2 if task.mode == "rank" else 1):
        yield f"'{sample.id}' has {len(sample.texts)} texts to {task.mode}"
    if sample.target.isdigit() and int(sample.target) >= len(sample.texts):
        yield f"'{sample.id}' names text {sample.target!r} of {len(sample.texts)} as the true one"


def _counted(task: Task, samples: Sequence[Sample]) -> Iterator[Finding]:
    """Counts are numbers, every metric has a value, and the true answers beat those that never look."""
    if task.mode == "rank" and not all(sample.target.isdigit() for sample in samples):
        return  # what is right is the task's own affair
    floors: dict[str, Mapping[str, Answer]] = {
        name: dict.fromkeys((sample.id for sample in samples), answer) for name, answer in task.floors().items()
    } | dict(task.blind())
    truth = {sample.id: _gold(task, sample) for sample in samples}
    measured = _wholes(task, samples, truth)
    if task.headline not in measured:
        there = ", ".join(measured) or "no metric"
        yield Finding("the headline is a metric", False, f"it is '{task.headline}', and there is {there}")
        return
    called = _judged_by(task, measured)
    metric, best = task.metrics_of("")[called], measured[called]
    yield Finding("true answers have a headline value", math.isfinite(best), f"{called} {best:z.1f}")
    for name, replies in floors.items():
        value = _wholes(task, samples, replies)[called]
        above = value < best if metric.better == "lower" else value > best  # no value is not above
        yield Finding(f"floor '{name}' is not above the truth", not above, f"{called} {value:z.1f}")


def _judged_by(task: Task, measured: Mapping[str, float]) -> str:
    """The headline; where this part of the data gives it no value (MME's needs every category), one of the summary."""
    summary = [name for group, name in task.summary if not group and name in measured]
    return next((name for name in (task.headline, *summary) if math.isfinite(measured[name])), task.headline)


def _gold(task: Task, sample: Sample) -> Answer:
    """The true answer of a sample: its true text first, or its target in words."""
    if task.mode == "rank":
        return Answer(scores=tuple(float(str(n) == sample.target) for n in range(len(sample.texts))))
    if task.mode == "retrieve":
        return Answer(scores=(1.0,) * len(sample.texts))  # every text at the first place
    if sample.target in ("yes", "no"):
        return Answer(sample.target.capitalize(), p_yes=float(sample.target == "yes"))
    return Answer(sample.target)


def _wholes(task: Task, samples: Sequence[Sample], replies: Mapping[str, Answer]) -> dict[str, float]:
    """Every metric of the whole, were these the answers."""
    records = [
        Record(one.id, str(one.image or one.id), one.group, "", "", replies[one.id], task.counted(one, replies[one.id]))
        for one in samples
        if one.id in replies
    ]
    totals = tally(records)[""].totals()
    return {name: float(metric(totals)) for name, metric in task.metrics_of("").items()}


def _rows(kind: str, encode: Callable[[Any], Any], things: Sequence[Any]) -> Iterator[Finding]:
    """Rows are finite, of length one, the same again, and the same alone as in a batch."""
    together, again = encode(list(things)), encode(list(things))
    if not hasattr(together, "isfinite") or len(together) != len(things):
        told = f"a {type(together).__name__} of shape {list(getattr(together, 'shape', ()))} for {len(things)}"
        yield Finding(f"{kind}: a row each", False, told)
        return
    alone = [encode([thing])[0] for thing in things]
    shape = list(together.shape)
    finite = bool(together.isfinite().all())
    length = float((together.float().norm(dim=-1) - 1).abs().max())
    apart = max(float((one - row).abs().max()) for one, row in zip(alone, together, strict=True))
    yield Finding(f"{kind}: a row each", len(shape) == 2 and shape[0] == len(things), f"shape {shape}")
    yield Finding(f"{kind}: rows are finite and of length 1", finite and length < 1e-3, f"off by at most {length:.1e}")
    yield Finding(f"{kind}: the same rows again", bool((together == again).all()), "yes")
    yield Finding(
        f"{kind}: rows do not depend on the batch", apart <= CLOSE, f"alone and together differ by {apart:.1e}"
    )


def _texts(encoder: Encoder) -> Iterator[Finding]:
    try:
        encoder.encode_texts(list(CAPTIONS[:1]))
    except ModelError as error:
        yield Finding("texts", True, f"none: {error}")
        return
    yield from _rows("texts", encoder.encode_texts, CAPTIONS)
    wide = [encoder.encode_texts(list(CAPTIONS)).shape[1], encoder.encode_images(_one_picture()).shape[1]]
    yield Finding("texts and images are of one width", wide[0] == wide[1], f"{wide[0]} and {wide[1]}")


def _one_picture() -> list[Image]:
    from harness.comparison.encoders import patterns

    return patterns(1)


def _undescribed(encoder: Encoder) -> list[str]:
    try:
        json.dumps(dict(encoder.describe()), allow_nan=False)
    except (TypeError, ValueError) as error:
        return [str(error)]
    return []


def _tower(encoder: Encoder) -> tuple[bool, str]:
    try:
        return True, type(encoder.tower()).__name__
    except ModelError as error:
        return True, str(error)
