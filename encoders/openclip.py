"""``open-clip``: whatever open_clip trains and loads, by architecture and weights, folder or bare checkpoint."""

from __future__ import annotations

from harness import registry
from harness.types import Encoder, Place, Spec


@registry.encoder("open-clip")
def open_clip(spec: Spec, place: Place) -> Encoder:
    """Whatever open_clip trains and loads: by architecture and weights, folder or bare checkpoint.

    ``open-clip:NAME?weights=FILE`` or ``?pretrained=TAG``; ``open-clip:FOLDER``, ``open-clip:FILE?activation=…``.
    """
    from encoders.towers import openclip

    registry.no_more_options(spec, "weights", "pretrained", "activation", "text")
    return openclip.load(spec, place)
