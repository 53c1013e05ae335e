"""What work is expected to cost: a part of it done for real, and counted how much of it there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Part:
    """What is done many times over: ``seconds`` for ``done`` of ``of`` steps, tokens, rows, pictures."""

    what: str
    seconds: float
    done: int
    of: int

    @property
    def expected(self) -> float:
        """Seconds for all of it."""
        return self.seconds * self.of / self.done if self.done else 0.0


@dataclass(frozen=True)
class Forecast:
    """Seconds, chip-hours, memory and reading of a piece of work, from a short measurement on this machine."""

    parts: tuple[Part, ...]
    start_s: float = 0.0
    """Seconds until the first step: what is loaded and looked through once."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How much there is to do, as it is usually counted: steps, rows (those that are trained on), images, tokens."""
    read_bytes: int = 0
    """Size of all files of pictures that are read, each counted once, and of a file of rows."""
    device: str = "cpu"
    chips: int = 1
    """GPUs, or threads of a CPU, that were busy."""
    peak_bytes: int = 0

    @property
    def seconds(self) -> float:
        """From the start to the last step; what is written then is not part of it."""
        return self.start_s + sum(part.expected for part in self.parts)

    @property
    def hours(self) -> float:
        """Chip-hours: GPU-hours, or core-hours on a CPU."""
        return self.seconds * self.chips / 3600

    def said(self) -> str:
        """One line for the user."""
        counts = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        measured = "; ".join(f"{part.done:,} of {part.of:,} {part.what} in {part.seconds:.2g} s" for part in self.parts)
        return (
            f"about {duration(self.seconds)} for {counts} (measured: start {self.start_s:.1f} s; {measured}); "
            f"{self.hours:.2g} {'core' if self.device == 'cpu' else 'GPU'}-hours, "
            f"peak {self.peak_bytes / 1e9:.1f} GB on {self.device}, {self.read_bytes / 1e6:,.0f} MB to read"
        )

    def record(self) -> dict[str, Any]:
        """The numbers, for ``--json`` and to be kept."""
        return {
            "estimated_s": self.seconds,
            "chip_hours": self.hours,
            "chips": self.chips,
            "device": self.device,
            "peak_bytes": self.peak_bytes,
            "read_bytes": self.read_bytes,
            "counts": dict(self.counts),
            "start_s": self.start_s,
            "measured": [asdict(part) for part in self.parts],
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Forecast:
        """What ``record`` told; KeyError or TypeError where it is something else."""
        parts = tuple(Part(**one) for one in told["measured"])
        named = ("start_s", "counts", "read_bytes", "device", "chips", "peak_bytes")
        return cls(parts, **{name: told[name] for name in named})


@runtime_checkable
class Forecasts(Protocol):
    """A recipe that can say what its training costs."""

    def forecast(self, data: Path) -> Forecast:
        """What ``train`` on this data will cost, from a few steps of it that are done for real and kept nowhere."""


def size(paths: set[Path]) -> int:
    """Bytes of these files, those that are not there left out."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def duration(seconds: float) -> str:
    """So many seconds, minutes or hours, in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
