"""Ask models in the workers of a cluster: each loads the pair once and keeps it for every task of a run."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from harness import registry
from harness.asking import controls, engine, opening
from harness.asking.ask import Ask
from harness.asking.models import Models
from harness.asking.run_identity import of_encoder, of_lvlm
from harness.asking.run_options import RunOptions
from harness.compute import cluster
from harness.compute.crew import Crew, Lost
from harness.errors import DataError, ModelError
from harness.images import image_digest
from harness.types import OF_ENCODERS, Answer, Asked, Encoder, Failure, LvlmHost, Place, Reply, Sample, Served

A_MINUTE = 60.0
"""Seconds of asking below which more than one process does not pay."""
DECIDING = ("ohd-bench", "torch", "transformers", "open_clip_torch", "numpy", "Pillow")
"""The packages on whose version an answer hangs."""

Replies = list[tuple[str, Answer | Failure]]


@dataclass(frozen=True)
class Pair:
    """Who is to be asked: the specs by which a worker loads it, and what it must then be to the byte."""

    mode: str
    encoder: str
    lvlm: str
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """What a worker is given: images that are computed together, each with its samples, by path and digest.

    ``bytes`` are the files of those images, for a worker that does not see them where they are.
    """

    pair: Pair
    control: str
    images: tuple[tuple[Sample, ...], ...]
    digests: Mapping[Path, str]
    bytes: Mapping[Path, bytes] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Sample]:
        return (sample for image in self.images for sample in image)

    def sent(self, seen: bool) -> Batch:
        """As a worker needs it: with the bytes where it does not see the files."""
        return self if seen else replace(self, bytes={path: path.read_bytes() for path in self.digests})


class Holder:
    """What a worker holds: the pair it was last asked for. ``probe`` is an image, by path and digest."""

    def __init__(self, place: Place, include: tuple[Path, ...], probe: tuple[Path, str] | None) -> None:
        self.place, self.include, self.probe = place, include, probe
        self.encoder: tuple[str, Encoder | None] = ("", None)
        self.host: tuple[str, LvlmHost | None] = ("", None)
        self.asks: dict[tuple[str, str, str], Ask] = {}

    def ready(self) -> bool:
        """Whether it sees the data where the driver does: then no image travels to it. Now it knows every plugin."""
        registry.load(self.include)
        return self.probe is None or _sees(*self.probe)

    def do(self, batch: Batch) -> Replies:
        """A reply for every sample of the batch, by id."""
        ask = self._ask(batch.pair)
        with TemporaryDirectory() if batch.bytes else contextlib.nullcontext("") as folder:
            images = [(0, image) for image in _placed(batch, Path(folder))]
            replies = opening.replies(ask, images, controls.view(batch.control))
            return [(sample.id, reply) for sample, reply in replies]

    def _ask(self, pair: Pair) -> Ask:
        """How the pair is asked; it is loaded where it is another than before, and must be the driver's to the byte."""
        named = (pair.mode, pair.encoder, pair.lvlm)
        if named not in self.asks:
            models = self._loaded(pair)
            _require_same(identity(models, pair.mode), pair.identity)
            self.asks[named] = models.asker(pair.mode)
        return self.asks[named]

    def _loaded(self, pair: Pair) -> Models:
        """The pair; an encoder or LVLM that was there before stays, another goes before the new one comes."""
        if pair.encoder != self.encoder[0]:
            self.asks.clear()
            self.encoder = ("", None)
            self.encoder = (pair.encoder, registry.make_encoder(pair.encoder, self.place) if pair.encoder else None)
        if pair.lvlm and pair.lvlm != self.host[0]:
            self.asks.clear()
            self.host = ("", None)
            self.host = (pair.lvlm, registry.make_lvlm(pair.lvlm, self.place))
        host = self.host[1] if pair.lvlm else None
        return Models(self.encoder[1], host(self.encoder[1]) if host else None, self.place)


def identity(models: Models, mode: str) -> dict[str, Any]:
    """Everything on which an answer of this pair hangs, the sample and the kind of machine aside."""
    versions = {package: version for package, version in engine.versions().items() if package in DECIDING}
    if mode in OF_ENCODERS:
        assert models.encoder is not None
        return {"versions": versions, **of_encoder(models.encoder)}
    assert models.lvlm is not None
    return {"versions": versions, **of_lvlm(models.lvlm)}


def _require_same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for part, told in wanted.items():
        if found[part] == told:
            continue
        if isinstance(told, str):
            raise ModelError(f"the worker on {socket.gethostname()} loads other weights than the driver")
        odd = [name for name in told if found[part].get(name) != told[name]]
        raise ModelError(
            f"the worker on {socket.gethostname()} differs from the driver in {part}: "
            + ", ".join(f"{name} is {found[part].get(name)}, not {told[name]}" for name in odd)
            + ("; give both one --dtype" if "dtype" in odd else "")
        )


def _sees(path: Path, digest: str) -> bool:
    return path.is_file() and image_digest(path) == digest


def _placed(batch: Batch, folder: Path) -> Iterator[tuple[Sample, ...]]:
    """The samples of each image, which lies here: where the driver has it, or in this folder if its bytes came."""
    for number, samples in enumerate(batch.images):
        path = samples[0].image
        if path in batch.bytes and path is not None:
            here = folder / str(number) / path.name
            here.parent.mkdir()
            here.write_bytes(batch.bytes[path])
            yield tuple(replace(sample, image=here) for sample in samples)
            continue
        if path in batch.digests and path is not None and not _sees(path, batch.digests[path]):
            raise DataError(f"the worker on {socket.gethostname()} does not see the {path} that the driver sees")
        yield samples


class Workers:
    """The workers of a command. They start when the first batch is to be asked, and end with the ``with``."""

    def __init__(self, options: RunOptions, say: Callable[[str], None]) -> None:
        cluster.require()
        self.options, self.say = options, say
        self.stack = contextlib.ExitStack()
        self.crew: Crew | None = None

    def asker(self, models: Models, mode: str, control: str) -> Ask:
        """How this pair is asked: each batch by one worker, as this process would ask it. Images are not looked at.

        A server is asked here: it has workers of its own.
        """
        here = models.asker(mode)
        if isinstance(models.lvlm, Served) and mode not in OF_ENCODERS:
            self.say(f"{models.lvlm.spec} is asked by this process; ?concurrency=N is how many questions at once")
            see = controls.view(control)
            return Ask(lambda asked: opening.replies(here, [(one.batch, one.samples) for one in asked], see))
        encoder, lvlm = models.encoder.spec if models.encoder else "", models.lvlm.spec if models.lvlm else ""
        pair = Pair(mode, encoder, "" if mode in OF_ENCODERS else lvlm, identity(models, mode))

        def answers(asked: Iterable[Asked]) -> Iterator[Reply]:
            together = groupby(asked, key=lambda one: one.batch)
            batches = (_batch(pair, control, tuple(one.samples for one in images)) for _, images in together)
            if first := next(batches, None):
                yield from self._answered(first, batches)

        return Ask(answers, here.batch)

    def _answered(self, first: Batch, others: Iterable[Batch]) -> Iterator[Reply]:
        crew = self._crew(next(iter(first.digests.items()), None))
        for batch, replies in crew.results(chain([first], others), Batch.sent):
            by_id = {sample.id: sample for sample in batch}
            if isinstance(replies, Lost):
                replies = [(id, Failure(replies.reason)) for id in by_id]
            for id, reply in replies:
                yield by_id[id], reply

    def _crew(self, probe: tuple[Path, str] | None) -> Crew:
        if self.crew is None:
            here = self.stack.enter_context(cluster.opened(self.options.workers or 1, self.options.ray))
            gpu = self.options.device in ("auto", "cuda") and here.gpus
            number = self.options.workers or gpu or here.machines
            share = 1 / -(-number // here.gpus) if gpu else 0
            make = partial(Holder, self.options.place, self.options.include, probe)
            self.crew = Crew(here, number, make, share, self.say)
            self.stack.callback(self.crew.close)
        return self.crew

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends them, and says what they were worth where that is little and the command came to its end."""
        self.stack.close()
        if kind is None and self.crew and self.crew.start_s and self.crew.busy_s < A_MINUTE:
            self.say(
                f"{self.crew.busy_s:.0f} s of asking, {self.crew.start_s:.0f} s until there was a worker: "
                "below a minute of work one process is the faster way"
            )


def _batch(pair: Pair, control: str, images: tuple[tuple[Sample, ...], ...]) -> Batch:
    shown = [image[0].image for image in images if image[0].image is not None and control != "text-only"]
    return Batch(pair, control, images, {path: image_digest(path) for path in shown if path.is_file()})
