"""The pair of models of a run: how they are asked, who verifies them, and how long it will take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import registry
from harness.abilities import LooksAtFiles
from harness.asking import ask as asking
from harness.asking import controls, provenance
from harness.asking.batches import by_image
from harness.asking.estimate import FILLED, SAMPLES, TimeEstimate, calibration, estimate
from harness.asking.features import features_of
from harness.asking.first_prompt import first_prompt
from harness.asking.opening import See
from harness.asking.retrieve import retriever
from harness.asking.tokens_read import tokens_read
from harness.asking.verify import Verdict, alone, drawn, verify
from harness.compute.memory import spent
from harness.errors import DataError
from harness.images import ImageError
from harness.types import LVLM, OF_ENCODERS, Answer, Asked, Encoder, LvlmHost, Place, Sample


@dataclass(frozen=True)
class Models:
    """The pair of models of a run, and where they compute."""

    encoder: Encoder | None
    lvlm: LVLM | None
    place: Place

    @classmethod
    def paired(cls, encoder: Encoder | None, host: LvlmHost | None, place: Place) -> Models:
        """The encoder, and the LVLM of this host that carries its tower; ModelError where it does not fit."""
        with registry.loading(encoder.spec if encoder else "the LVLM"):
            return cls(encoder, host(encoder) if host else None, place)

    def made(self) -> dict[str, Any]:
        """How the pair was made: the manifest's entries ``training`` and ``alignment``."""
        return {"training": provenance.training(self.encoder), "alignment": provenance.alignment(self.lvlm)}

    def first_prompt(self, samples: Sequence[Sample], control: str) -> dict[str, Any] | None:
        """The manifest's entry of how the LVLM reads the first of these questions."""
        assert self.lvlm is not None
        return first_prompt(self.lvlm, samples, controls.view(control))

    def asked(self, mode: str, samples: Sequence[Sample], control: str) -> tuple[asking.Ask, See]:
        """How a task of this mode is asked, and what it is to be shown of each picture (galleries open their own)."""
        if mode == "retrieve":
            return self.searcher(samples), controls.view("text-only")
        if mode == "rank" and control == "none" and isinstance(self.encoder, LooksAtFiles):
            return self.asker(mode), self.encoder.look
        return self.asker(mode), controls.view(control)

    def spent(self) -> dict[str, Any]:
        """On what it is computed, and the most memory that this took."""
        return spent(self.place)

    def asker(self, mode: str) -> asking.Ask:
        """How this pair is asked in this process: the encoder to rank, the LVLM to speak."""
        if mode in OF_ENCODERS:
            assert self.encoder is not None
            return asking.ranker(self.encoder, self.place, features_of(self.encoder, self.place))
        assert self.lvlm is not None
        return asking.speaker(self.lvlm)

    def searcher(self, samples: Sequence[Sample]) -> asking.Ask:
        """How the encoder is asked where in the gallery of these samples each is found; always in this process."""
        assert self.encoder is not None
        return retriever(self.encoder, self.place, samples, features_of(self.encoder, self.place))

    def verified(
        self, mode: str, kept: Mapping[str, Answer], samples: Sequence[Sample], see: See, drawing: tuple[float, int]
    ) -> Verdict:
        """A share of the kept answers, drawn by (share, seed), asked again alone."""
        if mode == "retrieve":
            ask, way = self.searcher(samples), "again"
        elif mode == "rank":
            assert self.encoder is not None
            ask, way = asking.ranker(self.encoder, replace(self.place, batch_size=1)), "alone"
        else:
            assert self.lvlm is not None
            ask, way = alone(self.lvlm)
        again = [sample for sample in samples if sample.id in kept and drawn(sample, *drawing)]
        return verify(ask, kept, _opened(again, see), *drawing, way)

    def estimated(self, mode: str, samples: Sequence[Sample], see: See) -> TimeEstimate:
        """How long these samples will take in this process, and what of the machine."""
        most = max(SAMPLES, FILLED * getattr(self.lvlm, "at_once", 0) if mode == "generate" else 0)
        found = estimate(self.fresh(mode), samples, lambda group: next(_opened(group, see)), most)
        if mode == "generate" and samples:
            counted = tokens_read(self.lvlm, _shown(samples, see))
            tokens, of_tokens = counted(calibration(samples, most)), counted(by_image(samples))
            found = replace(found, tokens=tokens, of_tokens=of_tokens)
        return replace(found, **spent(self.place))

    def fresh(self, mode: str) -> asking.Ask:
        """How this pair is asked with no features that are kept: those of a run lie in other batches."""
        if mode in OF_ENCODERS and self.encoder:
            return asking.ranker(self.encoder, self.place)
        return self.asker(mode)


def _shown(samples: Sequence[Sample], see: See) -> Asked:
    """A picture of these samples, wherever the first that has one stands; None where none has."""
    first = next((sample for sample in samples if sample.image), samples[0])
    return next(_opened([first], see))


def _opened(samples: Sequence[Sample], see: See) -> Iterator[Asked]:
    for group in by_image(samples):
        try:
            image = see(group[0].image) if group[0].image else None
        except ImageError as error:
            raise DataError(f"cannot estimate: {error}") from error
        yield Asked(image, tuple(group))
