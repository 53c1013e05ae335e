"""What a worker of a cluster does: it loads the pair of models it is asked for, says what that is, answers batches."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import registry
from harness.asking import controls, opening, software
from harness.asking.ask import Ask
from harness.asking.models import Models
from harness.asking.run_identity import of_encoder, of_lvlm
from harness.compute.crew import Lacking
from harness.compute.memory import spent
from harness.compute.shipping import Listing, Parcel, same, unpacked
from harness.data import cache_dir
from harness.errors import DataError, ModelError
from harness.images import image_digest
from harness.types import Answer, Encoder, Failure, LvlmHost, Place, Sample

DECIDING = ("ohd-bench", "torch", "transformers", "open_clip_torch", "numpy", "Pillow")
"""The packages on whose version an answer hangs."""

Replies = list[tuple[str, Answer | Failure]]
Spent = Mapping[str, Any]
"""On what a worker computes, and the most memory that it has taken so far."""


@dataclass(frozen=True)
class Pair:
    """Who is to be asked: the specs by which a worker loads it, and what lies at the places that these name.

    No places are told where every worker is on the command's own machine.
    """

    encoder: str
    lvlm: str
    places: Mapping[str, Listing] = field(default_factory=dict)


@dataclass(frozen=True)
class Introduced:
    """What a worker says of a pair: entries of a run's manifest, prompts as the LVLM reads them, images in a batch."""

    identity: Mapping[str, Any]
    made: Mapping[str, Any]
    rendered: Mapping[str, str]
    batch: Mapping[str, int]


@dataclass(frozen=True)
class Introduce:
    """Asks a worker what this pair is, how it reads these prompts, and how many images it computes at once by mode."""

    pair: Pair
    versions: Mapping[str, str]
    prompts: tuple[str, ...]
    modes: tuple[str, ...]

    def sent(self, seen: bool) -> Introduce:
        """As a worker needs it."""
        return self

    def by(self, holder: Holder) -> Introduced:
        """What it is; ModelError where the worker's packages are others than the command's."""
        require_same({"versions": versions()}, {"versions": self.versions}, "the driver")
        models = holder.models(self.pair)
        render = models.lvlm.render if models.lvlm else str
        return Introduced(
            identity(models),
            models.made(),
            {prompt: render(prompt) for prompt in self.prompts},
            {mode: models.asker(mode).batch for mode in self.modes},
        )


@dataclass(frozen=True)
class First:
    """Asks a worker how an LVLM reads the first of these samples whose picture can be seen."""

    pair: Pair
    control: str
    samples: tuple[Sample, ...]
    digests: Mapping[Path, str]
    bytes: Mapping[Path, bytes] = field(default_factory=dict)

    def sent(self, seen: bool) -> First:
        """As a worker needs it: with the bytes where it does not see the files."""
        return self if seen else replace(self, bytes=_bytes(self.digests))

    def by(self, holder: Holder) -> dict[str, Any] | None:
        """The manifest's entry ``first_prompt``."""
        with _placed((self.samples,), self.digests, self.bytes) as [samples]:
            return holder.models(self.pair).first_prompt(samples, self.control)


@dataclass(frozen=True)
class Batch:
    """What a worker is given: images that are computed together, each with its samples, by path and digest.

    ``identity`` is what the pair must be to the byte; ``bytes`` are the files of those images, for a worker that does
    not see them where they are.
    """

    pair: Pair
    identity: Mapping[str, Any]
    mode: str
    control: str
    images: tuple[tuple[Sample, ...], ...]
    digests: Mapping[Path, str]
    bytes: Mapping[Path, bytes] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Sample]:
        return (sample for image in self.images for sample in image)

    def sent(self, seen: bool) -> Batch:
        """As a worker needs it: with the bytes where it does not see the files."""
        return self if seen else replace(self, bytes=_bytes(self.digests))

    def by(self, holder: Holder) -> tuple[Replies, Spent]:
        """A reply for every sample, by id, and what the worker has spent so far."""
        ask = holder.asker(self)
        with _placed(self.images, self.digests, self.bytes) as images:
            replies = opening.replies(ask, [(0, image) for image in images], controls.view(self.control))
            return [(sample.id, reply) for sample, reply in replies], spent(holder.place)


class Holder:
    """What a worker holds: the pair it was last asked for. ``probe`` is an image, by path and digest."""

    def __init__(self, place: Place, include: tuple[Path, ...], probe: tuple[Path, str] | None) -> None:
        self.place, self.include, self.probe = place, include, probe
        self.encoder: tuple[str, Encoder | None] = ("", None)
        self.host: tuple[str, LvlmHost | None] = ("", None)
        self.loaded: dict[tuple[str, str], Models] = {}
        self.asks: dict[tuple[str, str, str], Ask] = {}
        self.here: dict[str, Path] = {}

    def ready(self) -> bool:
        """Whether it sees the data where the driver does: then no image travels to it. Now it knows every plugin."""
        registry.load(self.include)
        return self.probe is None or _sees(*self.probe)

    def do(self, work: Introduce | First | Batch) -> Any:
        """What is asked of it."""
        return work.by(self)

    def take(self, parcels: Mapping[str, Parcel]) -> None:
        """Files of models that it does not see, by the place where the driver sees them."""
        for told, parcel in parcels.items():
            if told not in self.here:
                self.here[told] = unpacked(parcel, Path(told), cache_dir() / "shipped")

    def asker(self, batch: Batch) -> Ask:
        """How the pair of this batch is asked; ModelError where it is not what it must be, to the byte."""
        key = (batch.mode, batch.pair.encoder, batch.pair.lvlm)
        models = self.models(batch.pair)
        if key not in self.asks:
            require_same(identity(models), batch.identity, "the first worker")
            self.asks[key] = models.asker(batch.mode)
        return self.asks[key]

    def models(self, pair: Pair) -> Models:
        """The pair, loaded where it is another than before; Lacking where it names what is not seen here."""
        named = (pair.encoder, pair.lvlm)
        if named not in self.loaded:
            if lacking := [told for told, listing in pair.places.items() if not self._sees(told, listing)]:
                raise Lacking(lacking)
            self.loaded[named] = self._load(self._respelled(pair.encoder), self._respelled(pair.lvlm))
        return self.loaded[named]

    def _load(self, encoder: str, lvlm: str) -> Models:
        """An encoder or LVLM that was there before stays, another goes before the new one comes."""
        if encoder != self.encoder[0]:
            self._forget()
            self.encoder = ("", None)
            self.encoder = (encoder, registry.make_encoder(encoder, self.place) if encoder else None)
        if lvlm and lvlm != self.host[0]:
            self._forget()
            self.host = ("", None)
            self.host = (lvlm, registry.make_lvlm(lvlm, self.place))
        return Models.paired(self.encoder[1], self.host[1] if lvlm else None, self.place)

    def _forget(self) -> None:
        self.loaded.clear()
        self.asks.clear()

    def _sees(self, told: str, listing: Listing) -> bool:
        if told not in self.here and same(Path(told), listing):
            self.here[told] = Path(told)
        return told in self.here

    def _respelled(self, spec: str) -> str:
        return registry.respelled(spec, {told: str(here) for told, here in self.here.items()})


def identity(models: Models) -> dict[str, Any]:
    """Everything on which an answer of this pair hangs, the sample and the kind of machine aside."""
    return {
        "encoder": of_encoder(models.encoder) if models.encoder else None,
        "lvlm": of_lvlm(models.lvlm) if models.lvlm else None,
    }


def versions() -> dict[str, str]:
    """The packages on whose version an answer hangs."""
    return {package: version for package, version in software.versions().items() if package in DECIDING}


def require_same(found: Mapping[str, Any], wanted: Mapping[str, Any], whose: str) -> None:
    """ModelError that names what is other than ``whose``."""
    for part, told in _parts(wanted):
        there = dict(_parts(found)).get(part)
        if there == told:
            continue
        if not isinstance(told, Mapping):
            raise ModelError(f"{socket.gethostname()} loads other weights than {whose} ({part})")
        odd = [name for name in told if (there or {}).get(name) != told[name]]
        raise ModelError(
            f"{socket.gethostname()} differs from {whose} in {part}: "
            + ", ".join(f"{name} is {(there or {}).get(name)}, not {told[name]}" for name in odd)
            + ("; give all one --dtype" if "dtype" in odd else "")
        )


def _parts(identity: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is compared as one thing, by name: ``versions``, ``encoder digest``, ``lvlm describe`` …"""
    for who, told in identity.items():
        parts = told or {}
        yield from [(who, told)] if who == "versions" else ((f"{who} {name}", part) for name, part in parts.items())


def _sees(path: Path, digest: str) -> bool:
    return path.is_file() and image_digest(path) == digest


def _bytes(digests: Mapping[Path, str]) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in digests}


@contextlib.contextmanager
def _placed(
    images: tuple[tuple[Sample, ...], ...], digests: Mapping[Path, str], came: Mapping[Path, bytes]
) -> Iterator[list[tuple[Sample, ...]]]:
    """The samples of each image, which lies here: where the driver has it, or where its bytes are put for a while."""
    with TemporaryDirectory() if came else contextlib.nullcontext("") as folder:
        yield [_here(samples, digests, came, Path(folder) / str(number)) for number, samples in enumerate(images)]


def _here(
    samples: tuple[Sample, ...], digests: Mapping[Path, str], came: Mapping[Path, bytes], folder: Path
) -> tuple[Sample, ...]:
    path = samples[0].image
    if path in came and path is not None:
        folder.mkdir()
        (folder / path.name).write_bytes(came[path])
        return tuple(replace(sample, image=folder / path.name) for sample in samples)
    if path in digests and path is not None and not _sees(path, digests[path]):
        raise DataError(f"the worker on {socket.gethostname()} does not see the {path} that the driver sees")
    return samples
