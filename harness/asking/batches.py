"""Which images are computed together: batches cut from all the questions of a task, never from what is left of them.

An answer's last digits hang on what else was in the batch: other shapes take other kernels, which add in another order.
So a batch's members never change. Where one answer of a batch is missing the whole batch is computed again, and what
was kept stays; so a run that was killed ends with the very bits of one that was not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from harness.types import Sample

Images = list[list[Sample]]


def dealt(samples: Sequence[Sample], due: Collection[str], size: int) -> Iterator[tuple[int, list[Sample]]]:
    """(Number of its batch, samples of one image), in the order to be asked, of every batch with a sample that is due.

    ``size`` is how many images are in a batch; 0 where each answer stands alone, so that only what is due is asked.
    """
    every = cut(samples if size else [sample for sample in samples if sample.id in due], size)
    wanted = [batch for batch in every if any(s.id in due for image in batch for s in image)]
    yield from ((number, image) for number, batch in enumerate(wanted) for image in batch)


def cut(samples: Sequence[Sample], size: int) -> list[Images]:
    """Batches of equal size, or one less, so that no worker has a long one left at the end; an image each for 0."""
    images = by_image(samples)
    count = -(-len(images) // max(1, size))
    ends = [len(images) * n // count for n in range(count + 1)] if count else [0]
    return [images[start:end] for start, end in pairwise(ends)]


def by_image(samples: Sequence[Sample]) -> Images:
    """The samples of each image together; each sample that needs no image by itself."""
    groups: dict[object, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.image or sample.id, []).append(sample)
    return list(groups.values())
