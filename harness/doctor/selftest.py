"""A small LLaVA asked here: the same questions in every precision on every device, and a run of the micro world."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import registry
from harness.asking import evaluate
from harness.asking.ask import speaker
from harness.asking.run_options import RunOptions
from harness.console import Silent
from harness.data import resolve
from harness.doctor.looked import Looked
from harness.errors import OhdBenchError
from harness.images import open_image
from harness.tallies import tally
from harness.types import Answer, Asked, Failure, Place, Sample
from harness.verbs import run as verb

IMAGES = 8
MANY = 0.1
"""Flips in half precision above this share are no near-ties."""
LEAST = 70.0
"""Percent: micro-llava's balanced accuracy on POPE is 90; that of always-yes 50."""
Replies = Mapping[str, Answer | Failure]


def precisions(devices: list[str]) -> Iterator[Looked]:
    """A line for each device and precision: how many answers of micro-llava are others than in fp32 on the CPU."""
    try:
        samples = _questions()
    except OhdBenchError as error:
        yield Looked("answers", "the micro world cannot be asked", str(error))
        return
    exact = answers("cpu", "float32", samples)
    for device in devices:
        for dtype in ("float32", "bfloat16", "float16"):
            what = f"answers {device} {dtype}"
            if (device, dtype) == ("cpu", "float32"):
                continue
            try:
                yield judged(what, dtype, exact, answers(device, dtype, samples))
            except (RuntimeError, NotImplementedError, OhdBenchError) as error:
                said = f"does not compute ({str(error).splitlines()[0][:120]})"
                yield Looked(what, said, f"use another --dtype on {device}", needed=dtype == "float32")


def judged(what: str, dtype: str, exact: Replies, here: Replies) -> Looked:
    """How many answers flipped and how far p(yes) moved, and whether that is more than rounding does."""
    flipped = sum(_text(here.get(id)) != _text(reply) for id, reply in exact.items())
    moved = max(abs((_p_yes(here.get(id)) or 0.0) - (_p_yes(reply) or 0.0)) for id, reply in exact.items())
    found = f"{flipped} of {len(exact)} answers flip against fp32 on the CPU, p(yes) moves by at most {moved:.0e}"
    wrong = flipped > (0 if dtype == "float32" else MANY * len(exact))
    return Looked(what, found, "this is more than rounding: use another --dtype, update the driver" if wrong else "")


def answers(device: str, dtype: str, samples: list[Sample]) -> dict[str, Answer | Failure]:
    """What micro-llava answers to these there, by sample id."""
    lvlm = registry.make_lvlm("micro-llava", Place(device, dtype))(None)
    groups: dict[Path, list[Sample]] = {}
    for sample in samples:
        assert sample.image is not None
        groups.setdefault(sample.image, []).append(sample)
    asked = (Asked(open_image(image), tuple(group)) for image, group in groups.items())
    return {sample.id: reply for sample, reply in speaker(lvlm)(asked)}


def _questions() -> list[Sample]:
    """POPE's questions on some pictures of the micro world."""
    every = evaluate.open_task("pope", resolve("micro").root).every()
    images = list(dict.fromkeys(sample.image for sample in every))[:IMAGES]
    return [sample for sample in every if sample.image in images]


def _text(reply: Answer | Failure | None) -> str | None:
    return reply.text if isinstance(reply, Answer) else None


def _p_yes(reply: Answer | Failure | None) -> float | None:
    return reply.p_yes if isinstance(reply, Answer) else None


def micro_run() -> Looked:
    """A run of the micro models over a part of the micro world: all answered, near the known score, none flipped."""
    began = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="ohd-bench-doctor-") as results:
            scored, due, flips, accuracy = _ran(Path(results))
    except (OhdBenchError, OSError) as error:
        return Looked("self-test", f"the micro run ended: {error}", "please report it, with this command's --json")
    found = f"micro run: {scored} of {due} samples scored, {flips} flip one by one, POPE {accuracy:.0f}"
    wrong = scored < due or flips or not accuracy >= LEAST
    advice = f"every sample, 0 flips and at least {LEAST:.0f} are right: please report it, with this command's --json"
    return Looked("self-test", f"{found}, {time.perf_counter() - began:.0f} s", advice if wrong else "")


def _ran(results: Path) -> tuple[int, int, int, float]:
    """How many samples were scored, of how many, how many flip when asked alone, and POPE's balanced accuracy."""
    options = RunOptions(encoders=("micro",), lvlm="micro-llava", limit=IMAGES, verify=0.25, results=results)
    run = verb.run(options, Silent()).runs[0]
    tasks = run.manifest()["tasks"].values()
    scored, due = (sum(entry[key] for entry in tasks) for key in ("scored", "expected"))
    accuracy = evaluate.open_task("pope", Path()).metrics["balanced_accuracy"](tally(run.records("pope"))[""].totals())
    return scored, due, sum(entry["verify"]["flips"] for entry in tasks), float(accuracy)
