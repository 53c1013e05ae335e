"""Teach the micro LVLM to talk: its language model, on scenes told in words.

Legend: B scenes, L tokens, S slots (one a cell), D features.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from encoders.micro.making.clips import config as clip_config
from encoders.micro.making.conversations import LENGTH, Lesson, lesson, told
from encoders.micro.making.tokenizers import IMAGE, talk_tokenizer
from harness.micro.scene import Mix, Scene, scene
from harness.micro.talk import SLOTS, Turn, turns

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Talking:
    """The language model: scenes told in words, a share of them blurred so that it learns to guess.

    ``dense`` is the share of batches that also describe the scene and list its cells.
    """

    steps: int = 700
    batch: int = 32
    questions: int = 6
    dense: float = 1.0
    lr: float = 2e-3
    weight_decay: float = 0.05
    blurred: float = 0.6
    seed: int = 0


def fresh(seed: int) -> LlavaForConditionalGeneration:
    """An untrained micro LLaVA."""
    torch.manual_seed(seed)
    words = talk_tokenizer(LENGTH)
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=2,  # heads of 64: vLLM's kernels for CPUs misread heads of 32
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=clip_config().vision_config,
        text_config=text,
        image_token_id=words.convert_tokens_to_ids(IMAGE),
        image_seq_length=SLOTS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    return LlavaForConditionalGeneration(config)


def teach(model: LlavaForConditionalGeneration, recipe: Talking) -> None:
    """Trains the language model in place."""
    words, rng = talk_tokenizer(LENGTH), Random(recipe.seed)
    torch.manual_seed(recipe.seed)
    language = model.model.language_model
    embed = language.embed_tokens

    def value(step: int) -> Tensor:
        scenes = [scene(f"{recipe.seed}/talk/{step * recipe.batch + n}", Mix()) for n in range(recipe.batch)]
        taught = lesson(words, _talks(scenes, rng, recipe))
        slots_BSD = _told(embed, words, [told(item) for item in scenes])
        return _loss(model, taught, _blur(slots_BSD, recipe.blurred))

    _train(language, value, recipe)


def _told(embed: Module, words: PreTrainedTokenizerFast, cells: list[list[list[str]]]) -> Tensor:
    """Slots [B, S, D] of scenes told in words: each the sum of its words."""
    nothing = words.pad_token_id
    ids = [[words.convert_tokens_to_ids(cell) for cell in row] for row in cells]
    ids_BSW = torch.tensor([[(cell + [nothing] * 4)[:4] for cell in row] for row in ids])
    summed: Tensor = (embed(ids_BSW) * (ids_BSW != nothing)[..., None]).sum(2)
    return summed


def _blur(slots_BSD: Tensor, share: float) -> Tensor:
    """Some scenes seen badly: each slot mixed with another scene's slot, and with noise."""
    size = len(slots_BSD)
    much_B11 = torch.rand(size, 1, 1) * (torch.rand(size, 1, 1) < share)
    mixed = torch.rand(size, SLOTS, 1) * much_B11 * 0.8
    other_BSD = slots_BSD[torch.randperm(size)][:, torch.randperm(SLOTS)]
    noise_BSD = torch.randn_like(slots_BSD) * slots_BSD.detach().std() * much_B11
    return slots_BSD * (1 - mixed) + other_BSD * mixed + noise_BSD


def _talks(scenes: list[Scene], rng: Random, recipe: Talking) -> list[list[Turn]]:
    """The scenes' turns; at times only the questions."""
    found = [turns(item, rng, recipe.questions) for item in scenes]
    only_questions = recipe.dense < 1 and rng.random() >= recipe.dense
    return [talk[2:] for talk in found] if only_questions else found


def _loss(model: LlavaForConditionalGeneration, taught: Lesson, slots_BSD: Tensor) -> Tensor:
    embeds = model.model.language_model.embed_tokens(taught.ids_BL)
    embeds = torch.cat([embeds[:, : taught.slots.start], slots_BSD, embeds[:, taught.slots.stop :]], dim=1)
    hidden = model.model.language_model(
        inputs_embeds=embeds, attention_mask=taught.mask_B1LL, position_ids=taught.positions_BL, use_cache=False
    ).last_hidden_state
    wanted = taught.labels_BL[:, 1:]
    said = wanted != -100
    return F.cross_entropy(model.lm_head(hidden[:, :-1][said]), wanted[said])


def _train(part: Module, value: Callable[[int], Tensor], recipe: Talking) -> None:
    weights = list(part.parameters())
    optimizer = torch.optim.AdamW(weights, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=recipe.steps, pct_start=0.1, cycle_momentum=False
    )
    for step in range(recipe.steps):
        loss = value(step)
        if not loss.isfinite():
            raise ArithmeticError(f"the loss of step {step} is {loss.item()}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            log.info("step %d: %.3f", step, loss.item())
