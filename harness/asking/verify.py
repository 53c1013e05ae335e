"""Ask a seeded share of the questions again, alone and one by one, and count the answers that come out otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.asking.ask import Ask
from harness.types import LVLM, Answer, Asked, Sample


@dataclass(frozen=True)
class Verdict:
    """How many answers were asked again, which of them flipped, and how far p(yes) moved at most."""

    share: float
    asked: int = 0
    flipped: tuple[str, ...] = ()
    p_yes_moved: float = 0.0
    way: str = "alone"

    @property
    def flip_rate(self) -> float:
        """The share of answers that are others when asked alone; nan where none was asked."""
        return len(self.flipped) / self.asked if self.asked else float("nan")

    def record(self) -> dict[str, Any]:
        """What the run's manifest keeps of it."""
        return {
            "share": self.share,
            "asked": self.asked,
            "flips": len(self.flipped),
            "flip_rate": self.flip_rate if self.asked else None,
            "flipped": list(self.flipped[:50]),
            "p_yes_moved": self.p_yes_moved,
            "way": self.way,
        }

    def said(self) -> str:
        """One line for under the table."""
        if not self.asked:
            return f"verified: none (a share of {self.share:g} of these samples is none)"
        return (
            f"verified: {len(self.flipped)} of {self.asked} answers flip when asked {self.way} "
            f"({self.flip_rate:.1%}; p(yes) moves by at most {self.p_yes_moved:.1e})"
        )


def drawn(sample: Sample, share: float, seed: int) -> bool:
    """Whether this sample is of the seeded share; the same whatever else is asked."""
    digest = hashlib.sha256(f"{seed}/verify/{sample.id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def alone(lvlm: LVLM) -> tuple[Ask, str]:
    """How to ask this LVLM one question at a time, by its reference way where it has one; and what that is called."""
    reference = getattr(lvlm, "one_by_one", None)
    if reference is not None:
        return Ask(reference), "alone by generate"
    return Ask(lvlm.answers), "alone"


def verify(
    ask: Ask, answers: Mapping[str, Answer], asked: Iterable[Asked], share: float, seed: int, way: str = "alone"
) -> Verdict:
    """Every drawn sample that has an answer, asked again alone, and compared with the answer that was kept."""
    count, moved = 0, 0.0
    flipped: list[str] = []
    for one in asked:
        for sample in one.samples:
            kept = answers.get(sample.id)
            if kept is None or not drawn(sample, share, seed):
                continue
            for _, again in ask([Asked(one.image, (sample,))]):
                count += 1
                moved = max(moved, _moved(kept, again) if isinstance(again, Answer) else 0.0)
                if not isinstance(again, Answer) or _flips(kept, again):
                    flipped.append(sample.id)
    return Verdict(share, count, tuple(flipped), moved, way)


def _flips(kept: Answer, again: Answer) -> bool:
    if kept.scores is not None and again.scores is not None:
        return _best(kept.scores) != _best(again.scores)
    return kept.text != again.text


def _best(scores: tuple[float, ...]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


def _moved(kept: Answer, again: Answer) -> float:
    if kept.p_yes is None or again.p_yes is None:
        return 0.0
    return abs(kept.p_yes - again.p_yes)
