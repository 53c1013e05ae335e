"""Ask a model: samples grouped by image in, replies out. One verb for encoders and for LVLMs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from harness.asking import fine_grained
from harness.asking.classifiers import Classifiers
from harness.errors import ModelError
from harness.types import LVLM, Answer, Asked, Encoder, Failure, Place, Reply, Sample

if TYPE_CHECKING:
    from torch import Tensor

    from harness.asking.features import ImageFeatures

IMAGES_AT_ONCE = 32


@dataclass(frozen=True)
class Ask:
    """Samples in, replies out, as they come: a reply for every sample.

    ``batch`` is how many images it computes together, those of one number in ``Asked.batch`` (0: each answer stands
    alone, whatever is asked beside it).
    """

    answers: Callable[[Iterable[Asked]], Iterator[Reply]]
    batch: int = 0

    def __call__(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """A reply for every sample."""
        return self.answers(asked)


def ranker(encoder: Encoder, place: Place, features: ImageFeatures | None = None) -> Ask:
    """Answer with the similarity of each sample's image to each of its texts; ``features`` keeps what images gave."""

    size, classifiers = place.batch_size or IMAGES_AT_ONCE, Classifiers(encoder)

    def answers(asked: Iterable[Asked]) -> Iterator[Reply]:
        for _, together in groupby(asked, key=lambda one: one.batch):
            while batch := list(islice(together, size)):
                yield from _ranked(encoder, batch, features, classifiers)

    return Ask(answers, size)


def _ranked(
    encoder: Encoder, batch: list[Asked], features: ImageFeatures | None, classifiers: Classifiers
) -> Iterator[Reply]:
    """Rank one batch: its images together, each distinct text once."""
    import torch

    for blind in (one for one in batch if one.image is None):
        for sample in blind.samples:
            yield sample, Failure("an encoder ranks by what it sees; there is no image")
    seen = [one for one in batch if one.image is not None]
    texts = list(dict.fromkeys(text for one in seen for sample in one.samples for text in _scored(sample)))
    if not seen:
        return
    with torch.inference_mode():
        images = [one.image for one in seen if one.image is not None]
        encoded_ND = features.of(images, encoder.encode_images) if features else encoder.encode_images(images)
        image_ND = _rows(encoder, encoded_ND, len(images))
        text_MD = _rows(encoder, encoder.encode_texts(texts), len(texts), image_ND.shape[1]) if texts else image_ND[:0]
        scores = image_ND @ text_MD.T
        for one, image_D, row in zip(seen, image_ND, scores.tolist(), strict=True):
            similarity = dict(zip(texts, row, strict=True))
            for sample in one.samples:
                if sample.templates:
                    found = (classifiers.of(sample.texts, sample.templates) @ image_D).tolist()
                else:
                    found = _scores(sample, similarity)
                yield sample, Answer(scores=tuple(found))


def _rows(encoder: Encoder, given: Any, count: int, width: int = 0) -> Tensor:
    """These rows in float32 on the CPU; ModelError where an encoder gives anything but as many, of this width."""
    shape = tuple(getattr(given, "shape", ()))
    if not hasattr(given, "cpu") or len(shape) != 2 or shape[0] != count or (width and shape[1] != width):
        told = f"a {type(given).__name__}" + (f" of shape {shape}" if shape else "")
        raise ModelError(f"{encoder.spec} gives {told}; right would be a tensor of {count} rows, {width or 'D'} wide")
    rows: Tensor = given.float().cpu()
    return rows


def _scored(sample: Sample) -> Iterator[str]:
    """Every text that this sample's answer is made of, those of a classifier aside."""
    yield from () if sample.templates else sample.texts
    for parts in sample.parts:
        yield from parts


def _scores(sample: Sample, similarity: Mapping[str, float]) -> list[float]:
    """A score for each of the sample's texts."""
    if sample.parts:
        return fine_grained.scored(sample.mean, sample.parts, sample.texts, similarity)
    return [similarity[text] for text in sample.texts]


def speaker(lvlm: LVLM) -> Ask:
    """Answer in words, what an LVLM computes together asked by itself, so that nothing else can change it."""
    size = getattr(lvlm, "batch", 0)

    def answers(asked: Iterable[Asked]) -> Iterator[Reply]:
        for _, together in groupby(asked, key=lambda one: one.batch):
            yield from lvlm.answers(together)

    return Ask(answers if size else lvlm.answers, size)
