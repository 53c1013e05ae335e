"""The shipped micro encoders: small, loadable without a download, and each what its name says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from encoders.micro import WEIGHTS
from harness import micro, registry
from harness.errors import UsageError
from harness.images import open_image
from harness.lvlms.micro import WEIGHTS as LLAVA
from harness.micro.classes import CLASSES, article
from harness.micro.folder import Sizes
from harness.types import Encoder, Place

NAMES = ("micro", "micro-ohd", "micro-plain")


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    registry.load()
    return {name: registry.make_encoder(name, Place("cpu")) for name in NAMES}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("micro")
    micro.write(folder, seed=5, sizes=Sizes(amber=1, caps=40, dev=1, train=1, web=1, pope=1, zero_shot=4))
    return folder


def top1(encoder: Encoder, world: Path) -> float:
    rows = [
        json.loads(line)
        for source in ("coco", "flickr", "nocaps")
        for line in (world / "ohd_caps" / "test" / f"{source}_out_label.json").read_text().splitlines()
    ]
    images = encoder.encode_images([open_image(world / "ohd_caps" / "images" / row["image"]) for row in rows])
    texts = encoder.encode_texts([text for row in rows for text in row["caption"]]).unflatten(0, (len(rows), 28))
    scores = torch.einsum("bd,bkd->bk", images, texts)
    true = scores[torch.arange(len(rows)), torch.tensor([row["label"] for row in rows])]
    return ((scores >= true[:, None]).sum(1) == 1).float().mean().item()


def zero_shot(encoder: Encoder, world: Path) -> float:
    texts = encoder.encode_texts([f"a picture of {article(name)}" for name in CLASSES])
    right = []
    for place, name in enumerate(CLASSES):
        images = [open_image(path) for path in sorted((world / "zero_shot" / name).glob("*.jpg"))]
        right += ((encoder.encode_images(images) @ texts.T).argmax(1) == place).tolist()
    return sum(right) / len(right)


def test_all_weights_together_are_below_ten_megabytes() -> None:
    files = [path for root in (WEIGHTS, LLAVA) for path in root.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} >= {*NAMES, "projectors"}
    assert sum(path.stat().st_size for path in files) < 10_000_000


def test_the_three_are_three_models(encoders: dict[str, Encoder]) -> None:
    assert len({encoder.digest() for encoder in encoders.values()}) == 3


def test_tuning_with_hallucinated_captions_helps_on_scenes_never_seen(
    encoders: dict[str, Encoder], world: Path
) -> None:
    found = {name: top1(encoder, world) for name, encoder in encoders.items()}
    assert found["micro"] > 0.2  # chance is 1/28
    assert found["micro-ohd"] > found["micro"]
    assert found["micro-ohd"] > found["micro-plain"]


def test_single_objects_are_still_recognised_after_tuning(encoders: dict[str, Encoder], world: Path) -> None:
    found = {name: zero_shot(encoder, world) for name, encoder in encoders.items()}
    assert min(found.values()) > 0.5  # chance is 1/28
    assert found["micro-ohd"] > found["micro"] - 0.05


def test_a_shipped_encoder_has_no_other_place() -> None:
    registry.load()
    with pytest.raises(UsageError, match="clip:FOLDER"):
        registry.make_encoder("micro:elsewhere", Place("cpu"))
