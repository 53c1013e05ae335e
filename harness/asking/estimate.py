"""How long a run will take, from asking a few images of it for real."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from harness.asking.ask import Ask
from harness.asking.batches import by_image
from harness.compute.forecast import Forecast, Part, duration
from harness.types import Asked, Sample

SAMPLES = 32
FILLED = 4
"""So many times the questions that a server has at once: fewer would measure it filling up and running dry."""


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds measured on a part of the samples that are to be asked, and what they come to for all of them."""

    measured_s: float
    samples: int
    images: int
    of_samples: int
    of_images: int
    read_bytes: int = 0
    """Size of all images' files."""
    device: str = "cpu"
    chips: int = 1
    """GPUs, or threads of a CPU, that were busy."""
    peak_bytes: int = 0
    """The most memory the process has taken so far: torch's on a GPU, else all of it."""
    tokens: int = 0
    """Tokens that the LVLM read for the samples that were asked; 0 where an encoder is asked, or ids are not shown."""
    of_tokens: int = 0

    @property
    def seconds(self) -> float:
        """For all samples, by the tokens that they are; else by their number, as the images asked are spread evenly."""
        if not self.samples:
            return math.nan if self.of_samples else 0.0
        return self.measured_s * (self.of_tokens / self.tokens if self.tokens else self.of_samples / self.samples)

    @property
    def hours(self) -> float:
        """Chip-hours for all samples: GPU-hours, or core-hours on a CPU."""
        return self.seconds * self.chips / 3600

    def record(self) -> dict[str, Any]:
        """The numbers, for ``--json``."""
        return {
            "estimated_s": None if math.isnan(self.seconds) else self.seconds,
            "measured_s": self.measured_s,
            "samples": self.samples,
            "images": self.images,
            "of_samples": self.of_samples,
            "of_images": self.of_images,
            "tokens": self.tokens,
            "of_tokens": self.of_tokens,
            "chip_hours": None if math.isnan(self.hours) else self.hours,
            "chips": self.chips,
            "device": self.device,
            "peak_bytes": self.peak_bytes,
            "read_bytes": self.read_bytes,
        }

    def forecast(self) -> Forecast:
        """The same, as other work is estimated."""
        of = ("tokens", self.measured_s, self.tokens, self.of_tokens)
        part = Part(*(of if self.tokens else ("samples", self.measured_s, self.samples, self.of_samples)))
        counts = {"samples": self.of_samples, "images": self.of_images, "tokens": self.of_tokens}
        return Forecast((part,), 0.0, counts, self.read_bytes, self.device, self.chips, self.peak_bytes)

    def said(self) -> str:
        """One line for the user."""
        if not self.of_samples:
            return "nothing to ask: a task before it asks the same, and its answers are taken"
        tokens = f", {self.of_tokens:,} tokens" if self.of_tokens else ""
        return (
            f"about {duration(self.seconds)} for {self.of_samples} samples on {self.of_images} images{tokens} "
            f"(measured: {self.samples} samples on {self.images} images in {self.measured_s:.1f} s); "
            f"{self.hours:.2g} {'core' if self.device == 'cpu' else 'GPU'}-hours, "
            f"peak {self.peak_bytes / 1e9:.1f} GB on {self.device}, {self.read_bytes / 1e6:.0f} MB of images to read"
        )


def calibration(samples: Sequence[Sample], most: int = SAMPLES) -> list[list[Sample]]:
    """Whole images, evenly spread over the samples, with ``most`` samples or just above (all where there are fewer)."""
    groups = by_image(samples)
    wanted = max(1, math.ceil(most * len(groups) / max(1, len(samples))))
    step = max(1.0, len(groups) / wanted)
    return [groups[int(n * step)] for n in range(min(wanted, len(groups)))]


def estimate(
    ask: Ask, samples: Sequence[Sample], opened: Callable[[list[Sample]], Asked], most: int = SAMPLES
) -> TimeEstimate:
    """Ask a calibration part of these samples, after a warm-up, and say how long all of them will take."""
    groups = calibration(samples, most)
    if not groups:
        return TimeEstimate(0.0, 0, 0, 0, 0)
    list(ask([Asked(opened(groups[0]).image, tuple(groups[0][:1]))]))
    began = time.perf_counter()
    asked = sum(1 for _ in ask(opened(group) for group in groups))
    took = time.perf_counter() - began
    images = len({sample.image or sample.id for sample in samples})
    files = {sample.image for sample in samples if sample.image}
    read = sum(path.stat().st_size for path in files if path.is_file())
    return TimeEstimate(took, asked, len({s.image or s.id for s in chain(*groups)}), len(samples), images, read)
