"""How the models of a run were made: the trainings behind them, each with its seed, from recipe.json and align.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.abilities import Convertible
from harness.errors import ModelError
from harness.registry import parse_spec
from harness.types import LVLM, Encoder

DRAWN = {"fraction": 1.0, "max_samples": 0, "shuffle_images": False}
"""Fields by which the seed draws rows: set otherwise than so, the rows' digest differs with the seed."""


def training(encoder: Encoder | None) -> dict[str, Any] | None:
    """Seed and settings of the training that made this encoder; None where it tells none, or has other weights."""
    told = _read(parse_spec(encoder.spec).location, "recipe.json") if encoder else None
    if told is None or not _are(encoder, told.get("digest")):
        return None
    if not (isinstance(told.get("recipe"), dict) and isinstance(told.get("data"), dict) and "base_digest" in told):
        raise ModelError(
            f"{encoder and encoder.spec}: its recipe.json is not as train wrote it; train it anew, or remove that file "
            "(then it is compared as an encoder of unknown training)"
        )
    recipe, data = dict(told["recipe"]), dict(told["data"])
    seed = recipe.pop("seed", None)
    if any(recipe.get(name, plain) != plain for name, plain in DRAWN.items()):
        data.pop("digest", None)
    return {"seed": seed, "recipe": recipe, "base": told["base_digest"], "data": data}


def _are(encoder: Encoder | None, digest: Any) -> bool:
    """Whether the encoder has this digest; earlier trainings noted that of the weights alone."""
    from harness.vision_language import identity

    if not isinstance(encoder, Convertible):
        return False
    return digest in (encoder.digest(), identity.values(dict(encoder.tensors())))


def alignment(lvlm: LVLM | None) -> dict[str, Any] | None:
    """Seed and settings of what grew the tower into this LVLM; None where nothing did, or where it tells nothing."""
    for folder in _places(lvlm.spec) if lvlm else ():
        stages = (_read(folder, "align.json") or {}).get("stages")
        if not (lvlm and isinstance(stages, list) and stages and isinstance(stages[-1], dict)):
            continue
        if stages[-1].get("projector", "") == lvlm.digests().get("projector"):
            if not all(map(_is_stage, stages)):
                raise ModelError(
                    f"{folder}/align.json is not as align wrote it; align anew, or remove that file (then it is "
                    "compared as an LVLM of unknown training)"
                )
            seed = stages[-1]["recipe"]["seed"]
            return {"seed": seed, "settings": {stage["recipe"]["name"]: _set(stage) for stage in stages}}
    return None


def _is_stage(stage: Any) -> bool:
    recipe = stage.get("recipe") if isinstance(stage, dict) else None
    return isinstance(recipe, dict) and {"seed", "name"} <= recipe.keys() and isinstance(stage.get("data"), dict)


def _set(stage: Mapping[str, Any]) -> dict[str, Any]:
    """What of a stage was set, and no seed decides."""
    recipe = {name: value for name, value in stage["recipe"].items() if name != "seed"}
    return {"recipe": recipe, "data": stage["data"].get("digest"), "asked": stage.get("asked")}


def _places(spec: str) -> Iterator[str]:
    """Every folder that an LVLM's spec names: its own, and those of its options (``projector:DIR`` too)."""
    parsed = parse_spec(spec)
    for value in (parsed.location, *parsed.options.values()):
        yield value
        yield value.partition(":")[2]


def _read(folder: str, name: str) -> Mapping[str, Any] | None:
    path = Path(folder) / name
    if not folder or not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # half written by a training that is under way
        return None
    return told if isinstance(told, dict) else None
