"""``python -m benchmarks --gpu``: every row on this card in ten minutes, what only a card can show, and a file of it.

Without a GPU the same script runs at a size of nothing, so that it works the first time there is one.
"""

from __future__ import annotations

import gc
import importlib
import json
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import shapes
from benchmarks.amber_questions import compared, never, same
from benchmarks.measure import Measurement, device, dtype, peak_bytes
from harness import registry
from harness.asking import software
from harness.types import Asked, Place, Sample
from harness.vision_language.packed.decode import PackedDecoder

MINUTES = 10.0
ROWS = ("amber_questions", "captions", "ohd_caps", "training_step", "alignment")
"""The modules whose rows a card changes, what is claimed most of first: what the time does not reach is named."""
TINY = shapes.Shape(layers=1, width=128, tower_layers=2, tower_width=64, vocabulary=2_000)
QUESTIONS = ("Is there a red circle in the image?", "Is there a dog?", "Describe this image.")


def report(minutes: float = MINUTES) -> dict[str, Any]:
    """What was measured here: the card, the checks, the rows, and which rows the time did not reach."""
    until, card = time.monotonic() + 60 * minutes, torch.cuda.is_available()
    found: dict[str, Any] = {"card": _card(), "when": datetime.now(UTC).isoformat(timespec="seconds")}
    found["checks"] = [_told(check) for check in (_halving, _device_map)]
    found["rows"], found["not_reached"] = [], []
    for name, rows in _every(card):
        if time.monotonic() > until:
            found["not_reached"].append(name)
            continue
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        found["rows"] += list(rows())
        _freed()
    found["minutes"] = round(minutes - (until - time.monotonic()) / 60, 2)
    return found


def write(found: dict[str, Any], folder: Path) -> Path:
    """The report as a file that is named after the card."""
    path = folder / f"gpu-{re.sub(r'[^A-Za-z0-9.]+', '-', found['card']['name'])}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


def passed(found: dict[str, Any]) -> bool:
    """Whether every check holds and every faster way gives the same results."""
    return all(one["holds"] for one in found["checks"]) and all(row["equal"] for row in found["rows"])


def _card() -> dict[str, Any]:
    versions = {name: version for name, version in software.versions().items() if name != "nltk"}
    about: dict[str, Any] = {"name": f"CPU {platform.machine()}", "dtype": str(dtype()).removeprefix("torch.")}
    if torch.cuda.is_available():
        told = torch.cuda.get_device_properties(0)
        about |= {"name": told.name, "memory_bytes": told.total_memory, "cuda": torch.version.cuda}
        about |= {"capability": f"{told.major}.{told.minor}", "cards": torch.cuda.device_count()}
    return about | {"versions": versions}


def _every(card: bool) -> Iterator[tuple[str, Callable[[], Iterator[Measurement]]]]:
    """The rows by the name of their module: each at the whole 7B's shape on a card, one at no size without."""
    if not card:
        yield "amber_questions", _tiny
        return
    for name in ROWS:
        module = importlib.import_module(f"benchmarks.{name}")
        yield name, lambda module=module: module.rows(False)


def _tiny() -> Iterator[Measurement]:
    model = shapes.llava(TINY)
    for limit in (1, 8):
        yield compared(f"amber-questions-{limit}-tokens", model, TINY, 2, limit)


def _told(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    print(f"checking {check.__name__.strip('_')} …", file=sys.stderr, flush=True)
    began = time.perf_counter()
    said = {"name": check.__name__.strip("_"), **check()}
    _freed()
    return said | {"seconds": round(time.perf_counter() - began, 1), "peak_bytes": peak_bytes()}


def _halving() -> dict[str, Any]:
    """Too many images for the memory that is let: rows are halved, every question is answered, few answers flip."""
    card = torch.cuda.is_available()
    of = shapes.Shape(layers=4) if card else TINY
    model = shapes.llava(of)
    requests = [shapes.request(image, of.vocabulary, 4) for image in range(64 if card else 6)]
    whole = list(PackedDecoder(model, never, 2).answers(requests))
    short = PackedDecoder(model, never, 64 if card else 4)
    if card:
        _freed()
        there = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_allocated() + 1.5e9) / there))
    else:
        short.forward = _Scarce(short.forward)  # type: ignore[assignment]
    try:
        said = list(short.answers(requests))
    finally:
        if card:
            torch.cuda.set_per_process_memory_fraction(1.0)
    equal, detail = same(whole, said)
    return {
        "holds": equal and len(said) == len(whole) and short.work.halvings > 0,
        "halvings": short.work.halvings,
        "memory": "limited to 1.5 GB above the weights" if card else "said to be short: no card",
        **detail,
    }


class _Scarce:
    """A forward that has no memory for more than two rows at a step."""

    def __init__(self, real: Any) -> None:
        self.real, self.device, self.dtype, self.linear = real, real.device, real.dtype, real.linear
        self.prefill = real.prefill

    def step(self, cache: Any, rows: Any) -> Any:
        if len(rows) > 2:
            raise torch.OutOfMemoryError("no memory for this step")
        return self.real.step(cache, rows)


def _device_map() -> dict[str, Any]:
    """The shipped micro LLaVA laid out by ``device_map=auto`` says what it says on one device."""
    from PIL import Image

    registry.load()
    samples = tuple(Sample(str(n), None, "", prompt=text, tokens=8) for n, text in enumerate(QUESTIONS))
    images = [Image.new("RGB", (96, 96), colour) for colour in ("red", "white")]
    from harness.lvlms.micro import WEIGHTS

    def said(options: str) -> list[str | None]:
        lvlm = registry.make_lvlm(f"llava:{WEIGHTS}{options}", Place(device().type, "float32"))(None)
        return [getattr(answer, "text", None) for _, answer in lvlm.answers(Asked(image, samples) for image in images)]

    one, laid_out = said(""), said("?device_map=auto")
    return {"holds": one == laid_out and None not in one, "answers": len(one), "cards": torch.cuda.device_count()}


def _freed() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
