"""What a candidate is worth while it trains: OHD-Caps rows, classes not to forget, and how far its eye has moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from encoders.towers.clip_encoder import ClipEncoder
from encoders.training.dataset import Pair
from harness import class_folders
from harness.errors import DataError, UsageError

AT_ONCE = 32

Check = Callable[[], None]
"""What raises where a look is to be broken off."""


def ohd_accuracy(encoder: ClipEncoder, found: Sequence[Pair], go_on: Check) -> float:
    """Percent of rows whose true caption is strictly first: ties count against the model."""
    right = 0
    for start in range(0, len(found), AT_ONCE):
        go_on()
        some = found[start : start + AT_ONCE]
        image_BD = encoder.encode_files([pair.image for pair in some])
        text_TD = encoder.encode_texts([text for pair in some for text in pair.captions])
        texts = text_TD.split([len(pair.captions) for pair in some])  # type: ignore[no-untyped-call]
        for image_D, text_KD in zip(image_BD, texts, strict=True):
            own, *rivals = (text_KD @ image_D).tolist()
            right += all(own > rival for rival in rivals)
    return 100 * right / len(found)


class ZeroShot:
    """Pictures in class folders, and a caption for each class."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder of class folders to watch for forgetting")
        sets = class_folders.read(folder)
        if len(sets) > 1 or sets[0].name:
            raise DataError(f"{folder} holds sets of classes; name one of them with zero_shot=FOLDER")
        self.texts, self.pictures = list(sets[0].captions), sets[0].pictures

    def accuracy(self, encoder: ClipEncoder, go_on: Check) -> float:
        """Percent of pictures whose class is strictly first."""
        text_CD = encoder.encode_texts(self.texts)
        right = 0
        for start in range(0, len(self.pictures), AT_ONCE):
            go_on()
            some = self.pictures[start : start + AT_ONCE]
            score_BC = encoder.encode_files([path for path, _ in some]) @ text_CD.T
            own_B1 = score_BC.gather(1, torch.tensor([[number] for _, number in some]))
            right += int(((score_BC >= own_B1).sum(1) == 1).sum())
        return 100 * right / len(self.pictures)


@torch.no_grad()
def patches(encoder: ClipEncoder, images: Sequence[Path]) -> Tensor:
    """What an LVLM would read of these images: the patch tokens of the last hidden state but one."""
    weight = encoder.model.visual_projection.weight
    pixels = encoder.files.moved(images).to(weight.device, weight.dtype)
    states = encoder.model.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states
    return states[-2][:, 1:].float().cpu()  # type: ignore[no-any-return]


def drift(before: Tensor, after: Tensor) -> dict[str, float]:
    """How far patch tokens have moved: mean cosine, and mean distance relative to the length before."""
    cosine = torch.nn.functional.cosine_similarity(before, after, dim=-1).mean().item()
    distance = ((after - before).norm(dim=-1) / before.norm(dim=-1)).mean().item()
    return {"drift_cosine": cosine, "drift_l2": distance}


class Looks:
    """The looks at a candidate: the same rows, classes and images each time."""

    def __init__(self, base: ClipEncoder, dev: Sequence[Pair], zero_shot: ZeroShot | None, images: int = 64) -> None:
        self.dev = dev
        self.zero_shot = zero_shot
        self.images = [pair.image for pair in dev[:images]]
        self.before = patches(base, self.images)

    def __call__(self, encoder: ClipEncoder, go_on: Check) -> dict[str, float]:
        """``ohd_dev`` and ``zero_shot`` in percent, and the drift from the base; ``go_on`` may break it off."""
        found = {"ohd_dev": ohd_accuracy(encoder, self.dev, go_on)}
        if self.zero_shot:
            found["zero_shot"] = self.zero_shot.accuracy(encoder, go_on)
        return found | drift(self.before, patches(encoder, self.images))
