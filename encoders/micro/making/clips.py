"""Train the micro CLIPs: one on web captions, and from it the tuned one and its control.

Legend: B pairs, K captions an image (the true one first), D features.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

from encoders.micro.making.tokenizers import caption_tokenizer
from encoders.training.loss import object_contrastive_loss
from harness.micro.captions import shuffled, web_caption
from harness.micro.draw import PIXELS, draw
from harness.micro.folder import SOURCES, rows_of
from harness.micro.scene import Mix, Scene, scene

log = logging.getLogger(__name__)
LENGTH = 48


@dataclass(frozen=True)
class Pretraining:
    """The base CLIP: scenes with web captions, InfoNCE both ways."""

    scenes: int = 12_000
    alone: float = 0.3
    steps: int = 900
    batch: int = 128
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Tuning:
    """Fine-tuning on OHD-Caps rows with web captions replayed; ``negatives`` 0 is the control."""

    rows: int = 3000
    steps: int = 300
    batch: int = 64
    negatives: int = 9
    lr: float = 1e-3
    weight_decay: float = 0.05
    replay: float = 0.5
    replay_batch: int = 48
    seed: int = 0


def config() -> CLIPConfig:
    """A CLIP of half a million parameters: 16 patches of 16 pixels."""
    vision = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
    text = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    words = caption_tokenizer(LENGTH)
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    return CLIPConfig(
        vision_config={**vision, "image_size": PIXELS, "patch_size": 16, "projection_dim": 64},
        text_config={
            **text,
            **ids,
            "vocab_size": len(words),
            "max_position_embeddings": LENGTH,
            "projection_dim": 64,
        },
        projection_dim=64,
    )


def processor() -> CLIPImageProcessor:
    """The pixels of the micro models: 64 x 64, mean and deviation one half."""
    return CLIPImageProcessor(
        size={"shortest_edge": PIXELS},
        crop_size={"height": PIXELS, "width": PIXELS},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def pictures(scenes: Sequence[Scene]) -> Tensor:
    """The scenes' pixels [N, 3, 64, 64], as bytes."""
    return torch.from_numpy(np.stack([np.asarray(draw(item)) for item in scenes])).permute(0, 3, 1, 2)


def pixels(pictures_N: Tensor) -> Tensor:
    """What the tower reads, exactly as the processor makes it."""
    return pictures_N.float() / 127.5 - 1


class Clip:
    """A CLIP with its tokenizer, as the training loops use it."""

    def __init__(self, model: CLIPModel, words: PreTrainedTokenizerFast) -> None:
        self.model, self.words = model, words

    def images(self, pictures_B: Tensor) -> Tensor:
        """Unit rows [B, D]."""
        pooled = self.model.vision_model(pixel_values=pixels(pictures_B)).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    def texts(self, captions: list[str]) -> Tensor:
        """Unit rows [B, D]."""
        read = self.words(captions, padding=True, return_tensors="pt")
        pooled = self.model.text_model(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)

    def infonce(self, image_BD: Tensor, text_BD: Tensor) -> Tensor:
        """The contrastive loss of CLIP."""
        logits_BB = image_BD @ text_BD.T * self.model.logit_scale.exp()
        target_B = torch.arange(len(logits_BB))
        return (F.cross_entropy(logits_BB, target_B) + F.cross_entropy(logits_BB.T, target_B)) / 2

    def save(self, folder: Path) -> None:
        """Writes the folder that ``CLIPModel.from_pretrained`` reads, in half precision."""
        self.model.half().save_pretrained(folder)
        self.model.float()
        self.words.save_pretrained(folder)
        processor().save_pretrained(folder)


def fresh(seed: int) -> Clip:
    """An untrained CLIP."""
    torch.manual_seed(seed)
    return Clip(CLIPModel(config()), caption_tokenizer(LENGTH))


def load(folder: Path) -> Clip:
    """A saved CLIP, in float32."""
    return Clip(CLIPModel.from_pretrained(folder, dtype=torch.float32), caption_tokenizer(LENGTH))


class Web:
    """Scenes with captions of the web, drawn once."""

    def __init__(self, recipe: Pretraining) -> None:
        alone = round(recipe.scenes * recipe.alone)
        mixes = [Mix(most=1, doubled=0.0)] * alone + [Mix()] * (recipe.scenes - alone)
        self.scenes = [scene(f"{recipe.seed}/pretraining/{n}", mix) for n, mix in enumerate(mixes)]
        self.pictures_N = pictures(self.scenes)

    def batch(self, rng: Random, size: int) -> tuple[Tensor, list[str]]:
        """Pictures, each with one of its captions."""
        chosen = rng.sample(range(len(self.scenes)), size)
        return self.pictures_N[chosen], [web_caption(self.scenes[n], rng.randrange(4)) for n in chosen]


def pretrain(recipe: Pretraining) -> Clip:
    """The base CLIP, from nothing."""
    clip, web, rng = fresh(recipe.seed), Web(recipe), Random(recipe.seed)
    for step in _steps(clip, recipe):
        pictures_B, captions = web.batch(rng, recipe.batch)
        value = clip.infonce(clip.images(pictures_B), clip.texts(captions))
        step(value)
    return clip


def tune(clip: Clip, recipe: Tuning, web: Web) -> Clip:
    """The CLIP fine-tuned in place on OHD-Caps rows of the training split."""
    found = list(rows_of(f"{recipe.seed}/train", SOURCES["coco"], recipe.rows))
    pictures_N = pictures([item for item, _ in found])
    labels = [shuffled(annotation, str(n)) for n, (_, annotation) in enumerate(found)]
    rng = Random(recipe.seed)
    torch.manual_seed(recipe.seed)
    for step in _steps(clip, recipe):
        chosen = rng.sample(range(len(found)), recipe.batch)
        captions = [text for n in chosen for text in _candidates(rng, labels[n], recipe.negatives)]
        text_BKD = clip.texts(captions).unflatten(0, (recipe.batch, -1))  # type: ignore[no-untyped-call]
        image_BD = clip.images(pictures_N[chosen])
        value = object_contrastive_loss(image_BD, text_BKD, scale=clip.model.logit_scale.exp()).total
        replayed_B, said = web.batch(rng, recipe.replay_batch)
        step(value + recipe.replay * clip.infonce(clip.images(replayed_B), clip.texts(said)))
    return clip


def _candidates(rng: Random, label: dict[str, Any], number: int) -> list[str]:
    captions = list(label["caption"])
    true = captions.pop(label["label"])
    return [true, *rng.sample(captions, number)]


def _steps(clip: Clip, recipe: Pretraining | Tuning) -> Iterator[Any]:
    """One callable a step, which takes the loss and updates the weights; warm-up, then a cosine to zero."""
    optimizer = torch.optim.AdamW(clip.model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=recipe.steps, pct_start=0.1, cycle_momentum=False
    )

    for number in range(recipe.steps):

        def update(value: Tensor, number: int = number) -> None:
            if not value.isfinite():
                raise ArithmeticError(f"the loss of step {number} is {value.item()}")
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(clip.model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                clip.model.logit_scale.clamp_(max=np.log(100))
            if number % 50 == 0:
                log.info("step %d: %.3f", number, value.item())

        yield update
