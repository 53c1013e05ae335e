"""``clip``: CLIP, MetaCLIP, SigLIP or DINOv2 in transformers' layout, by hub id, folder or bare weights file."""

from __future__ import annotations

from dataclasses import replace

from harness import model_places, registry
from harness.types import Encoder, Place, Spec

DEFAULT = "openai/clip-vit-base-patch32"


@registry.encoder("clip", files=lambda spec: model_places.named(spec, DEFAULT))
def clip(spec: Spec, place: Place) -> Encoder:
    """CLIP, MetaCLIP, SigLIP or DINOv2 in transformers' layout, or a bare weights file.

    ``clip:HUB_ID|FOLDER|FILE[?activation=quick_gelu|gelu&text=trie|padded&revision=REV]``.
    """
    from encoders.towers import hub

    registry.no_more_options(spec, "activation", "text", "revision")
    return hub.load(replace(spec, location=spec.location or DEFAULT), place)
