"""LLaVA-1.5's recipes of alignment as named presets, every value a field that can be set and is recorded.

Source: scripts/v1_5 of haotian-liu/LLaVA@c121f04 (``pretrain.sh``, ``finetune.sh``, ``finetune_lora.sh``) and the
defaults of its train.py.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness import extras
from harness.errors import UsageError
from harness.ranges import Above, Amount, Count, Decay, Positive, Seed, check
from harness.sweep import with_settings


@dataclass(frozen=True)
class Stage:
    """One stage of training behind a tower that stays as it is. The defaults are those of LLaVA-1.5's ``pretrain``."""

    name: str = "pretrain"
    trains: Literal["projector", "projector+lora", "projector+language_model"] = "projector"
    projector: Literal["new", "own"] = "new"
    """A new one, drawn by the seed, or the LVLM's own, if this tower fits behind it."""
    seed: Seed = 42

    template: Literal["plain", "vicuna-v1", "chat", "own"] = "plain"
    """How rows are written; ``own`` is how this LVLM is asked."""
    pad: Literal["pad", "crop", "own"] = "crop"
    """To a square with the processor's mean colour, the processor's own way (crop), or as this LVLM is asked."""
    max_length: Positive = 2048
    """Tokens of a row, those of its image included; the rest is cut off."""
    vision_feature_layer: int = -2
    """The hidden states of the tower that are read."""
    vision_feature_select_strategy: Literal["auto", "default", "full"] = "auto"
    """``default`` drops the first token, ``full`` none; ``auto`` drops it where it is a class token."""

    batch: Positive = 256
    """Rows an update, over all processes and accumulation steps."""
    micro_batch: Positive = 32
    """Rows at once on a device; what is missing to ``batch`` is accumulated."""
    epochs: Amount = 1.0
    updates: Count = 0
    """Updates of the weights; 0 is what the epochs come to."""
    group_by_length: bool = False
    """Batches of one modality and like length (LLaVA's order), instead of shuffled rows."""

    rate: Above = 1e-3
    projector_rate: Amount = 0.0
    """The projector's own learning rate; 0 is that of the rest."""
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: Decay = 0.03
    """Share of the updates (rounded up) in which the rate rises, from 0 at the first."""
    weight_decay: Amount = 0.0
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    epsilon: Above = 1e-8
    clip_norm: Amount = 0.0
    """The gradient is scaled down to this norm; 0 leaves it alone, as DeepSpeed does in LLaVA's settings."""
    loss: Literal["mean of means", "mean of tokens"] = "mean of means"
    """Over accumulation steps and processes: the mean of each micro-batch's mean, or one mean over all tokens."""

    lora_rank: Positive = 128
    lora_alpha: Above = 256.0
    lora_dropout: Decay = 0.05

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """What is computed in; ``auto`` is bf16 on a GPU that has it. What is trained is kept in fp32."""
    tf32: bool = True
    gradient_checkpointing: bool = True
    quantize: Literal["", "4bit", "8bit"] = ""
    """The language model in so many bits under the LoRA (needs bitsandbytes and a GPU)."""

    validation: Decay = 0.0
    """Share of the rows, drawn by the seed, that is held out and looked at; LLaVA-1.5 held none out."""
    evaluate_every: Count = 0
    """Updates between looks at the held-out rows; 0 is a twentieth of all."""
    save_every: Positive = 500
    """Updates between checkpoints."""
    workers: Count = 4
    """Processes that read images ahead, on a GPU; 0 reads in step."""
    report_to: tuple[str, ...] = ()
    """tensorboard, wandb."""
    deepspeed: str = ""
    """A DeepSpeed configuration file, handed to accelerate."""
    fsdp: str = ""
    """FSDP's options, e.g. ``full_shard auto_wrap``, handed to accelerate."""


def pretrain() -> Stage:
    """Stage one: the projector alone learns to read the tower, on captions."""
    return Stage()


def full() -> Stage:
    """Stage two: projector and language model learn to answer, on conversations."""
    return Stage(
        name="full",
        trains="projector+language_model",
        projector="own",
        template="own",
        pad="pad",
        batch=128,
        micro_batch=16,
        group_by_length=True,
        rate=2e-5,
    )


def lora() -> Stage:
    """Stage two with a low-rank adapter in place of the language model's own weights."""
    return replace(full(), name="lora", trains="projector+lora", rate=2e-4, projector_rate=2e-5)


PRESETS = {"pretrain": pretrain, "lora": lora, "full": full}


Words = Mapping[str, str]


def chosen(names: Sequence[str], settings: Words, beneath: Mapping[str, Words] | None = None) -> tuple[Stage, ...]:
    """The stages of these names, with settings: ``field`` for all of them, ``stage.field`` for one.

    ``beneath`` are what the presets of the named stages become before.
    """
    if not names or any(name not in PRESETS for name in names):
        wrong = next((name for name in names if name not in PRESETS), "")
        raise UsageError(f"no stage is called '{wrong}'; there is {', '.join(PRESETS)}")
    if len(set(names)) != len(names):
        raise UsageError(f"--stage {','.join(names)}: a stage is named twice")
    for key in settings:
        if "." in key and key.partition(".")[0] not in names:
            raise UsageError(f"--set {key}: the stages are {', '.join(names)}")
    presets = {name: with_settings(PRESETS[name](), (beneath or {}).get(name, {})) for name in names}
    made = (with_settings(presets[name], _of(name, settings)) for name in names)
    return tuple(checked(stage) for stage in made)


def _of(name: str, settings: Mapping[str, str]) -> dict[str, str]:
    shared = {key: value for key, value in settings.items() if "." not in key}
    own = {key.partition(".")[2]: value for key, value in settings.items() if key.startswith(f"{name}.")}
    return shared | own


def checked(stage: Stage) -> Stage:
    """The stage; UsageError where a value makes no sense."""
    for name in ("batch", "micro_batch", "max_length", "rate", "save_every", "lora_rank"):
        if not 0 < getattr(stage, name) < math.inf:
            raise UsageError(f"{name}={getattr(stage, name)}: right would be a number above 0")
    if not stage.updates and not 0 < stage.epochs < math.inf:
        raise UsageError(f"epochs={stage.epochs}: right would be a number above 0")
    for name in ("warmup", "validation", "lora_dropout"):
        if not 0 <= getattr(stage, name) < 1:
            raise UsageError(f"{name}={getattr(stage, name)}: right would be a number from 0 to below 1")
    check(stage)
    _can_be_handed_on(stage.deepspeed)
    return stage


def _can_be_handed_on(deepspeed: str) -> None:
    """UsageError where a DeepSpeed configuration is named that is not there, or nothing reads it."""
    if deepspeed and not os.path.isfile(deepspeed):
        raise UsageError(f"deepspeed={deepspeed}: there is no such file; right would be a DeepSpeed configuration")
    if deepspeed and importlib.util.find_spec("deepspeed") is None:
        raise extras.needs("deepspeed")


def accumulation(stage: Stage, processes: int) -> int:
    """Micro-batches that make an update on each of so many processes; UsageError where they do not go up."""
    at_once = stage.micro_batch * processes
    if stage.batch % at_once:
        raise UsageError(
            f"batch={stage.batch} is no multiple of {processes} processes of micro_batch={stage.micro_batch}; "
            f"set micro_batch so that the rows of an update stay the same"
        )
    return stage.batch // at_once
