"""Retrieval: at which place each caption finds its picture among all pictures, and each picture its captions.

Legend: N pictures, M captions, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from harness import digest
from harness.abilities import LooksAtFiles
from harness.asking.ask import IMAGES_AT_ONCE, Ask
from harness.asking.features import ImageFeatures
from harness.images import ImageError, image_digest, open_image
from harness.prefetch import prefetched
from harness.types import Answer, Asked, Encoder, Failure, Place, Reply, Sample

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

TEXTS_AT_ONCE = 4096
SCORES_AT_ONCE = 32_000_000
"""How many similarities are held at a time, whatever the gallery's size: 128 MB."""


def gallery_digest(samples: Sequence[Sample]) -> str:
    """SHA-256 of everything that is searched: an answer is a place among all of it."""
    return digest.of_json([[image_digest(s.image) if s.image else None, s.texts] for s in samples])


def retriever(encoder: Encoder, place: Place, samples: Sequence[Sample], features: ImageFeatures | None = None) -> Ask:
    """Answer with the place (1 is first) of each of a sample's texts, or of its picture, in the whole gallery.

    The gallery is all pictures and all captions of ``samples``. A sample in the group ``text-to-image`` asks at which
    place its caption has its picture, one in ``image-to-text`` at which place its picture has each of its captions.
    What scores the same counts as before it.
    """

    def answers(asked: Iterable[Asked]) -> Iterator[Reply]:
        wanted = [sample for one in asked for sample in one.samples]
        if wanted:
            yield from _found(_Gallery(encoder, place, samples, features), wanted)

    return Ask(answers)


class _Gallery:
    """Every picture and every caption as unit rows, and which belong together."""

    def __init__(
        self, encoder: Encoder, place: Place, samples: Sequence[Sample], features: ImageFeatures | None
    ) -> None:
        import torch

        self.broken: dict[Path, str] = {}
        paths = list(dict.fromkeys(sample.image for sample in samples if sample.image))
        with torch.inference_mode():
            rows = self._images(encoder, place.batch_size or IMAGES_AT_ONCE, paths, features)
            self.image = {path: n for n, path in enumerate(path for path in paths if path not in self.broken)}
            self.image_ND = torch.cat(rows) if rows else torch.empty(0, 1)
            texts = [(s.image, s.texts[0]) for s in samples if s.group == "text-to-image" and s.image in self.image]
            self.owner_M = torch.tensor([self.image[path] for path, _ in texts], dtype=torch.long)
            self.text_MD = _texts(encoder, [text for _, text in texts], self.image_ND.shape[1])
        self.texts: dict[tuple[Path, str], int] = {}
        for n, (path, text) in enumerate(texts):
            self.texts.setdefault((path, text), n)

    def _images(
        self, encoder: Encoder, size: int, paths: Sequence[Path], features: ImageFeatures | None
    ) -> list[Tensor]:
        encode: Callable[[Sequence[Image]], Tensor] = encoder.encode_images
        look = encoder.look if isinstance(encoder, LooksAtFiles) else open_image
        rows, seen = [], prefetched(partial(self._opened, look), paths)
        while batch := list(islice(seen, size)):
            images = [image for image in batch if image is not None]
            if images:
                rows.append((features.of(images, encode) if features else encode(images)).float().cpu())
        return rows

    def _opened(self, look: Callable[[Path], Image], path: Path) -> Image | None:
        try:
            return look(path)
        except ImageError as error:
            self.broken[path] = str(error)
            return None


def _texts(encoder: Encoder, texts: Sequence[str], width: int) -> Tensor:
    """A unit row [M, D] for each text; each distinct one is encoded once."""
    import torch

    distinct = list(dict.fromkeys(texts))
    rows = [
        encoder.encode_texts(distinct[n : n + TEXTS_AT_ONCE]).float().cpu()
        for n in range(0, len(distinct), TEXTS_AT_ONCE)
    ]
    row = {text: n for n, text in enumerate(distinct)}
    table = torch.cat(rows) if rows else torch.empty(0, width)
    return table[[row[text] for text in texts]]


def _found(gallery: _Gallery, wanted: Sequence[Sample]) -> Iterator[Reply]:
    """The reply to each of these samples, a bounded number of similarities at a time."""
    for sample in wanted:
        if sample.image in gallery.broken:
            yield sample, Failure(gallery.broken[sample.image])
    there = [sample for sample in wanted if sample.image in gallery.image]
    searches = (
        ([sample for sample in there if sample.group == "text-to-image"], _of_texts, len(gallery.image)),
        ([sample for sample in there if sample.group != "text-to-image"], _of_images, len(gallery.owner_M)),
    )
    for samples, search, among in searches:
        step = max(1, SCORES_AT_ONCE // max(1, among))
        for n in range(0, len(samples), step):
            yield from search(gallery, samples[n : n + step])


def _of_texts(gallery: _Gallery, samples: Sequence[Sample]) -> Iterator[Reply]:
    """At which place each of these captions has its picture."""
    rows = [gallery.texts[sample.image, sample.texts[0]] for sample in samples if sample.image]
    score_KN = gallery.text_MD[rows] @ gallery.image_ND.T
    own_K1 = score_KN.gather(1, gallery.owner_M[rows][:, None])
    for sample, place in zip(samples, (score_KN >= own_K1).sum(1).tolist(), strict=True):
        yield sample, Answer(scores=(float(place),))


def _of_images(gallery: _Gallery, samples: Sequence[Sample]) -> Iterator[Reply]:
    """At which place each of these pictures has each of its captions."""
    rows = [gallery.image[sample.image] for sample in samples if sample.image]
    score_KM = gallery.image_ND[rows] @ gallery.text_MD.T
    for sample, score_M in zip(samples, score_KM, strict=True):
        assert sample.image is not None
        own = score_M[[gallery.texts[sample.image, text] for text in sample.texts]]
        places = [int((score_M >= one).sum()) for one in own]
        yield sample, Answer(scores=tuple(map(float, places)))
