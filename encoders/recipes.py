"""Ways to train an encoder, each a function that returns everything that matters."""

from __future__ import annotations

from dataclasses import replace

from encoders.training.settings import Training
from harness.registry import recipe


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
