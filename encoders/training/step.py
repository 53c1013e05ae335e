"""One step's loss and gradients: towers in chunks if need be, contrast over the whole batch and all processes.

Legend: B pairs, R replayed pairs, N = B + R images, T captions of all of them, K captions a pair, D features.

The loss is differentiated with respect to the rows first, and those gradients are then sent through the towers. So a
batch may pass through in chunks, and in several processes, with the gradients of the whole batch in one (GradCache).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from encoders.towers.eight_bit import EightBit
from encoders.training.loss import CONTRAST_ALONE, Margins, object_contrastive_loss
from encoders.training.towers import Captions

if TYPE_CHECKING:
    from encoders.training.settings import Training


@dataclass(frozen=True)
class Batch:
    """What goes through the towers in one step: ``pairs`` images with negatives, then those that are replayed."""

    pixels: Tensor | EightBit
    ids: list[list[list[int]]]
    """The token ids of each image's captions, the true one first."""
    pairs: int


class Terms(dict[str, float]):
    """The loss and its terms, as numbers for the log."""


def gradients(accelerator: Accelerator, towers: nn.Module, recipe: Training, batches: list[Batch]) -> Terms:
    """Adds the mean gradient of these batches to the towers' parameters; the loss they had."""
    total = Terms()
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        for name, value in _one(accelerator, towers, recipe, batch, (1 / len(batches), last)).items():
            total[name] = total.get(name, 0.0) + value / len(batches)
    return total


def _one(
    accelerator: Accelerator, towers: nn.Module, recipe: Training, batch: Batch, share: tuple[float, bool]
) -> Terms:
    weight, last = share
    chunks = list(_chunks(batch, recipe.chunk, accelerator.device))
    if len(chunks) == 1:
        with _sync(accelerator, towers, last):
            rows = towers(*chunks[0])
            terms, grads = _contrast(accelerator, recipe, batch, rows)
            _send(accelerator, rows, grads, weight)
        return terms
    # Two passes (GradCache): rows of the whole batch without a graph, the loss and its gradient in
    # these rows, then each chunk once more with a graph. Memory of one chunk, gradients of the whole batch.
    with torch.no_grad():
        parts = [towers(*chunk) for chunk in chunks]
    rows = (torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), parts[0][2])
    terms, (image_grad, text_grad, scale_grad) = _contrast(accelerator, recipe, batch, rows)
    image_at = text_at = 0
    for number, chunk in enumerate(chunks):
        final = number == len(chunks) - 1
        images, texts = len(chunk[0]), len(chunk[1].ids)
        grads = (
            image_grad[image_at : image_at + images],
            text_grad[text_at : text_at + texts],
            # The scale is one number for all chunks: its whole gradient goes once, with the last.
            scale_grad if final else torch.zeros_like(scale_grad),
        )
        with _sync(accelerator, towers, last and final):
            _send(accelerator, towers(*chunk), grads, weight)
        image_at, text_at = image_at + images, text_at + texts
    return terms


def _chunks(batch: Batch, size: int, device: torch.device) -> Iterator[tuple[Tensor, Captions]]:
    size = size or len(batch.ids)
    for start in range(0, len(batch.ids), size):
        ids = [one for row in batch.ids[start : start + size] for one in row]
        yield batch.pixels[start : start + size].to(device, non_blocking=True), Captions(ids)


def _sync(accelerator: Accelerator, towers: nn.Module, now: bool) -> contextlib.AbstractContextManager[object]:
    """Processes exchange gradients once, at the last backward pass of a step."""
    return contextlib.nullcontext() if now else accelerator.no_sync(towers)


Rows = tuple[Tensor, Tensor, Tensor]


def _send(accelerator: Accelerator, rows: Rows, grads: Rows, weight: float) -> None:
    """Sends the rows' gradients on through the towers: the sum's gradient in each row is the one given."""
    pairs = [(row, grad) for row, grad in zip(rows, grads, strict=True) if row.requires_grad]
    accelerator.backward(sum((row * grad * weight).sum() for row, grad in pairs))


def _contrast(accelerator: Accelerator, recipe: Training, batch: Batch, rows: Rows) -> tuple[Terms, Rows]:
    """The loss over all processes, and its gradients in the rows of this one."""
    image_ND, text_TD, scale = (row.detach().float().requires_grad_() for row in rows)
    text_BKD, valid_BK, replay_RD = _laid_out(batch, text_TD, recipe)
    mine = (image_ND[: batch.pairs], text_BKD, image_ND[batch.pairs :], replay_RD)
    everyones = [_gathered(accelerator, tensor) for tensor in mine]
    terms, value = _loss(recipe, everyones, _gathered(accelerator, valid_BK), scale)
    grads = torch.autograd.grad(value, (image_ND, text_TD, scale))
    # DDP averages over processes, each of which sends only its own rows' part of the one loss they all computed;
    # of the scale each has the whole gradient already.
    world = accelerator.num_processes
    return terms, (grads[0] * world, grads[1] * world, grads[2])


def _laid_out(batch: Batch, text_TD: Tensor, recipe: Training) -> tuple[Tensor, Tensor, Tensor]:
    """Captions by pair with a mask of those that exist, and the captions of the replayed."""
    width = 1 if recipe.negatives == "none" else 1 + recipe.negatives_per_row
    counts = torch.tensor([len(row) for row in batch.ids[: batch.pairs]], device=text_TD.device)
    valid_BK = torch.arange(width, device=text_TD.device) < counts.unsqueeze(1)
    end = int(counts.sum())
    text_BKD = text_TD.new_zeros(*valid_BK.shape, text_TD.shape[1]).masked_scatter(valid_BK.unsqueeze(2), text_TD[:end])
    return text_BKD, valid_BK, text_TD[end:]


def _gathered(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """The rows of all processes in their order, however many each has; this process's own keep their gradient."""
    if accelerator.num_processes == 1:
        return tensor
    counts = accelerator.gather(torch.tensor([len(tensor)], device=tensor.device)).tolist()
    most = max(counts)
    if not most:
        return tensor
    below = [0, 0] * (tensor.ndim - 1) + [0, most - len(tensor)]
    # A collective wants equal shapes; and it cuts the graph, so our own part is put back with its graph below.
    everyones = accelerator.gather(F.pad(tensor.detach(), below)).split(most)
    parts = [part[:count] for part, count in zip(everyones, counts, strict=True)]
    parts[accelerator.process_index] = tensor
    return torch.cat(parts)


def _loss(recipe: Training, rows: list[Tensor], valid_BK: Tensor, scale: Tensor) -> tuple[Terms, Tensor]:
    image_BD, text_BKD, replay_image_RD, replay_text_RD = rows
    margins = Margins(recipe.tau1, recipe.tau2, recipe.lambda1, recipe.lambda2, recipe.form, recipe.margin_units)
    found = object_contrastive_loss(image_BD, text_BKD, valid_BK, scale=scale, margins=margins)
    terms, value = Terms(l0=found.l0.item(), l1=found.l1.item(), l2=found.l2.item()), found.total
    if len(replay_image_RD):
        texts_R1D = replay_text_RD.unsqueeze(1)
        replay = object_contrastive_loss(replay_image_RD, texts_R1D, scale=scale, margins=CONTRAST_ALONE)
        terms["replay"] = replay.l0.item()
        value = value + recipe.replay * replay.l0
    terms["loss"] = value.item()
    return terms, value
