"""AMBER's captions on a LLaVA: rows refilled as captions end, against one caption after another."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from benchmarks import shapes
from benchmarks.amber_questions import never, one_by_one, same
from benchmarks.measure import Measurement, beside, ceilings, row
from harness.vision_language.inference import GenerateDecoder
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.packed.requests import Completion, ImageRequest


def rows(quick: bool) -> Iterator[Measurement]:
    """Captions of 60 to 140 tokens, a hundred on average, as LLaVA's on AMBER."""
    of = shapes.shape(quick, 2 if quick else 3, 2048)
    model = shapes.llava(of)
    count = 320 if torch.cuda.is_available() else 32
    rng = random.Random(0)
    requests = [_page(image, of.vocabulary, rng.randrange(60, 141)) for image in range(count)]
    alone = requests[:4]  # one after another they take long, and each as long as its tokens
    said: dict[str, list[Completion]] = {}
    packed = PackedDecoder(model, never)
    list(GenerateDecoder(model, never).answers([_page(0, of.vocabulary, 2)]))
    times = beside(
        lambda: said.update(reference=one_by_one(model, alone)),
        lambda: said.update(product=list(packed.answers(requests))),
    )
    product = times.product
    equal, detail = same(said["reference"], said["product"])
    tokens = sum(len(one.tokens) for one in said["product"])
    more = tokens / sum(len(one.tokens) for one in said["reference"])
    times = replace(times, reference=times.reference * more, reference_cpu=times.reference_cpu * more)
    steps = packed.work.steps * count / packed.work.images
    yield row(
        "captions",
        times.reference,
        times.product,
        equal,
        **times.detail(),
        **_limit(model, [_page(n, of.vocabulary, 1) for n in range(len(alone))], times.reference_cpu / more),
        captions=count,
        **detail,
        tokens_per_s=round(tokens / product, 1),
        steps=steps,
        **ceilings().shares(
            (tokens + count * len(requests[0].prompts[0].tokens)) * of.flops_per_token,
            of.weights * 4.0 * steps,
            product,
        ),
        full_amber_s=round(product / count * shapes.AMBER_IMAGES, 1),
        shape=of.said(),
    )


def _limit(model: Any, requests: list[ImageRequest], took: float) -> dict[str, float]:
    """How much is to be gained at most: no two images share what is read before the first word, which is left.

    On a GPU reading several at once gains too, so there it says nothing.
    """
    if torch.cuda.is_available():
        return {}
    began = time.process_time()
    one_by_one(model, requests)
    return {"limit": took / (time.process_time() - began)}


def _page(image: int, vocabulary: int, limit: int) -> ImageRequest:
    one = shapes.request(image, vocabulary, limit, ["Describe this image ."])
    return replace(one, prompts=tuple(replace(prompt, limit=limit) for prompt in one.prompts))
