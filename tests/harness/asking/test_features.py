"""Image features are encoded once for a tower, an image and a preprocessing, and come back to the bit."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import torch
from PIL import Image

from harness import cached
from harness.asking.features import ImageFeatures

RED, BLUE = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")


class Counting:
    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return torch.tensor([[image.getpixel((0, 0))[0] / 3, 0.1] for image in images])


def test_known_images_are_not_encoded_again(tmp_path):
    encode = Counting()
    first = ImageFeatures("tower", {"size": 224}, tmp_path).of([RED, BLUE, RED], encode)
    assert encode.seen == 2
    again = ImageFeatures("tower", {"size": 224}, tmp_path).of([BLUE, RED, RED], encode)
    assert encode.seen == 2
    assert torch.equal(again, first[[1, 0, 2]])


def test_another_tower_or_preprocessing_is_another_cache(tmp_path):
    encode = Counting()
    for tower, size in (("tower", 224), ("other", 224), ("tower", 336)):
        ImageFeatures(tower, {"size": size}, tmp_path).of([RED], encode)
    assert encode.seen == 3


def test_images_of_equal_bytes_and_another_shape_are_told_apart(tmp_path):
    encode = Counting()
    cache = ImageFeatures("tower", {}, tmp_path)
    cache.of([Image.new("RGB", (2, 8)), Image.new("RGB", (8, 2))], encode)
    assert encode.seen == 2


def test_a_row_is_never_taken_from_another_batch_and_is_the_same_in_whatever_order_it_is_asked_for(tmp_path):
    def beside(images):
        return torch.full((len(images), 2), float(len(images))) + torch.arange(len(images))[:, None]

    green = Image.new("RGB", (4, 4), "green")
    cache = ImageFeatures("tower", {}, tmp_path)
    two, three = cache.of([RED, BLUE], beside), cache.of([RED, BLUE, green], beside)
    assert not torch.equal(two, three[:2])
    again = ImageFeatures("tower", {}, tmp_path)
    assert torch.equal(again.of([BLUE, RED], beside), two[[1, 0]])
    assert torch.equal(again.of([green, RED, BLUE], beside), three[[2, 0, 1]])


def test_a_row_that_is_not_as_it_was_kept_is_encoded_again_and_kept_anew(tmp_path):
    encode = Counting()
    first = ImageFeatures("tower", {}, tmp_path).of([RED, BLUE], encode)
    (path,) = tmp_path.glob("*.sqlite")
    for change in (
        "row = zeroblob(8)",
        "row = x'00'",
        "row = 'text'",
        "row = null",
        "seal = null",
        "name = name || 'x'",
    ):
        with closing(sqlite3.connect(path)) as file:
            file.execute(f"update kept set {change}")
            file.commit()
        before = encode.seen
        for expected in (before + 2, before + 2):
            assert torch.equal(ImageFeatures("tower", {}, tmp_path).of([RED, BLUE], encode), first)
            assert encode.seen == expected


def test_a_run_on_kept_pixels_gives_the_records_of_one_that_decodes(cli, world, tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    asked = ["-e", "micro", "--data", world, "--limit", 6, "-t", "zero-shot", "-t", "retrieval"]
    found = []
    for n, most in enumerate(("0", "1", "1")):  # decoded; decoded and kept; kept
        monkeypatch.setenv("OHD_BENCH_PIXELS", most)
        shutil.rmtree(tmp_path / "cache" / "features", ignore_errors=True)
        assert cli("run", *asked, "--results", tmp_path / str(n)).code == 0
        found.append([path.read_bytes() for path in sorted((tmp_path / str(n)).glob("*/*/records.jsonl"))])
    assert len(found[0]) == 2 and found[0] == found[1] == found[2]
    assert any(one.kind == "pixels" for one in cached.held())
