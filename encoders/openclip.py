"""``open-clip``: whatever open_clip trains and loads, by architecture and weights, folder or bare checkpoint."""

from __future__ import annotations

from pathlib import Path

from harness import model_places, registry
from harness.errors import UsageError
from harness.types import Encoder, Place, Spec


def _files(spec: Spec) -> list[Path]:
    """What the spec names on this disk; UsageError where open_clip is to fetch the weights, wherever it keeps them."""
    if "weights" in spec.options or Path(spec.location).exists():
        return model_places.named(spec)
    raise UsageError(f"'{spec.text}' names no file")


@registry.encoder("open-clip", files=_files)
def open_clip(spec: Spec, place: Place) -> Encoder:
    """Whatever open_clip trains and loads: by architecture and weights, folder or bare checkpoint.

    ``open-clip:NAME?weights=FILE`` or ``?pretrained=TAG``; ``open-clip:FOLDER``, ``open-clip:FILE?activation=…``.
    """
    from encoders.towers import openclip

    registry.no_more_options(spec, "weights", "pretrained", "activation", "text")
    return openclip.load(spec, place)
