"""The alignment ladder: teach an LVLM's projector to read another tower, in closed form or by training on captions.

Legend: N patch tokens, C channels of the tower.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module

from harness import images as pictures
from harness import permissions
from harness.errors import DataError, DegenerateError, UsageError
from harness.rows import rows
from harness.types import Asked, Sample
from harness.vision_language import drift, identity
from harness.vision_language.layouts.merge import empty

CLOSED = ("stats", "ridge")
MOST_IMAGES = 512


@dataclass(frozen=True)
class Map:
    """A linear map ``x @ matrix + shift`` from a new tower's tokens to those that the projector knows."""

    matrix: Tensor
    shift: Tensor


def per_channel(new_NC: Tensor, own_NC: Tensor) -> Map:
    """The map that gives each channel of the new tower the mean and the spread of the own one's."""
    new, own = new_NC.double(), own_NC.double()
    scale = own.std(0) / new.std(0).clamp_min(1e-12)
    return Map(torch.diag(scale), own.mean(0) - new.mean(0) * scale)


def ridge(new_NC: Tensor, own_NC: Tensor, strength: float = 1e-3) -> Map:
    """The map nearest to the identity that takes new tokens to own ones in the least squares."""
    new, own = new_NC.double(), own_NC.double()
    centred, wanted = new - new.mean(0), own - own.mean(0)
    gram = centred.T @ centred
    pull = strength * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    matrix = torch.linalg.solve(gram + pull, centred.T @ wanted + pull)
    return Map(matrix, own.mean(0) - new.mean(0) @ matrix)


def folded(projector: Module, found: Map) -> dict[str, Tensor]:
    """The projector's weights with the map in its first layer: same shapes, nothing to compute more."""
    state = {name: tensor.detach().clone() for name, tensor in projector.state_dict().items()}
    weight, bias = state["linear_1.weight"], state["linear_1.bias"]
    wide = weight.double().cpu()
    state["linear_1.weight"] = (wide @ found.matrix.T).to(weight)
    state["linear_1.bias"] = (bias.double().cpu() + wide @ found.shift).to(bias)
    return state


def closed(host: Any, tower: Module, how: str, images: Sequence[Image]) -> dict[str, Tensor]:
    """Projector weights that read this tower nearly as the own one was read; from unlabelled images, no training."""
    if how not in CLOSED:
        raise UsageError(f"?align={how}: there is none, stats, ridge, projector:DIR and lora:DIR")
    new_NC, own_NC = (drift.tokens(host, one, images) for one in (tower, host.own))
    return folded(host.projector, (per_channel if how == "stats" else ridge)(new_NC, own_NC))


def unlabelled(where: str) -> list[Image]:
    """The images to align on: at most 512 of a folder, in the order of their names."""
    if not where:
        raise UsageError("?align=stats and ?align=ridge need unlabelled images: add &images=FOLDER")
    paths = sorted(path for path in Path(where).glob("**/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise DataError(f"there is no .jpg or .png under {where}")
    return [pictures.open_image(path) for path in paths[:MOST_IMAGES]]


# Training on captions


@dataclass(frozen=True)
class Plan:
    """How the projector is trained."""

    steps: int = 1000
    rate: float = 1e-3
    batch_size: int = 16
    lora_rank: int = 0
    seed: int = 0
    warmup: float = 0.03
    prompt: str = "Describe this image."

    def __post_init__(self) -> None:
        if not 0 < self.rate < float("inf"):
            raise UsageError(f"--rate {self.rate}: right would be a number above 0")


def train(host: Any, encoder: Any, captions: Path, out: Path, plan: Plan) -> dict[str, Any]:
    """Trains the projector (and a LoRA) behind the encoder's tower; writes both and what was done, gives the latter."""
    pairs = read_captions(captions)
    speaker = host(encoder)
    empty(out)
    speaker.look()
    torch.manual_seed(plan.seed)
    with _in_fp32(host.projector):
        model, trained = _trainable(host, plan)
        losses = _loop(model, trained, speaker, pairs, plan)
        option = _save(host, model, out, plan)
    told = {
        "option": option,
        "encoder": encoder.spec,
        "tower": speaker.digests()["tower"],
        "lvlm": host.spec.text,
        "captions": len(pairs),
        "first_loss": losses[0],
        "last_loss": sum(losses[-10:]) / len(losses[-10:]),
        "projector": identity.part_digest(host.projector),
        **asdict(plan),
    }
    (out / "align.json").write_text(json.dumps(told, indent=1) + "\n")
    return told


def read_captions(path: Path) -> list[tuple[Path, str]]:
    """Image and text of every line; DataError where one is lacking, or an image is missing or lies elsewhere."""
    found = [(path.parent / row.file_name("image"), row.text("text")) for row in rows(path)]
    pictures.check({image for image, _ in found}, str(path), path.parent)
    return found


@contextmanager
def _in_fp32(projector: Module) -> Iterator[None]:
    """The projector in fp32, reading what a tower of any precision hands it; afterwards in its own precision again."""
    dtype = next(projector.parameters()).dtype
    projector.float()
    hook = projector.register_forward_pre_hook(lambda module, given: (given[0].float(), *given[1:]))
    try:
        yield
    finally:
        hook.remove()
        projector.to(dtype)


def _trainable(host: Any, plan: Plan) -> tuple[Any, list[Tensor]]:
    """The model with only the projector (and the adapter) open to change."""
    host.model.requires_grad_(False)
    host.projector.requires_grad_(True)
    if not plan.lora_rank:
        return host.model, list(host.projector.parameters())
    import peft

    config = peft.LoraConfig(
        r=plan.lora_rank,
        lora_alpha=2 * plan.lora_rank,
        target_modules=r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj)",
    )
    model = peft.get_peft_model(host.model, config)
    host.projector.requires_grad_(True)
    return model, [weight for weight in model.parameters() if weight.requires_grad]


def _loop(model: Any, trained: list[Tensor], speaker: Any, pairs: list[tuple[Path, str]], plan: Plan) -> list[float]:
    optimizer = torch.optim.AdamW(trained, lr=plan.rate, weight_decay=0.0)
    warmup = max(1, int(plan.steps * plan.warmup))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))
    order = random.Random(plan.seed)
    losses = []
    for step in range(plan.steps):
        batch = [_example(speaker, *pairs[order.randrange(len(pairs))], plan) for _ in range(plan.batch_size)]
        loss = model(**_padded(batch, model.device)).loss
        if not torch.isfinite(loss):
            raise DegenerateError(f"align: the loss is not finite at step {step}")
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def _example(speaker: Any, image: Path, text: str, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, token ids, and labels that leave out the prompt."""
    page = speaker.request(Asked(pictures.open_image(image), (Sample("", None, "", prompt=plan.prompt),)))
    tokenizer = speaker.tokenizer
    prompt = list(page.prompts[0].tokens)
    answer = [*tokenizer(" " + text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return page.pixels, torch.tensor(prompt + answer), torch.tensor([-100] * len(prompt) + answer)


def _padded(batch: list[tuple[Tensor, Tensor, Tensor]], device: torch.device) -> dict[str, Tensor]:
    pixels, ids, labels = zip(*batch, strict=True)
    pad = torch.nn.utils.rnn.pad_sequence
    mask = [torch.ones_like(row) for row in ids]
    return {
        "pixel_values": torch.stack(pixels).to(device),
        "input_ids": pad(list(ids), batch_first=True).to(device),
        "attention_mask": pad(mask, batch_first=True).to(device),
        "labels": pad(list(labels), batch_first=True, padding_value=-100).to(device),
    }


def _save(host: Any, model: Any, out: Path, plan: Plan) -> str:
    """Writes what was trained; gives the LVLM option that lays it over."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in host.projector.state_dict().items()}
    save_file(weights, out / "projector.safetensors", metadata={"format": "pt"})
    if plan.lora_rank:
        model.save_pretrained(out)
    permissions.as_new(out)
    return f"projector={out}&lora={out}" if plan.lora_rank else f"projector={out}"
