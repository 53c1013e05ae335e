"""What decides a training: every choice is a field, written beside the weights that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.ranges import Above, Amount, Count, Decay, Part, Positive, Seed, Share, check

if TYPE_CHECKING:
    from harness.compute.forecast import Forecast


@dataclass(frozen=True)
class Training:
    """One way to train an encoder. Every choice is a field; it is written beside the weights.

    UsageError where a field holds what its annotation does not allow.
    """

    base: str = "clip:openai/clip-vit-base-patch32"
    seed: Seed = 0

    fraction: Part = 1.0
    max_samples: Count = 0
    """At most this many training rows, drawn by the seed; 0 is all."""
    negatives: Literal["hallucinated", "swapped", "none"] = "hallucinated"
    """The captions of the data, two words of the true caption swapped (NegCLIP's way), or none (the control)."""
    negatives_per_row: Count = 27
    """Drawn anew for each row and step; a row may have fewer."""
    hard_negatives: str = ""
    """A file that ``ohd-bench objects RUN --to FILE`` wrote: captions that invent its objects are drawn oftener."""
    allow_outside: bool = False
    """Whether the data may name images outside its folder: absolute, by ``..`` or through links."""
    shuffle_images: bool = False
    """The control that gives every row another row's image: what is learnt from captions alone."""
    replay: Amount = 0.0
    """Weight of plain contrast on DATA/web's captions beside, against forgetting."""
    replay_batch: Positive = 48

    form: Literal["paper", "released"] = "paper"
    margin_units: Literal["logit", "cosine"] = "logit"
    tau1: Amount = 2.0
    tau2: Amount = 2.0
    lambda1: Amount = 0.1
    lambda2: Amount = 0.1

    epochs: Above = 10.0
    steps: Count = 0
    """Optimizer steps; 0 is what the epochs come to."""
    batch: Positive = 56
    """Pairs contrasted with each other, over all processes; recorded as the number of rows where that is less."""
    accumulate: Positive = 1
    """Batches an optimizer step, each contrasted in itself."""
    chunk: Count = 0
    """Pairs that go through the towers at once; gradients are those of the whole batch (cached). 0 is all."""
    lr: Above = 1e-6
    weight_decay: Amount = 0.1
    warmup: Count = 50
    """Steps in which the rate rises to ``lr``; at most a tenth of all."""
    clip_norm: Amount = 1.0
    """Gradients longer than this are shortened to it; 0 leaves them as they are."""
    max_scale: Amount = 0.0
    """The scale is held below this where it is trained; 0 leaves it free, as the authors' code does."""
    ema: Decay = 0.0
    lora: Count = 0
    """Rank of low-rank updates to both towers' attention; 0 trains the weights themselves. Merged when saved."""
    frozen: tuple[str, ...] = ()
    """Parameters that stay as they are, by glob: ``text_model.*``, ``*.layers.[0-5].*``, ``logit_scale``."""
    interpolate: Share = 1.0
    """WiSE-FT: base + this x (tuned - base) is what is saved."""

    front: tuple[Share, ...] = ()
    """Interpolations to measure beside the one that is saved."""

    precision: Literal["no", "bf16"] = "no"
    checkpointing: bool = False
    text: Literal["trie", "padded"] = "trie"

    evaluate_every: Count = 0
    """Steps between looks at the dev rows; 0 is once an epoch."""
    save_every: Positive = 200
    dev_samples: Count = 1000
    """At most this many dev rows at a look; 0 is all."""
    zero_shot: str = ""
    """A folder of class folders to watch for forgetting; DATA/zero_shot where none is named."""
    keep: Literal["last", "ohd_dev", "zero_shot"] = "last"
    """Whose weights are saved: ``last``, or the look best by ``ohd_dev`` or ``zero_shot``."""
    log_with: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """``tensorboard``, ``wandb``: beside log.jsonl, which is always written."""

    def __post_init__(self) -> None:
        check(self)

    def train(self, data: Path, out: Path) -> Path:
        """The folder of the trained encoder, in transformers' layout."""
        from encoders.training.loop import train

        return train(self, data, out)

    def forecast(self, data: Path) -> Forecast:
        """What this training on this data will cost, from a few steps of it; nothing is written."""
        from encoders.training.forecast import forecast

        return forecast(self, data)
