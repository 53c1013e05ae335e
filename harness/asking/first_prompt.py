"""The first question of a task as a model reads it, and whether a server reads what its folder is asked with here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL.Image import Image

from harness import digest
from harness.abilities import Served, ShowsIds
from harness.console import say
from harness.images import ImageError
from harness.types import LVLM, Asked, Sample


def first_prompt(lvlm: LVLM, samples: Iterable[Sample], see: Callable[[Path], Image | None]) -> dict[str, Any] | None:
    """The first question's text, how many token ids it is, and their SHA-256; None where the model shows no ids.

    Of a server also whether they are those of the folder that it serves, ``as_here``: null where that cannot be told,
    and said where they are others.
    """
    one = first_seen(samples, see)
    ids = lvlm.prompt_ids(one) if one and isinstance(lvlm, ShowsIds) else None
    if one is None or ids is None:
        return None
    text = lvlm.render(one.samples[0].prompt)
    told: dict[str, Any] = {"text": text, "ids": len(ids), "digest": digest.of_json(list(ids))}
    if isinstance(lvlm, Served):
        how = lvlm.differs(one, ids)
        told["as_here"] = None if how is None else not how
        if how:
            say(f"{lvlm.spec}: {how}")
    return told


def first_seen(samples: Iterable[Sample], see: Callable[[Path], Image | None]) -> Asked | None:
    """The first sample whose picture can be seen."""
    for sample in samples:
        try:
            return Asked(see(sample.image) if sample.image else None, (sample,))
        except (ImageError, FileNotFoundError):
            continue
    return None
