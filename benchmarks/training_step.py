"""A training step with 28 captions an image: each distinct prefix once, against every caption padded."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel

from benchmarks.measure import Beside, Measurement, device, row, seconds
from benchmarks.ohd_caps import VISION, clip, work_left_out
from encoders.towers.trie import nodes
from encoders.training.loss import object_contrastive_loss
from encoders.training.settings import Training
from encoders.training.step import Batch, gradients
from encoders.training.towers import trainable

LENGTH, CAPTIONS, START, END = 77, 28, 49406, 49407
SHARED = Path(os.environ.get("OHD_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
OVERLAP = SHARED / "data/images/ohd_overlap"


def rows(quick: bool) -> Iterator[Measurement]:
    """Dev rows with as many captions there as the data's rows have on average, and with all 28: of B/32 and L/14s."""
    count = 64 if torch.cuda.is_available() else 2 if quick else 4
    for name in ("b32", "l14", "l14-336"):
        some = count if name == "b32" else max(1, count // 4)
        size, side = ("", 224) if name == "b32" else (f"-{name}", VISION[name][-1])
        for kind in ("mean", "all-28"):
            captions, origin = _captions(some, kind)
            yield _compared(f"training-step{size}-{kind}", name, captions, torch.randn(some, 3, side, side), origin)
    if (OVERLAP / "ohd_overlap_annotations.jsonl").is_file() and not quick:
        began = time.perf_counter()
        pixels, captions = _real(min(count, 16))
        read = {"read_images_per_s": round(len(pixels) / (time.perf_counter() - began), 1)}
        found = _compared("training-step-real", "b32", captions, pixels, "OHD-Caps with their images")
        yield found | {"detail": found["detail"] | read}


def _compared(name: str, size: str, captions: list[list[list[int]]], pixels: Tensor, origin: str) -> Measurement:
    """Forward and backward of both towers and the loss, our way and the padded way, from the same random weights."""
    from accelerate import Accelerator

    count = len(pixels)
    model = clip(size).float()
    recipe = Training()
    ids = [[tokens for tokens in one if tokens] for one in captions]
    towers, batch, accelerator = trainable(recipe, model), Batch(pixels, ids, count), Accelerator()

    def product() -> float:
        return gradients(accelerator, towers, recipe, [batch])["loss"]

    def reference() -> float:
        return _padded_step(model, pixels, captions)

    ours, theirs = Cost(model, product), Cost(model, reference)
    error = (ours.grads - theirs.grads).norm().item() / theirs.grads.norm().item()
    flat = [tokens for one in ids for tokens in one]
    return row(
        name,
        theirs.seconds,
        ours.seconds,
        abs(ours.loss - theirs.loss) < 1e-4 and error < 1e-4,
        # Masked captions are padded by the reference and left out by ours; backward costs twice what forward does.
        limit=work_left_out(model, flat, count, count * CAPTIONS),
        captions=f"{count} x {CAPTIONS} of {origin}, {len(flat)} of them there",
        loss=ours.loss,
        loss_reference=theirs.loss,
        gradient_error=error,
        **Beside(theirs.seconds, ours.seconds, theirs.cpu, ours.cpu).detail(),
        activation_ratio=theirs.saved / ours.saved,
        activation_mb=round(ours.saved / 2**20),
        activation_reference_mb=round(theirs.saved / 2**20),
        text_tokens=nodes(model, flat),
        text_tokens_reference=count * CAPTIONS * LENGTH,
        images_per_s=round(count / ours.seconds, 2),
    )


class Cost:
    """What one way of taking the step gives and costs."""

    def __init__(self, model: CLIPModel, step: Callable[[], float]) -> None:
        self.saved, self.loss = _saved_bytes(model, step)
        self.grads = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()
        model.zero_grad()
        began = time.process_time()
        repeats = 3 if torch.cuda.is_available() else 1
        self.seconds = seconds(step, repeats)
        self.cpu = (time.process_time() - began) / repeats
        model.zero_grad()


def _saved_bytes(model: CLIPModel, step: Callable[[], float]) -> tuple[int, float]:
    """Bytes that are kept for the backward pass, each storage once, weights not counted; and the loss."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    held: dict[int, tuple[int, Any]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor, so that no address is used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = step()
    return sum(size for size, _ in held.values()), loss


def _padded_step(model: CLIPModel, pixels: Tensor, captions: list[list[list[int]]]) -> float:
    """The way of the paper's code: every caption padded to the whole context, masked ones too, one graph."""
    padded = torch.full((len(captions) * CAPTIONS, LENGTH), END)
    for line, tokens in zip(padded, (tokens for one in captions for tokens in one), strict=True):
        tokens = tokens or [START, END]
        line[: len(tokens)] = torch.tensor(tokens)
    valid = torch.tensor([[bool(tokens) for tokens in one] for one in captions], device=device())
    image = model.visual_projection(model.vision_model(pixel_values=pixels.to(device())).pooler_output)
    text = model.text_projection(model.text_model(input_ids=padded.to(device())).pooler_output)
    text = F.normalize(text, dim=-1).unflatten(0, (len(captions), CAPTIONS))
    loss = object_contrastive_loss(F.normalize(image, dim=-1), text, valid, scale=model.logit_scale.exp()).total
    loss.backward()
    return loss.item()


def _captions(count: int, kind: str) -> tuple[list[list[list[int]]], str]:
    """Token ids of each row's captions, the true one first, [] for a masked one; and where they are from.

    ``all-28`` are rows that hold all of them; ``mean`` rows drawn so that as many are there as in the data on average.
    """
    import open_clip

    tokenizer = open_clip.SimpleTokenizer()
    path = SHARED / "data/ohd_caps/dev/dev_data.json"
    if not path.is_file():
        return [_made_up(n if kind == "mean" else 0, tokenizer) for n in range(count)], "made-up captions"
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    there = [sum(one["valid_caption"]) for one in found]
    draw = random.Random(0)
    if kind == "all-28":
        whole = [one for one, n in zip(found, there, strict=True) if n == CAPTIONS]
        return [_encoded(one, tokenizer) for one in draw.sample(whole, count)], "OHD-Caps dev"
    wanted = count * sum(there) / len(there)
    tries = (draw.sample(range(len(found)), count) for _ in range(500))
    chosen = min(tries, key=lambda at: abs(sum(there[n] for n in at) - wanted))
    return [_encoded(found[n], tokenizer) for n in chosen], "OHD-Caps dev"


def _real(count: int) -> tuple[Tensor, list[list[list[int]]]]:
    """Images of OHD-Caps as the tower reads them, and all 28 captions of each."""
    import open_clip

    from encoders.towers.pixels import HubPixels, openai
    from harness.images import open_image

    lines = (OVERLAP / "ohd_overlap_annotations.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    found, tokenizer = [json.loads(line) for line in lines], open_clip.SimpleTokenizer()
    pixels = torch.as_tensor(HubPixels(openai(224))([open_image(OVERLAP / one["file_path"]) for one in found]))
    captions = []
    for one in found:
        kinds = (one[f"{kind}_samples"].values() for kind in ("random", "popular", "adversarial", "delete"))
        texts = [one["positive_sample"], *(text for kind in kinds for text in kind)]
        captions.append([[START, *tokenizer.encode(text)[: LENGTH - 2], END] for text in texts])
    return pixels, captions


def _encoded(one: dict[str, Any], tokenizer: Any) -> list[list[int]]:
    order = sorted(range(CAPTIONS), key=lambda n: n != one["label"])
    there, texts = one["valid_caption"], one["caption"]
    return [[START, *tokenizer.encode(texts[n])[: LENGTH - 2], END] if there[n] else [] for n in order]


def _made_up(number: int, tokenizer: Any) -> list[list[int]]:
    """A sentence and 27 like it with other things in it; every second row has four of them."""
    draw = random.Random(number)
    things = ["dog", "bus", "chair", "tree", "car", "cup", "table", "bird", "boat", "clock", "sky", "wall", "person"]
    texts = []
    for _ in range(CAPTIONS):
        one, other, third = draw.sample(things, 3)
        end = draw.choice([".", f" near a {third}.", f" under the {third} with people around."])
        texts.append(f"A {draw.choice(things[:3])} standing before a big {one} holding up a {other}{end}")
    there = CAPTIONS if number % 2 == 0 else 4
    return [[START, *tokenizer.encode(text), END] if n < there else [] for n, text in enumerate(texts)]
