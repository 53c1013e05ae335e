"""The part of a task that can be asked where not all of its pictures are there, and the name of that part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.types import Sample


@dataclass(frozen=True, slots=True)
class Part:
    """Which pictures of a task are there, of how many, and the groups of which none is."""

    task: str
    images: int
    of: int
    left_out: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all of them are there."""
        return self.images == self.of

    def said(self) -> str:
        """``ohd-caps: 500 of 1,500 images are there; without any, left out: flickr, nocaps``."""
        without = f"; without any, left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{self.task}: {self.images:,} of {self.of:,} images are there{without}"

    def record(self) -> dict[str, Any]:
        """What the run keeps of it: its identity, together with the digest of what is asked."""
        return {"images": self.images, "of": self.of, "left_out": list(self.left_out)}


def there(task: str, samples: Sequence[Sample]) -> tuple[list[Sample], Part]:
    """The samples whose picture is there, or that show none, and what part of the task that is."""
    every = _images(samples)
    absent = {path for path in every if not path.is_file()}
    kept = [sample for sample in samples if sample.image not in absent]
    first = {sample.group.split("/", 1)[0] for sample in samples}
    left_out = sorted(first - {sample.group.split("/", 1)[0] for sample in kept})
    return kept, Part(task, len(every) - len(absent), len(every), tuple(left_out))


def _images(samples: Iterable[Sample]) -> set[Path]:
    return {sample.image for sample in samples if sample.image is not None}


def marks(manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for each task of a kept run that was asked about a part of its pictures only."""
    parts = manifest.get("part") or {}
    return [
        Part(task, one.get("images", 0), one.get("of", 0), tuple(one.get("left_out", ()))).said()
        for task, one in sorted(parts.items())
        if isinstance(one, dict)
    ]
