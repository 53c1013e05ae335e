"""A quick recipe, and a handful of OHD-Caps rows with pictures."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from encoders.training.settings import Training

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220), "white": (250, 250, 250)}
THINGS = ("bird", "cup", "tree", "chair", "umbrella", "boat", "clock")


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")


def write_rows(folder: Path, split: str, count: int) -> None:
    """Plain colours with captions: 5 captions a row, the last two masked in every second row."""
    rng = Random(split)
    (folder / "ohd_caps" / "images").mkdir(parents=True, exist_ok=True)
    (folder / "ohd_caps" / split).mkdir(parents=True)
    rows = []
    for n in range(count):
        name, colour = f"{split}_{n}.png", rng.choice(list(COLOURS))
        Image.new("RGB", (40, 32), COLOURS[colour]).save(folder / "ohd_caps" / "images" / name)
        one, *others = rng.sample(THINGS, 5)
        captions = [f"a {colour} {one}", *(f"a {colour} {one} on a {other}" for other in others)]
        valid = [1, 1, 1, 1, 1] if n % 2 else [1, 1, 1, 0, 0]
        captions = [text if there else "###" for text, there in zip(captions, valid, strict=True)]
        order = rng.sample(range(5), 5)
        rows.append(
            {
                "image": name,
                "caption": [captions[i] for i in order],
                "valid_caption": [valid[i] for i in order],
                "label": order.index(0),
            }
        )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "ohd_caps" / split / f"{split}_data.json").write_text(text)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with 12 training rows, 6 dev rows, replay captions and two classes."""
    folder = tmp_path_factory.mktemp("ohd-data")
    write_rows(folder, "train", 12)
    write_rows(folder, "dev", 6)
    (folder / "web" / "images").mkdir(parents=True)
    web = []
    for n, (colour, paint) in enumerate(COLOURS.items()):
        Image.new("RGB", (32, 32), paint).save(folder / "web" / "images" / f"{n}.png")
        web.append({"image": f"{n}.png", "caption": f"all {colour}"})
        (folder / "zero_shot" / colour).mkdir(parents=True)
        Image.new("RGB", (32, 32), paint).save(folder / "zero_shot" / colour / "1.png")
    (folder / "web" / "captions.json").write_text("".join(json.dumps(row) + "\n" for row in web))
    return folder


@pytest.fixture(scope="session")
def recipe() -> Training:
    """Four quick steps from the shipped micro CLIP."""
    return Training(base="micro", batch=4, steps=4, lr=1e-3, warmup=1, save_every=2, evaluate_every=2)
