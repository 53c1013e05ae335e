"""The digest of a large part: at once what it was last time; what it is now, before the first answer is given."""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from torch.nn import Module

from harness import digest, durable, model_places
from harness.data import cache_dir
from harness.errors import ModelError
from harness.types import Place, Spec
from harness.vision_language import identity

LARGE = 1e9
"""Bytes from which a part's digest is worth recalling: some second of a core's time."""


class PartDigest:
    """A part of the model of this spec, which is read from its files after this is made.

    Nothing hangs on the marks of files alone: a part that was recalled wrongly ends with ModelError at ``confirm``, and
    is known by its own digest from then on.
    """

    def __init__(self, spec: Spec, place: Place) -> None:
        self.spec, self._kept = spec, _kept(spec, place)
        self._told = ""
        self._taken: Future[str] | None = None

    def told(self, part: Module) -> str:
        """SHA-256 of the part as it lies in memory; of a large one that was read before, what it was then."""
        tensors = identity.part_tensors(part)
        large = sum(tensor.nbytes for tensor in tensors.values()) >= LARGE
        self._told = self._recalled() if large else ""
        if self._told:
            pool = ThreadPoolExecutor(1, "digest")
            self._taken = pool.submit(digest.of_tensors, tensors)
            pool.shutdown(wait=False)
            return self._told
        self._told = digest.of_tensors(tensors)
        if large:
            self._keep(self._told)
        return self._told

    def confirm(self) -> None:
        """Returns once the part is known to be what was told; ModelError where it is another."""
        if self._taken is None:
            return
        found = self._taken.result()
        if found != self._told:
            self._keep(found)
            raise ModelError(
                f"{self.spec.text}: its weights are no longer those of its last run, though no date of a file "
                "tells so; nothing was answered by them: run the command again"
            )
        self._taken = None

    def _recalled(self) -> str:
        try:
            kept = self._kept.read_text(encoding="ascii") if self._kept else ""
        except (OSError, ValueError):
            return ""
        return kept if re.fullmatch("[0-9a-f]{64}", kept) else ""

    def _keep(self, found: str) -> None:
        if self._kept is None:
            return
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, and nothing else
            durable.replace(self._kept, found)


def _kept(spec: Spec, place: Place) -> Path | None:
    """Where the digest is kept for as long as none of the model's files changes; None where they cannot be told."""
    try:
        marks = {str(path.absolute()): model_places.mark(path) for path in model_places.named(spec)}
    except model_places.TooMany:
        return None
    versions = [version(package) for package in ("ohd-bench", "torch", "transformers")]
    return (
        cache_dir() / "models" / f"{digest.of_json([spec.text, place.device, place.dtype, versions, marks])[:32]}.part"
    )
