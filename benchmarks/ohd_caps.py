"""OHD-Caps ranking, 28 captions an image: prefix tries against captions padded to 77 tokens."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from benchmarks.measure import (
    Measurement,
    beside,
    ceilings,
    device,
    dtype,
    row,
    settled,
    tower_flops,
)
from encoders.towers import trie
from encoders.towers.clip_encoder import padded_features
from encoders.towers.last_layer import pooled
from harness.compute.onednn import fast_linear

START, END, CAPTIONS = 49_406, 49_407, 28
Ids = list[list[int]]
TEXT = {"b32": (512, 8, 12), "l14": (768, 12, 12)}
VISION = {"b32": (768, 12, 12, 32, 224), "l14": (1024, 16, 24, 14, 224), "l14-336": (1024, 16, 24, 14, 336)}


def rows(quick: bool) -> Iterator[Measurement]:
    """The whole task with a B/32, and with an L/14 its text side alone."""
    count = 64 if torch.cuda.is_available() else (2 if quick else 4)
    yield settled(lambda: whole(count))
    words = clip("l14", vision_layers=1)
    yield settled(lambda: _text_side(words, [captions(n) for n in range(count)]))


def work_left_out(model: CLIPModel, ids: Ids, images: int, padded: int = 0) -> float:
    """How many times less our way computes for these captions and images, in FLOPs: each padded to 77, or a trie.

    ``padded`` is how many captions the reference computes, masked ones among them; those of ``ids`` by default.
    """
    text, seen = model.config.text_config, model.config.vision_config
    count, length, ends = trie.laid_out(model, ids)
    places = (seen.image_size // seen.patch_size) ** 2 + 1
    eye = seen.num_hidden_layers, seen.hidden_size, images, places
    words = text.num_hidden_layers, text.hidden_size
    reference = tower_flops(*words, padded or len(ids), 77) + tower_flops(*eye)
    return reference / (tower_flops(*words, count, length, count * ends) + tower_flops(*eye, images))


def clip(name: str, vision_layers: int | None = None) -> CLIPModel:
    """A CLIP of this shape with random weights."""
    torch.manual_seed(0)
    width, heads, layers = TEXT[name.removesuffix("-336")]
    seen, seen_heads, seen_layers, patch, size = VISION[name]
    config = CLIPConfig(
        text_config={
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "eos_token_id": END,
            "bos_token_id": START,
        },
        vision_config={
            "hidden_size": seen,
            "intermediate_size": 4 * seen,
            "num_attention_heads": seen_heads,
            "num_hidden_layers": vision_layers or seen_layers,
            "patch_size": patch,
            "image_size": size,
        },
        projection_dim=width,
    )
    return CLIPModel(config).eval().to(device(), dtype())


def captions(image: int) -> Ids:
    """A caption and 27 with one word exchanged: some 23 tokens each, 3.3 padded tokens for one needed, as OHD-Caps'."""
    rng = random.Random(image)
    true = [rng.randrange(300, 40_000) for _ in range(rng.randrange(17, 26))]
    false = []
    for _ in range(CAPTIONS - 1):
        at = rng.randrange(1, len(true))
        false.append([*true[:at], rng.randrange(300, 40_000), *true[at + 1 :]])
    return [[START, *ids, END] for ids in (true, *false)]


def whole(images: int) -> Measurement:
    """The whole task with a B/32: so many images, and 28 captions of each."""
    model, asked = clip("b32"), [captions(n) for n in range(images)]
    config = model.config.vision_config
    pixels = torch.randn(len(asked), 3, config.image_size, config.image_size, device=device(), dtype=dtype())

    def rank(text: Callable[..., Tensor]) -> Tensor:
        trimmed = text is trie.text_features
        image_NW = pooled(model.vision_model, pixels) if trimmed else model.vision_model(pixels).pooler_output
        image_ND = model.visual_projection(image_NW)
        return _logits(model, image_ND, text)

    def _logits(model: CLIPModel, image_ND: Tensor, text: Callable[..., Tensor]) -> Tensor:
        text_ND = text(model, [ids for one in asked for ids in one])
        text_NKD = functional.normalize(text_ND, dim=-1).unflatten(0, (len(asked), CAPTIONS))
        return 100 * torch.einsum("nd,nkd->nk", functional.normalize(image_ND, dim=-1), text_NKD)

    return _compared("ohd-caps-b32", rank, asked, model, len(asked))


def _text_side(model: CLIPModel, asked: list[Ids]) -> Measurement:
    image_D = torch.randn(model.config.projection_dim, device=device(), dtype=dtype())

    def rank(text: Callable[..., Tensor]) -> Tensor:
        text_ND = functional.normalize(text(model, [ids for one in asked for ids in one]), dim=-1)
        return 100 * (text_ND @ functional.normalize(image_D, dim=0)).unflatten(0, (len(asked), CAPTIONS))

    return _compared("ohd-caps-l14-text", rank, asked, model, 0)


@torch.inference_mode()
def _compared(
    name: str, rank: Callable[[Callable[..., Tensor]], Tensor], asked: list[Ids], model: Any, images: int
) -> Measurement:
    found: dict[str, Tensor] = {}

    def way(name: str, text: Callable[..., Tensor]) -> None:
        with fast_linear(device(), dtype()):  # both ways on the same kernels
            found[name] = rank(text)

    way("product", trie.text_features)  # a warm-up
    rounds = 1 if torch.cuda.is_available() else 2
    times = beside(lambda: way("reference", padded_features), lambda: way("product", trie.text_features), rounds)
    took = times.product
    worst = float((found["product"] - found["reference"]).abs().max())
    orders = (found["product"].argsort(-1) == found["reference"].argsort(-1)).all(-1)
    right = bool(orders.all()) and worst <= 1e-4
    if torch.cuda.is_available():
        right = float(orders.float().mean()) > 0.5
    every = [ids for one in asked for ids in one]
    nodes = trie.nodes(model, every)
    text = model.config.text_config
    flops = 2.0 * text.num_hidden_layers * 12 * text.hidden_size**2
    return row(
        name,
        times.reference,
        times.product,
        right,
        **times.detail(),
        limit=work_left_out(model, every, images),
        images=len(asked),
        captions=len(every),
        max_logit_difference=worst,
        same_order=f"{int(orders.sum())}/{len(asked)}",
        padded_tokens_per_token=round(77 * len(every) / nodes, 2),
        images_per_s=round(len(asked) / took, 2),
        text_tokens_per_s=round(nodes / took, 1),
        **ceilings().shares(nodes * flops, flops / 2 * 4, took),
    )
