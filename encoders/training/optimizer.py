"""What moves the weights, and how far at each step."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from encoders.training.settings import Training


def optimizer(model: nn.Module, recipe: Training) -> AdamW:
    """AdamW with weight decay for matrices; none for biases, norms, the scale."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=recipe.lr)


def schedule(moved: AdamW, recipe: Training, steps: int) -> LambdaLR:
    """The learning rate: a line up, then half a cosine down to 0."""
    return LambdaLR(moved, partial(_warmed_cosine, recipe.warmup, steps))


def _warmed_cosine(warmup: int, steps: int, step: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
