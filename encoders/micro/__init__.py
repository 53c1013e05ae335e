"""``micro``, ``micro-ohd``, ``micro-plain``: small shipped CLIPs of the micro world (docs/micro_world.md)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness import registry
from harness.compute import devices
from harness.errors import UsageError
from harness.types import Encoder, Place, Spec

WEIGHTS = Path(__file__).parent / "weights"


def _shipped(spec: Spec, place: Place) -> Encoder:
    from encoders.clip import clip

    if spec.location:
        raise UsageError(f"'{spec.text}': {spec.name} is a shipped encoder; for another folder write clip:FOLDER")
    devices.one_thread()
    return clip(replace(spec, location=str(WEIGHTS / spec.name)), place)


def _files(spec: Spec) -> list[Path]:
    return [WEIGHTS / spec.name]


@registry.encoder("micro", files=_files)
def micro(spec: Spec, place: Place) -> Encoder:
    """A CLIP trained on web-like captions of the micro world: the baseline."""
    return _shipped(spec, place)


@registry.encoder("micro-ohd", files=_files)
def micro_ohd(spec: Spec, place: Place) -> Encoder:
    """``micro`` fine-tuned with hallucinated captions as negatives (arXiv 2410.03176)."""
    return _shipped(spec, place)


@registry.encoder("micro-plain", files=_files)
def micro_plain(spec: Spec, place: Place) -> Encoder:
    """The control: ``micro`` fine-tuned for as many steps on the same images and true captions, without negatives."""
    return _shipped(spec, place)
