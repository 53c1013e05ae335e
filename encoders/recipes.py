"""Ways to train an encoder, each a function that returns everything that matters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from encoders.training import limits
from harness.registry import recipe


@dataclass(frozen=True)
class Training:
    """One way to train an encoder. Every choice is a field; it is written beside the weights."""

    base: str = "clip:openai/clip-vit-base-patch32"
    seed: int = 0

    fraction: float = 1.0
    max_samples: int = 0
    """At most this many training rows, drawn by the seed; 0 is all."""
    negatives: Literal["hallucinated", "swapped", "none"] = "hallucinated"
    """The captions of the data, two words of the true caption swapped (NegCLIP's way), or none (the control)."""
    negatives_per_row: int = 27
    """Drawn anew for each row and step; a row may have fewer."""
    hard_negatives: str = ""
    """A file that ``ohd-bench objects RUN --to FILE`` wrote: captions that invent its objects are drawn oftener."""
    allow_outside: bool = False
    """Whether the data may name images outside its folder: absolute, by ``..`` or through links."""
    shuffle_images: bool = False
    """The control that gives every row another row's image: what is learnt from captions alone."""
    replay: float = 0.0
    """Weight of plain contrast on DATA/web's captions beside, against forgetting."""
    replay_batch: int = 48

    form: Literal["paper", "released"] = "paper"
    margin_units: Literal["logit", "cosine"] = "logit"
    tau1: float = 2.0
    tau2: float = 2.0
    lambda1: float = 0.1
    lambda2: float = 0.1

    epochs: float = 10.0
    steps: int = 0
    """Optimizer steps; 0 is what the epochs come to."""
    batch: int = 56
    """Pairs contrasted with each other, over all processes."""
    accumulate: int = 1
    """Batches an optimizer step, each contrasted in itself."""
    chunk: int = 0
    """Pairs that go through the towers at once; gradients are those of the whole batch (cached). 0 is all."""
    lr: float = 1e-6
    weight_decay: float = 0.1
    warmup: int = 50
    """Steps in which the rate rises to ``lr``; at most a tenth of all."""
    clip_norm: float = 1.0
    max_scale: float = 0.0
    """The trainable scale is held below this; 0 leaves it free, as the authors' code does."""
    ema: float = 0.0
    lora: int = 0
    """Rank of low-rank updates to both towers' attention; 0 trains the weights themselves. Merged when saved."""
    frozen: tuple[str, ...] = ()
    """Parameters that stay as they are, by glob: ``text_model.*``, ``*.layers.[0-5].*``, ``logit_scale``."""
    interpolate: float = 1.0
    """WiSE-FT: base + this x (tuned - base) is what is saved."""

    front: tuple[float, ...] = ()
    """Interpolations to measure beside the one that is saved."""

    precision: Literal["no", "bf16"] = "no"
    checkpointing: bool = False
    text: Literal["trie", "padded"] = "trie"

    evaluate_every: int = 0
    """Steps between looks at the dev rows; 0 is once an epoch."""
    save_every: int = 200
    dev_samples: int = 1000
    zero_shot: str = ""
    """A folder of class folders to watch for forgetting; DATA/zero_shot where none is named."""
    keep: str = "last"
    """Whose weights are saved: ``last``, or the look best by ``ohd_dev`` or ``zero_shot``."""
    log_with: tuple[str, ...] = ()
    """``tensorboard``, ``wandb``: beside log.jsonl, which is always written."""

    def __post_init__(self) -> None:
        limits.check(self)

    def train(self, data: Path, out: Path) -> Path:
        """The folder of the trained encoder, in transformers' layout."""
        from encoders.training.loop import train

        return train(self, data, out)


@recipe("ohd-b32")
def ohd_b32() -> Training:
    """CLIP ViT-B/32 by the paper's equations and settings (arXiv 2410.03176)."""
    return Training(keep="ohd_dev")


@recipe("ohd-l14-336")
def ohd_l14_336() -> Training:
    """CLIP ViT-L/14 at 336 px, the tower of LLaVA-1.5, as published."""
    return replace(ohd_b32(), base="clip:openai/clip-vit-large-patch14-336", batch=14)


@recipe("ohd-b32-released")
def ohd_b32_released() -> Training:
    """CLIP ViT-B/32 by the loss and the script the authors released, which differ from the equations."""
    return replace(
        ohd_b32(),
        form="released",
        tau1=5.0,
        tau2=5.0,
        lambda1=0.2,
        lambda2=0.2,
        epochs=3.0,
        batch=64,
        accumulate=4,
        lr=1e-5,
        precision="bf16",
    )


@recipe("ohd-b32-l0")
def ohd_b32_l0() -> Training:
    """Ablation: contrast with hallucinated captions, no margins."""
    return replace(ohd_b32(), lambda1=0.0, lambda2=0.0)


@recipe("ohd-b32-l0-l1")
def ohd_b32_l0_l1() -> Training:
    """Ablation: without the second margin."""
    return replace(ohd_b32(), lambda2=0.0)


@recipe("ohd-b32-l0-l2")
def ohd_b32_l0_l2() -> Training:
    """Ablation: without the first margin."""
    return replace(ohd_b32(), lambda1=0.0)


@recipe("ohd-b32-lora")
def ohd_b32_lora() -> Training:
    """Low-rank updates in place of the weights themselves."""
    return replace(ohd_b32(), lora=16, lr=1e-4)


@recipe("negclip-b32")
def negclip_b32() -> Training:
    """Baseline after NegCLIP: the true caption with words swapped is the hard negative, no margins."""
    return replace(ohd_b32_l0(), negatives="swapped", negatives_per_row=1)


@recipe("control-b32")
def control_b32() -> Training:
    """Control: the same images, true captions and steps, no hallucinated captions."""
    return replace(ohd_b32_l0(), negatives="none")


@recipe("micro-ohd")
def micro_ohd() -> Training:
    """The bundled micro CLIP by the paper's loss: under a minute on a laptop."""
    return Training(
        base="micro",
        negatives_per_row=9,
        replay=0.5,
        steps=100,
        batch=64,
        lr=1e-3,
        weight_decay=0.05,
        warmup=10,
        max_scale=100.0,
        evaluate_every=50,
        save_every=50,
    )


@recipe("micro-ohd-l0")
def micro_ohd_l0() -> Training:
    """Micro ablation: contrast with hallucinated captions, no margins."""
    return replace(micro_ohd(), lambda1=0.0, lambda2=0.0)


@recipe("micro-ohd-l0-l1")
def micro_ohd_l0_l1() -> Training:
    """Micro ablation: without the second margin."""
    return replace(micro_ohd(), lambda2=0.0)


@recipe("micro-ohd-l0-l2")
def micro_ohd_l0_l2() -> Training:
    """Micro ablation: without the first margin."""
    return replace(micro_ohd(), lambda1=0.0)


@recipe("micro-ohd-released")
def micro_ohd_released() -> Training:
    """The micro CLIP by the loss the authors released."""
    return replace(micro_ohd(), form="released", tau1=5.0, tau2=5.0, lambda1=0.2, lambda2=0.2)


@recipe("micro-negclip")
def micro_negclip() -> Training:
    """Micro baseline after NegCLIP: words of the true caption swapped."""
    return replace(micro_ohd_l0(), negatives="swapped", negatives_per_row=1)


@recipe("micro-control")
def micro_control() -> Training:
    """Micro control: the same images, true captions and steps, no hallucinated captions."""
    return replace(micro_ohd_l0(), negatives="none")


@recipe("micro-shuffled")
def micro_shuffled() -> Training:
    """Micro control: every row with another row's image, so that only captions can be learnt from."""
    return replace(micro_ohd(), shuffle_images=True)
