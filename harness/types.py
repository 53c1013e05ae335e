"""The nouns of ohd-bench: what is asked, what came back, and what each part promises the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from harness import traces
from harness.errors import BrokenDataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

    from harness.metrics import Metric

Counts = Mapping[str, float]
"""What one answer adds to the totals."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one image.

    ``group`` is a path (``discriminative/attribute/state``): an answer counts in every group along it.
    ``tokens`` is the most new tokens an answer may have; ``until`` ends it early at the first such text.
    ``parts`` are words of each text that are scored with it, by the ``mean`` (arithmetic or geometric) of all logits.
    ``templates`` are captions that each text is put into at their {}: its row is the mean of theirs, of length one.
    """

    id: str
    image: Path | None
    target: str
    prompt: str = ""
    texts: tuple[str, ...] = ()
    group: str = ""
    tokens: int = 16
    until: str = ""
    parts: tuple[tuple[str, ...], ...] = ()
    mean: str = "arithmetic"
    templates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model gave back: its words, or its similarity to each of the sample's texts.

    ``p_yes`` is the probability mass of every spelling of yes against that of no at the first answer token.
    """

    text: str | None = None
    p_yes: float | None = None
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sample has no answer. A failure is never counted as an answer."""

    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The samples of one image, with the image opened once (RGB), or None where nothing is to be seen.

    ``batch`` numbers the batch it is computed in (``harness/batches.py``): what has one number is asked together.
    """

    image: Image | None
    samples: tuple[Sample, ...]
    batch: int = 0


Reply = tuple[Sample, Answer | Failure]
Mode = Literal["rank", "retrieve", "generate"]
OF_ENCODERS: frozenset[Mode] = frozenset({"rank", "retrieve"})
"""The modes that ask an encoder; ``generate`` asks an LVLM."""


LARGEST = 1e15
"""The most that one answer may add to a total."""


def _is_count(value: Any) -> bool:
    """Whether this can be added to a total: a number, and a finite one."""
    try:
        return not isinstance(value, str | bytes) and abs(float(value)) < LARGEST
    except (TypeError, ValueError, OverflowError):
        return False


def writable(text: str) -> bool:
    """Whether this can be written as UTF-8: a file's name that is none of it holds lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


class Task(ABC):
    """A benchmark: questions in, counts out. No model, no device, no averaging.

    ``name`` is the registered one, options added where the user gave any (``pope-source=flickr``); ``spec`` what was
    written. ``mode`` says whom it asks: ``rank`` an encoder (similarities to ``Sample.texts``), ``retrieve`` an encoder
    (places in the gallery of all samples), ``generate`` an LVLM.
    ``whole`` is what all groups together are called in tables; ``summary`` the (group, metric) pairs of a short one.
    """

    name: str = ""
    spec: str = ""
    mode: ClassVar[Mode]
    metrics: ClassVar[Mapping[str, Metric]]
    headline: ClassVar[str]
    version: ClassVar[str] = "1"
    whole: ClassVar[str] = "all"
    summary: Sequence[tuple[str, str]] = ()

    outside: bool = False
    """Whether its files may name images outside the data folder (``--allow-outside``)."""

    def __init__(self, data: Path) -> None:
        self.data = data

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Every question, in a fixed order."""

    def every(self) -> list[Sample]:
        """Every question: at least one, and no id twice; DataError otherwise."""
        found = self.given()
        if not found:
            raise BrokenDataError(f"{self.name}: the data holds no question; docs/data.md says what its files hold")
        if odd := next((sample.id for sample in found if not writable(sample.id)), None):
            raise BrokenDataError(f"{self.name}: {odd!r} is no UTF-8 text, as names of files must be; rename the file")
        twice = next((id for id, times in Counter(sample.id for sample in found).items() if times > 1), None)
        if twice is not None:
            raise BrokenDataError(f"{self.name}: two questions have the id '{twice}'; give each one of its own")
        return found

    def given(self) -> list[Sample]:
        """The questions as they are given; UsageError where the task gives something else."""
        found: Any = self.samples()
        if not isinstance(found, Iterable):
            raise UsageError(f"{self.name}: samples() gives no samples but a {type(found).__name__}; it has to yield")
        every: list[Any] = list(found)
        if odd := [one for one in every if not isinstance(one, Sample) or not one.id]:
            raise UsageError(f"{self.name}: samples() gives {odd[0]!r:.60}; right would be a Sample with an id")
        return every

    @abstractmethod
    def count(self, sample: Sample, answer: Answer) -> Counts:
        """What this one answer adds to the totals of its groups."""

    def counted(self, sample: Sample, answer: Answer) -> Counts:
        """What this one answer adds: where it has a reasoning trace, the words after it do.

        UsageError where the task counts what is no number.
        """
        if answer.text is not None and traces.has_trace(answer.text):
            answer = replace(answer, text=traces.spoken(answer.text) or "")
        found = self.count(sample, answer)
        for key, value in found.items():
            if not _is_count(value):
                raise UsageError(
                    f"{self.name}: its count() gives '{key}' = {value!r:.40} for the sample '{sample.id}'; right would "
                    "be a finite number"
                )
        return found

    def metrics_of(self, group: str) -> Mapping[str, Metric]:
        """The metrics that mean something in this group (its path, "" for the whole)."""
        return self.metrics

    def rules(self) -> Mapping[str, Any]:
        """How answers are read and counted: whatever changes a number without changing an answer."""
        return {"version": self.version}

    def remarks(self) -> Sequence[str]:
        """What a reader of the numbers should know of the questions, a sentence each: printed under the table."""
        return ()

    def to_judge(self, sample: Sample, answer: str) -> Mapping[str, Any] | None:
        """What an external judge of open answers reads of this one; None where answers are counted here."""
        return None

    def floors(self) -> Mapping[str, Answer]:
        """Answers that need no picture, by name: what they score is printed under the table."""
        return {}

    def blind(self) -> Mapping[str, Mapping[str, Answer]]:
        """Floors whose answer differs by sample, by name and sample id: what a reader of the texts alone answers."""
        return {}


class Encoder(Protocol):
    """A dual encoder under test."""

    spec: str

    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Unit rows [N, D] in float32, one for each image."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit rows [N, D] in float32, one for each text."""

    def tower(self) -> Module:
        """The vision tower as a transformers ``CLIPVisionModel``; ModelError where it is none."""

    def digest(self) -> str:
        """SHA-256 over the tensors of both towers under canonical names."""

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity: activation, mean, std, resize, resolution, patch, pooling."""


class LVLM(Protocol):
    """A vision-language model that answers in words."""

    spec: str

    def answers(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """A reply for every sample, as they come; batching is the model's own affair."""

    def render(self, prompt: str) -> str:
        """The prompt as the model reads it, template and image placeholder included."""

    def digests(self) -> Mapping[str, str]:
        """SHA-256 by part, of what is in memory: ``tower``, ``projector``, ``language_model`` …"""

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity: decoding, preprocessing, dtype, alignment."""


class LvlmHost(Protocol):
    """A loaded LVLM into which one tower after another can be put."""

    def __call__(self, encoder: Encoder | None) -> LVLM:
        """The LVLM with this encoder's tower, or as it came; ModelError where the tower does not fit."""


class Recipe(Protocol):
    """A way to train an encoder: a frozen dataclass of everything that matters."""

    def train(self, data: Path, out: Path) -> Path:
        """The folder of the trained encoder, in transformers' layout."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model computes. ``auto`` picks what the machine has; batch_size 0 means auto."""

    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 0


@dataclass(frozen=True, slots=True)
class Spec:
    """A model's name as the user writes it: ``NAME[:LOCATION][?key=value&key=value]``."""

    name: str
    location: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
