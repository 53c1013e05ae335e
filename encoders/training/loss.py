"""The fine-grained object-level contrastive loss of arXiv 2410.03176, as published and as released.

Legend: B pairs, K captions an image (the true one first), N = K - 1 hallucinated captions, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Form = Literal["paper", "released"]
Units = Literal["logit", "cosine"]


@dataclass(frozen=True)
class Margins:
    """The published knobs: how far captions must lead (tau), what that weighs (lambda), as published or as released.

    tau1 and lambda1 belong to the true caption's lead over every other, tau2 and lambda2 to a hallucinated caption's
    lead over other images' captions. ``units`` are those of both taus: logits, or cosines, without the scale.
    """

    tau1: float = 2.0
    tau2: float = 2.0
    lambda1: float = 0.1
    lambda2: float = 0.1
    form: Form = "paper"
    units: Units = "logit"

    def __post_init__(self) -> None:
        if self.form not in ("paper", "released") or self.units not in ("logit", "cosine"):
            raise ValueError(f"no form '{self.form}' with margins in '{self.units}' units")


PUBLISHED = Margins()
"""The paper's own."""
CONTRAST_ALONE = Margins(lambda1=0.0, lambda2=0.0)


class ObjectContrast(NamedTuple):
    """The loss and the three terms it is the weighted sum of."""

    total: Tensor
    l0: Tensor
    l1: Tensor
    l2: Tensor


class _Scores(NamedTuple):
    """``batch_BB[i, j]`` of image i and true caption j; ``false_BN`` of an image and its own hallucinated captions."""

    batch_BB: Tensor
    false_BN: Tensor
    valid_BN: Tensor


def object_contrastive_loss(
    image_BD: Tensor,
    text_BKD: Tensor,
    valid_BK: Tensor | None = None,
    *,
    scale: Tensor | float,
    margins: Margins = PUBLISHED,
) -> ObjectContrast:
    """The loss of unit rows whose caption 0 is the true one; ``valid_BK`` says which captions exist.

    Half-precision rows are scored in float32. Margins in ``cosine`` units leave the scale out of both margin terms.
    """
    scores = _scores(image_BD, text_BKD, valid_BK)
    logits = scores._replace(batch_BB=scores.batch_BB * scale, false_BN=scores.false_BN * scale)
    leads = logits if margins.units == "logit" else scores
    if margins.form == "paper":
        l0, l1, l2 = _paper_l0(logits), _paper_l1(leads, margins.tau1), _paper_l2(leads, margins.tau2)
    else:
        logits, leads = _masked_to_zero(logits), _masked_to_zero(leads)
        l0, l1, l2 = _released_l0(logits), _released_l1(leads, margins.tau1), _released_l2(leads, margins.tau2)
    return ObjectContrast(l0 + margins.lambda1 * l1 + margins.lambda2 * l2, l0, l1, l2)


def _scores(image_BD: Tensor, text_BKD: Tensor, valid_BK: Tensor | None) -> _Scores:
    if image_BD.dtype in (torch.float16, torch.bfloat16):
        image_BD = image_BD.float()
    text_BKD = text_BKD.to(image_BD.dtype)
    with torch.autocast(image_BD.device.type, enabled=False):
        batch_BB = image_BD @ text_BKD[:, 0].T
        false_BN = torch.einsum("bd,bnd->bn", image_BD, text_BKD[:, 1:])
    valid_BN = torch.ones_like(false_BN, dtype=torch.bool) if valid_BK is None else valid_BK[:, 1:].bool()
    return _Scores(batch_BB, false_BN, valid_BN)


def _paper_l0(s: _Scores) -> Tensor:
    """InfoNCE both ways, the hallucinated captions in the rows of their image; a masked one is not in the sum."""
    target_B = torch.arange(len(s.batch_BB), device=s.batch_BB.device)
    rows = torch.cat([s.batch_BB, s.false_BN.masked_fill(~s.valid_BN, float("-inf"))], dim=1)
    return (F.cross_entropy(rows, target_B) + F.cross_entropy(s.batch_BB.T, target_B)) / 2


def _paper_l1(s: _Scores, tau: float) -> Tensor:
    """The true caption leads every other caption by tau."""
    true_B1 = s.batch_BB.diagonal().unsqueeze(1)
    rival = torch.cat([s.batch_BB, s.false_BN], dim=1)
    counted = torch.cat([_others(s.batch_BB), s.valid_BN], dim=1)
    return _mean(F.relu(tau - true_B1 + rival), counted)


def _paper_l2(s: _Scores, tau: float) -> Tensor:
    """A hallucinated caption, which shares content with its image, leads the captions of other images by tau."""
    excess_BNB = F.relu(tau - s.false_BN.unsqueeze(2) + s.batch_BB.unsqueeze(1))
    return _mean(excess_BNB, s.valid_BN.unsqueeze(2) & _others(s.batch_BB).unsqueeze(1))


def _masked_to_zero(s: _Scores) -> _Scores:
    # The released code multiplies a masked caption's logit by 0, so that it stays in the softmax as e^0.
    return s._replace(false_BN=s.false_BN * s.valid_BN)


def _released_l0(s: _Scores) -> Tensor:
    """InfoNCE both ways, the hallucinated captions in the rows of their true caption."""
    target_B = torch.arange(len(s.batch_BB), device=s.batch_BB.device)
    rows = torch.cat([s.batch_BB.T, s.false_BN], dim=1)
    return (F.cross_entropy(s.batch_BB, target_B) + F.cross_entropy(rows, target_B)) / 2


def _released_l1(s: _Scores, tau: float) -> Tensor:
    """The true caption leads other images' match with it, and the hallucinated ones, by tau; masked ones divide too."""
    true_B1 = s.batch_BB.diagonal().unsqueeze(1)
    rival = torch.cat([s.batch_BB.T, s.false_BN], dim=1)
    excess = F.relu(tau - true_B1 + rival) * torch.cat([_others(s.batch_BB), s.valid_BN], dim=1)
    return excess.sum() / max(rival.numel() - len(rival), 1)


def _released_l2(s: _Scores, tau: float) -> Tensor:
    """Of the opposite sign to the equation: a hallucinated caption stays tau below the hardest other image."""
    if len(s.batch_BB) == 1 or not s.false_BN.numel():
        return s.batch_BB.sum() * 0
    hardest_B1 = s.batch_BB.T.masked_fill(~_others(s.batch_BB), float("-inf")).amax(dim=1, keepdim=True)
    return (F.relu(tau + s.false_BN - hardest_B1) * s.valid_BN).sum() / s.false_BN.numel()


def _others(batch_BB: Tensor) -> Tensor:
    return ~torch.eye(len(batch_BB), dtype=torch.bool, device=batch_BB.device)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean over what is counted; nothing counted is 0, as in the paper."""
    return (values * counted).sum() / counted.sum().clamp(min=1)
