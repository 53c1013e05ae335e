"""The workers of a command as it sees them: they say what a pair of models is, and answer for it; it loads none."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import model_places, registry
from harness.asking import controls, worker
from harness.asking.ask import Ask
from harness.asking.engine import Questions
from harness.asking.first_prompt import first_seen
from harness.asking.foretold import A_MINUTE
from harness.asking.models import Models
from harness.asking.opening import See
from harness.asking.remembered import KnownEncoder, KnownLvlm
from harness.asking.run_options import RunOptions
from harness.asking.verify import Verdict
from harness.asking.worker import Batch, First, Holder, Introduce, Introduced, Pair
from harness.compute import cluster, shipping
from harness.compute.crew import Crew, Lost
from harness.errors import OhdBenchError
from harness.images import image_digest
from harness.types import OF_ENCODERS, Answer, Asked, Failure, Reply, Sample


class Workers:
    """The workers of a command. They start when the first pair of models is met, and end with the ``with``."""

    def __init__(self, options: RunOptions, say: Callable[[str], None]) -> None:
        cluster.require()
        self.options, self.say = options, say
        self.stack = contextlib.ExitStack()
        self.crew: Crew | None = None
        self.spent: dict[str, Any] = {}

    def pair(self, encoder: str, lvlm: str, questions: Sequence[Questions]) -> Far:
        """The pair of these specs, as the first worker that has loaded it says it is, to be asked these questions."""
        samples = [sample for asked in questions for sample in asked.samples]
        prompts = tuple(sorted({sample.prompt for sample in samples if sample.prompt})) if lvlm else ()
        modes = tuple({asked.task.mode: None for asked in questions if asked.task.mode != "retrieve"})
        crew = self._crew(next((sample.image for sample in samples if sample.image), None))
        named = Pair(encoder, lvlm, {} if crew.cluster.own else _places(encoder, lvlm))
        # Every worker is asked, so that all load at once; what the others say is not waited for.
        asking = crew.results([Introduce(named, worker.versions(), prompts, modes)] * crew.number)
        _, told = next(asking)
        asking.close()
        if isinstance(told, Lost):
            raise OhdBenchError(f"{encoder or lvlm} cannot be loaded: {told.reason}")
        return Far(self, named, told)

    def results(self, work: Iterable[Batch | First]) -> Iterator[tuple[Any, Any]]:
        """What workers make of each piece of work, as it comes."""
        assert self.crew is not None
        return self.crew.results(work, lambda piece, seen: piece.sent(seen))

    def _crew(self, probe: Path | None) -> Crew:
        if self.crew is None:
            here = self.stack.enter_context(cluster.opened(self.options.workers or 1, self.options.ray))
            number, share = here.shared_out(self.options.workers, self.options.device)
            there = (probe, image_digest(probe)) if probe and probe.is_file() else None
            make = partial(Holder, self.options.place, self.options.include, there)
            self.crew = Crew(here, number, make, share, self.say)
            self.crew.supply = functools.partial(_parcels, {}, self.say)
            self.stack.callback(self.crew.close)
        return self.crew

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends them, and says what they were worth where that is little and the command came to its end."""
        self.stack.close()
        if kind is None and self.crew and self.crew.start_s and self.crew.busy_s < A_MINUTE:
            self.say(
                f"{self.crew.busy_s:.0f} s of loading and asking, {self.crew.start_s:.0f} s until there was a worker: "
                "below a minute of work one process is the faster way"
            )


@dataclass
class Far:
    """A pair of models that workers hold; what only this process can ask (galleries, --verify) is loaded here then."""

    workers: Workers
    pair: Pair
    told: Introduced
    loaded: dict[bool, Models] = field(default_factory=dict)

    @property
    def encoder(self) -> KnownEncoder | None:
        """What the workers say of the encoder."""
        told = self.told.identity["encoder"]
        return KnownEncoder(self.pair.encoder, told) if told else None

    @functools.cached_property
    def lvlm(self) -> KnownLvlm | None:
        """What the workers say of the LVLM, and how it reads the prompts."""
        told = self.told.identity["lvlm"]
        return KnownLvlm(self.pair.lvlm, {**told, "rendered": self.told.rendered}) if told else None

    def made(self) -> Mapping[str, Any]:
        """How the pair was made."""
        return self.told.made

    def spent(self) -> dict[str, Any]:
        """On what the workers compute, and the most memory that one of them took."""
        return self.workers.spent

    def first_prompt(self, samples: Sequence[Sample], control: str) -> dict[str, Any] | None:
        """How the LVLM reads the first of these questions whose picture can be seen."""
        one = first_seen(samples, controls.view(control))
        if one is None:
            return None
        asked = First(self.pair, control, one.samples, _digests([one.samples[0].image], control))
        ((_, told),) = self.workers.results([asked])
        return None if isinstance(told, Lost) else told

    def asked(self, mode: str, samples: Sequence[Sample], control: str) -> tuple[Ask, See]:
        """How a task of this mode is asked: each batch by one worker, as one process would ask it."""
        if mode == "retrieve":  # a place is one among all
            return self._here(mode).asked(mode, samples, control)

        def answers(asked: Iterable[Asked]) -> Iterator[Reply]:
            together = groupby(asked, key=lambda one: one.batch)
            return self._answered(
                self._batch(mode, control, tuple(one.samples for one in every)) for _, every in together
            )

        return Ask(answers, self.told.batch[mode]), controls.view("text-only")

    def verified(
        self, mode: str, kept: Mapping[str, Answer], samples: Sequence[Sample], see: See, drawing: tuple[float, int]
    ) -> Verdict:
        """A share of the kept answers asked again, here."""
        return self._here(mode).verified(mode, kept, samples, see, drawing)

    def _here(self, mode: str) -> Models:
        """What of the pair this mode asks, loaded in this process; ModelError where it is another than the workers'."""
        spoken = mode not in OF_ENCODERS
        if spoken not in self.loaded:
            place = self.workers.options.place
            encoder = registry.make_encoder(self.pair.encoder, place) if self.pair.encoder else None
            models = Models.paired(encoder, registry.make_lvlm(self.pair.lvlm, place) if spoken else None, place)
            found = {who: told for who, told in worker.identity(models).items() if told}
            worker.require_same(found, {who: self.told.identity[who] for who in found}, "the workers")
            self.loaded[spoken] = models
        return self.loaded[spoken]

    def _answered(self, batches: Iterable[Batch]) -> Iterator[Reply]:
        for batch, found in self.workers.results(batches):
            by_id = {sample.id: sample for sample in batch}
            if isinstance(found, Lost):
                replies: worker.Replies = [(id, Failure(found.reason)) for id in by_id]
            else:
                replies, spent = found
                peak = max(spent["peak_bytes"], self.workers.spent.get("peak_bytes", 0))
                self.workers.spent |= {**spent, "peak_bytes": peak}
            for id, reply in replies:
                yield by_id[id], reply

    def _batch(self, mode: str, control: str, images: tuple[tuple[Sample, ...], ...]) -> Batch:
        shown = _digests([image[0].image for image in images], control)
        return Batch(self.pair, self.told.identity, mode, control, images, shown)


def _digests(images: Iterable[Path | None], control: str) -> dict[Path, str]:
    """The digest of every image that is to be shown, and is there."""
    shown = [image for image in images if image is not None and control != "text-only"]
    return {path: image_digest(path) for path in shown if path.is_file()}


def _places(*specs: str) -> dict[str, shipping.Listing]:
    """What lies where these specs name files or folders of this machine; nothing of what is more than a model."""
    found = {}
    for told in (place for spec in specs if spec for place in registry.named_places(registry.parse_spec(spec))):
        with contextlib.suppress(OSError, model_places.TooMany):
            if listing := shipping.Listing.of(Path(told)):
                found[told] = listing
    return found


def _parcels(
    packed: dict[str, shipping.Parcel], say: Callable[[str], None], lacking: Sequence[str]
) -> dict[str, shipping.Parcel]:
    """What workers lack, put into the object store once however many lack it."""
    for told in lacking:
        if told not in packed:
            listing = shipping.Listing.of(Path(told))
            assert listing is not None
            size = sum(size for size, _ in listing.marks.values())
            say(f"{told} is not seen by every worker: its {size / 1e6:,.0f} MB are sent to each machine that lacks it")
            packed[told] = shipping.packed(Path(told), listing)
    return {told: packed[told] for told in lacking}
