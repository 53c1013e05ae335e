"""What a pair of models was found to be when it was last loaded, kept for as long as none of its files changes."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import digest, model_places, registry, sealed
from harness.data import cache_dir
from harness.errors import OhdBenchError
from harness.types import Place

GRAIN = 2.0
"""Seconds: the coarsest a file system counts time. A file changed later than this before loading may change unseen."""


@dataclass
class KnownEncoder:
    """An encoder's identity without the encoder."""

    spec: str
    told: Mapping[str, Any]

    def digest(self) -> str:
        """SHA-256 over its tensors."""
        return str(self.told["digest"])

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity."""
        return dict(self.told["describe"])


@dataclass
class KnownLvlm:
    """An LVLM's identity without the LVLM; KeyError where it is asked to render a prompt it rendered never before."""

    spec: str
    told: Mapping[str, Any]

    def digests(self) -> Mapping[str, str]:
        """SHA-256 by part."""
        return dict(self.told["digests"])

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity."""
        return dict(self.told["describe"])

    def render(self, prompt: str) -> str:
        """The prompt as the model reads it."""
        return str(self.told["rendered"][prompt])


@dataclass(frozen=True)
class Pair:
    """What is known of an encoder, of the LVLM that carries its tower, and of how both were made."""

    encoder: KnownEncoder | None
    lvlm: KnownLvlm | None
    made: Mapping[str, Any]
    """The manifest's entries ``training`` and ``alignment``."""


def recall(encoder: str, lvlm: str, place: Place) -> Pair | None:
    """What this pair was when it was last loaded here; None where that is not known, or a file of theirs changed."""
    path = _path(encoder, lvlm, place)
    try:
        kept = sealed.recall(path)
        marks = _marks(encoder, lvlm)
        if marks is None or kept["marks"] != marks or kept["machine"] != _machine():
            return None
        return Pair(
            KnownEncoder(encoder, kept["encoder"]) if encoder else None,
            KnownLvlm(kept["lvlm"]["spec"], kept["lvlm"]) if lvlm else None,
            kept["made"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(
    specs: tuple[str, str], place: Place, identity: Mapping[str, Any], rendered: Mapping[str, str], since: float
) -> None:
    """Keep what this pair (encoder, LVLM) is: entries of its run's manifest, and the prompts as the LVLM reads them.

    Nothing is kept where a maker does not say which files a model is made of, or where one of them was changed after
    ``since``, when loading may have begun.
    """
    marks = _marks(*specs)
    if marks is None or model_places.newest(marks.values()) > since - GRAIN:
        return
    path = _path(*specs, place)
    before = recall(*specs, place)
    lvlm = identity["lvlm"]
    if lvlm and before and before.lvlm and _same(before.lvlm, lvlm):
        rendered = {**before.lvlm.told["rendered"], **rendered}
    told = {
        "marks": marks,
        "machine": _machine(),
        "encoder": identity["encoder"],
        "lvlm": {**lvlm, "rendered": dict(rendered)} if lvlm else None,
        "made": {key: identity[key] for key in ("training", "alignment")},
    }
    sealed.keep(path, told)


def _same(known: KnownLvlm, lvlm: Mapping[str, Any]) -> bool:
    return all(known.told[key] == lvlm[key] for key in ("spec", "digests", "describe"))


def _path(encoder: str, lvlm: str, place: Place) -> Path:
    name = digest.of_json([encoder, lvlm, place.device, place.dtype, place.batch_size, os.getcwd()])[:32]
    return cache_dir() / "models" / f"{name}.json"


def _marks(encoder: str, lvlm: str) -> dict[str, model_places.Mark] | None:
    """The marks of every file that decides what this pair is; None where a maker does not say which these are."""
    try:
        places = [*_places(registry.encoder_files, encoder), *_places(registry.lvlm_files, lvlm)]
        code = [*_code(), *_plugin(registry.encoders, encoder), *_plugin(registry.lvlms, lvlm)]
        return {str(path.absolute()): model_places.mark(path) for path in [*places, *code]}
    except (KeyError, OhdBenchError, model_places.TooMany):
        return None


def _places(table: Mapping[str, registry.Files], text: str) -> Iterable[Path]:
    if not text:
        return ()
    spec = registry.parse_spec(text)
    return table[spec.name](spec)


def _code() -> Iterator[Path]:
    """The code that computes what is kept: this package's, that of the plug-ins beside it, and what was included."""
    import harness

    for name in ("harness", "encoders"):
        yield from sorted((Path(harness.__file__).parents[1] / name).glob("**/*.py"))
    for folder in registry.included:
        yield from model_places.code(folder)


def _plugin(makers: Mapping[str, Any], text: str) -> Iterable[Path]:
    """The code of the package, or the file, that registered what makes the model of this spec."""
    maker = makers[registry.parse_spec(text).name] if text else None
    module = sys.modules.get(getattr(maker, "__module__", "").partition(".")[0])
    where = getattr(module, "__path__", None) or [getattr(module, "__file__", None)]
    return [path for place in where if place for path in model_places.code(Path(place))]


def _machine() -> list[Any]:
    """What of this machine an identity may hang on: versions, and what there is to compute on."""
    from harness.asking.software import versions

    gpus = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return [versions(), platform.node(), os.environ.get("CUDA_VISIBLE_DEVICES"), gpus]
