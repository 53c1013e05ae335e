"""``python -m benchmarks --gpu``: every row on this card in ten minutes, what only a card can show, and a file of it.

Without a GPU the same script runs at a size of nothing, so that it works the first time there is one. Each part is a
process of its own with seconds of its own: one that is too slow, or has too little memory, takes no other with it.
"""

from __future__ import annotations

import importlib
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import shapes
from benchmarks.amber_questions import compared, never, same
from benchmarks.measure import device, dtype, freed, peak_bytes
from harness import registry
from harness.asking import software
from harness.types import Asked, Place, Sample
from harness.vision_language.packed.decode import PackedDecoder

MINUTES = 10.0
CHECKS = "checks"
PARTS = {
    CHECKS: 90, "amber_questions": 240, "captions": 180, "ohd_caps": 60, "training_step": 90, "alignment": 60,
    "clip_benchmark_ways": 60,
}  # fmt: skip
"""The checks, the modules whose rows a card changes, what is claimed most of first; and the seconds each may take."""
SMALL = {CHECKS: 90, "tiny": 60}
"""What is done without a card."""
TINY = shapes.Shape(layers=1, width=128, tower_layers=2, tower_width=64, vocabulary=2_000)
QUESTIONS = ("Is there a red circle in the image?", "Is there a dog?", "Describe this image.")


def report(minutes: float = MINUTES) -> dict[str, Any]:
    """What was measured here: the card, the checks, the rows, which parts the time did not reach, and which failed.

    A part whose seconds ran out is among ``not_reached``, and the rows it came to are there.
    """
    until = time.monotonic() + 60 * minutes
    found: dict[str, Any] = {"card": _card(), "when": datetime.now(UTC).isoformat(timespec="seconds")}
    card = torch.cuda.is_available()
    found |= {"small": not card, "checks": [], "rows": [], "not_reached": [], "failed": {}}
    for name, most in (PARTS if card else SMALL).items():
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        told, end = _part(name, min(most, until - time.monotonic()))
        found["checks" if name == CHECKS else "rows"] += told
        if end is None:
            found["not_reached"].append(name)
        elif end:
            found["failed"][name] = end
    found["minutes"] = round(minutes - (until - time.monotonic()) / 60, 2)
    return found


def _part(name: str, seconds: float) -> tuple[list[dict[str, Any]], str | None]:
    """What a part measured in so many seconds, and how it ended: well (empty), why it failed, or None: out of time."""
    command = [sys.executable, "-m", "benchmarks.gpu", name]
    try:
        done = subprocess.run(  # noqa: S603 (this very file)
            command, capture_output=True, timeout=max(0.0, seconds)
        )
    except subprocess.TimeoutExpired as late:
        return _lines(late.stdout or b""), None
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return _lines(done.stdout), "" if done.returncode == 0 else "".join(last) or f"ended with {done.returncode}"


def _lines(said: bytes) -> list[dict[str, Any]]:
    """The rows that were printed whole."""
    return [json.loads(line) for line in said.decode().split("\n")[:-1] if line.startswith("{")]


def measure(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a part, as they come."""
    if name == CHECKS:
        yield from (_told(check) for check in (_halving, _device_map))
    elif name == "tiny":
        model = shapes.llava(TINY)
        yield from (compared(f"amber-questions-{limit}-tokens", model, TINY, 2, limit) for limit in (1, 8))
    else:
        yield from importlib.import_module(f"benchmarks.{name}").rows(False)


def write(found: dict[str, Any], folder: Path) -> Path:
    """The report as a file that is named after the card."""
    path = folder / f"gpu-{re.sub(r'[^A-Za-z0-9.]+', '-', found['card']['name'])}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


def passed(found: dict[str, Any]) -> bool:
    """Whether every check was made and holds, no part failed, and every faster way gives the same results."""
    whole = not found["failed"] and CHECKS not in found["not_reached"]
    return whole and all(one["holds"] for one in found["checks"]) and all(row["equal"] for row in found["rows"])


def _card() -> dict[str, Any]:
    versions = {name: version for name, version in software.versions().items() if name != "nltk"}
    about: dict[str, Any] = {"name": f"CPU {platform.machine()}", "dtype": str(dtype()).removeprefix("torch.")}
    if torch.cuda.is_available():
        told = torch.cuda.get_device_properties(0)
        about |= {"name": told.name, "memory_bytes": told.total_memory, "cuda": torch.version.cuda}
        about |= {"capability": f"{told.major}.{told.minor}", "cards": torch.cuda.device_count()}
    return about | {"versions": versions}


def _told(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began = time.perf_counter()
    said = {"name": check.__name__.strip("_"), **check()}
    freed()
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
        freed()
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
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def step(self, cache: Any, rows: Any, start: int) -> Any:
        if len(rows) > 2:
            raise torch.OutOfMemoryError("no memory for this step")
        return self.real.step(cache, rows, start)


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


if __name__ == "__main__":
    for one in measure(sys.argv[1]):
        print(json.dumps(one), flush=True)
