"""AMBER's yes/no questions on a LLaVA: one packed tree an image against one ``generate`` a question."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks import shapes
from benchmarks.measure import Measurement, beside, ceilings, device, dtype, freed, linear_flops, peak_bytes, row
from harness.compute.onednn import fast_linear
from harness.vision_language.inference import GenerateDecoder
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.packed.requests import Completion, ImageRequest


def rows(quick: bool) -> Iterator[Measurement]:
    """First token, answers of eight tokens, and peak memory."""
    of = shapes.shape(quick, 2, 2048 if quick else 4096)
    model = shapes.llava(of)
    images = 8 if torch.cuda.is_available() else 1
    yield compared("amber-questions", model, of, images, 1)
    yield compared("amber-questions-8-tokens", model, of, images, 8)
    del model
    freed()
    yield _memory()


def never(tokens: Sequence[int], prompt: Any) -> bool:
    """No answer ends before its limit: random weights never say that they are done."""
    return False


def compared(name: str, model: Any, of: shapes.Shape, images: int, limit: int) -> Measurement:
    """The questions of so many images answered both ways, in ``limit`` tokens each."""
    requests = [shapes.request(image, of.vocabulary, limit) for image in range(images)]
    packed = PackedDecoder(model, never, 0 if torch.cuda.is_available() else 4)
    said: dict[str, list[Completion]] = {}
    # A warm-up, because the first call of a kernel pays for its set-up.
    list(GenerateDecoder(model, never).answers([replace(requests[0], prompts=requests[0].prompts[:1])]))
    times = beside(
        lambda: said.update(reference=one_by_one(model, requests)),
        lambda: said.update(product=list(packed.answers(requests))),
    )
    product, runs = times.product, packed.work.images // len(requests)
    equal, detail = same(said["reference"], said["product"])
    asked = len(said["product"])
    calls, tokens = packed.work.prefills / runs, (packed.work.prompt_tokens + packed.work.step_tokens) / runs
    limits = ceilings()
    used = limits.shares(tokens * of.flops_per_token, of.weights * 4.0 * (packed.work.steps / runs + calls), product)
    return row(
        name,
        times.reference,
        times.product,
        equal,
        **times.detail(),
        limit=work_left_out(of, requests, packed.work.images // runs, tokens, limit),
        questions=asked,
        **detail,
        tokens_per_s=round(tokens / product, 1),
        questions_per_s=round(asked / product, 3),
        images_per_s=round(images / product, 4),
        **used,
        full_amber_s=round(product / asked * shapes.AMBER_QUESTIONS, 1),
        shape=of.said(),
    )


def one_by_one(model: Any, requests: Sequence[ImageRequest]) -> list[Completion]:
    """The reference: a ``generate`` for each question, on the linear kernels that the packed way has."""
    with fast_linear(device(), dtype()):
        return list(GenerateDecoder(model, never).answers(requests))


def work_left_out(of: shapes.Shape, requests: Sequence[ImageRequest], images: int, tokens: float, limit: int) -> float:
    """How many times less the packed way computes, in linear FLOPs: its images and tokens, and a word for each answer.

    Answers of several tokens take their later ones one at a time, which is bound by reading weights: what is counted
    here is then a floor of what can be gained.
    """
    prompts = [prompt for one in requests for prompt in one.prompts]
    words = 2.0 * of.width * of.vocabulary * len(prompts) * limit
    tower = 577 * linear_flops(of.tower_layers, of.tower_width)
    alone = sum(len(prompt.tokens) + limit - 1 for prompt in prompts) * of.flops_per_token
    reference = alone + len(prompts) * tower + words
    return reference / (tokens * of.flops_per_token + images * tower + words)


def same(reference: list[Completion], product: list[Completion]) -> tuple[bool, dict[str, Any]]:
    """Whether the answers are the same: every token in fp32; in bf16, where near-ties flip, the flips are told."""
    by_key = {one.prompt.key: one for one in product}
    pairs = [(one, by_key[one.prompt.key]) for one in reference]
    worst = max(float((a.first - b.first).abs().max()) for a, b in pairs)
    flips = sum(a.tokens != b.tokens for a, b in pairs)
    first = sum(a.tokens[0] != b.tokens[0] for a, b in pairs)
    if torch.cuda.is_available():
        return first <= 0.1 * len(pairs), {"flips": flips, "first_token_flips": first, "max_logit_difference": worst}
    return flips == 0 and worst <= 1e-4, {"flips": flips, "max_logit_difference": worst}


def _memory() -> Measurement:
    """Peak memory of 4 images × 14 questions, packed, against one question by ``generate``; each in its own process."""
    reference, product = (_peak(arm) for arm in ("one", "packed"))
    return {
        "name": "question-memory",
        "ratio": round(product / reference, 3),
        "equal": True,
        "detail": {
            "one_question_bytes": reference,
            "four_images_bytes": product,
            "ceiling": 1.3,
            "what": "peak of a process less what it takes to import torch and transformers; lower is better",
        },
    }


def _peak(arm: str) -> int:
    done = subprocess.run(  # noqa: S603 (this very file)
        [sys.executable, "-m", "benchmarks.amber_questions", arm], capture_output=True, text=True, check=True
    )
    return int(json.loads(done.stdout.splitlines()[-1]))


def _measure_peak(arm: str) -> int:

    before = peak_bytes()
    # The width of the 7B: weights, keys and values and activations then stand to each other as they do there.
    of = shapes.shape(False, 2)
    model = shapes.llava(of)
    requests = [shapes.request(image, of.vocabulary, 8) for image in range(4)]
    if arm == "one":
        list(GenerateDecoder(model, never).answers([replace(requests[0], prompts=requests[0].prompts[:1])]))
    else:
        list(PackedDecoder(model, never, 4).answers(requests))
    return peak_bytes() - before


if __name__ == "__main__":
    print(json.dumps(_measure_peak(sys.argv[1])))
