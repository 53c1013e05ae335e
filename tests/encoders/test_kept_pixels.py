"""A picture file is decoded once for a preprocessing; what comes back are its pixels to the bit, never another's."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders.towers import pixels, shelf
from encoders.towers.kept_pixels import KeptPixels
from encoders.towers.shelf import Shelf
from harness import cached
from harness.errors import DataError, UsageError
from harness.images import name_of, open_image


def noise(path: Path, width: int, height: int, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(values).save(path)
    return path


WAYS = {
    "OpenAI's": pixels.HubPixels(pixels.openai(32)),
    "squashed, other mean": pixels.of_open_clip(
        {"size": 24, "mean": [0.5] * 3, "std": [0.2] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(8, 90), height=st.integers(8, 90), ending=st.sampled_from(["jpg", "png"]))
def test_kept_pixels_are_those_of_the_processor_to_the_bit(way, width, height, ending, tmp_path):
    paths = [noise(tmp_path / f"{n}.{ending}", width + n, height, n) for n in range(2)]
    expected = way([open_image(path) for path in paths])
    first, again = KeptPixels(way, tmp_path / "kept"), KeptPixels(way, tmp_path / "kept")
    assert torch.equal(first(paths), expected)
    assert torch.equal(again(paths), expected)
    moved = again.moved(paths)
    assert moved.levels.dtype == torch.uint8  # what is copied to a GPU
    assert torch.equal(moved[1:].to("cpu"), expected[1:])
    assert torch.equal(moved.to("cpu", torch.bfloat16), expected.to(torch.bfloat16))
    looked = [again.look(path) for path in paths]
    assert torch.equal(way(looked), expected)
    assert [name_of(image) for image in looked] == [name_of(open_image(path)) for path in paths]
    assert again.decoded == 0


def test_a_picture_that_changed_under_its_name_size_and_dates_is_decoded_anew(tmp_path):
    path = noise(tmp_path / "a.png", 20, 20)
    kept = KeptPixels(WAYS["OpenAI's"], tmp_path / "kept")
    kept([path])
    before = path.stat()
    data = noise(tmp_path / "b.png", 20, 20, 1).read_bytes()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert torch.equal(kept([path]), kept.pixels([open_image(path)]))
    assert kept.decoded == 2


def test_another_preprocessing_is_kept_apart(tmp_path):
    path = noise(tmp_path / "a.png", 20, 20)
    for way in WAYS.values():
        kept = KeptPixels(way, tmp_path / "kept")
        assert torch.equal(kept([path]), way([open_image(path)])) and kept.decoded == 1


def test_what_changed_on_the_disk_is_decoded_again(tmp_path):
    path = noise(tmp_path / "a.png", 20, 20)
    expected = KeptPixels(WAYS["OpenAI's"], tmp_path / "kept")([path])
    (pieces,) = (tmp_path / "kept").glob("*/pieces.bin")
    for damage in (b"\0" * pieces.stat().st_size, b""):
        pieces.write_bytes(damage)
        kept = KeptPixels(WAYS["OpenAI's"], tmp_path / "kept")
        assert torch.equal(kept([path]), expected) and kept.decoded == 1


def test_a_shelf_takes_no_more_than_its_size_and_gives_what_it_took(tmp_path):
    one = Shelf(tmp_path / "a", 10, 35)
    for n in range(3):
        one.put(str(n), np.full(10, n, np.uint8))
    with pytest.raises(OSError, match="are full"):
        one.put("3", np.full(10, 3, np.uint8))
    assert [n for n in range(5) if str(n) in one] == [0, 1, 2]
    assert all((one.get(str(n)) == n).all() for n in range(3))
    assert one.get("3") is None
    other = Shelf(tmp_path / "b", 10, 35)
    with pytest.raises(OSError, match="are full"):  # the size is that of all preprocessings together
        other.put("x", np.zeros(10, np.uint8))
    assert "x" not in other


def test_a_disk_that_is_nearly_full_is_left_its_rest_and_that_is_said_once(tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shelf, "SPARED", 5e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5_000_000_000))
    paths = [noise(tmp_path / f"{n}.png", 20, 20, n) for n in range(3)]
    kept = KeptPixels(WAYS["OpenAI's"], tmp_path / "kept")
    assert torch.equal(kept(paths), kept(paths)) and kept.decoded == 6
    assert [*(tmp_path / "kept").glob("*/pieces.bin")] == []
    (told,) = capsys.readouterr().err.splitlines()
    assert "pixels are not kept: less than 5 GB are free" in told


def test_two_that_write_at_once_hear_of_each_others_places(tmp_path):
    one, other = Shelf(tmp_path / "a", 4, 1e6), Shelf(tmp_path / "a", 4, 1e6)
    for n in range(6):
        (one, other)[n % 2].put(str(n), np.full(4, n, np.uint8))
    whole = Shelf(tmp_path / "a", 4, 1e6)
    assert [int(whole.get(str(n))[0]) for n in range(6)] == [*range(6)]


def test_nothing_is_kept_where_that_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_PIXELS", "0")
    path = noise(tmp_path / "a.png", 20, 20)
    kept = KeptPixels(WAYS["OpenAI's"], tmp_path / "kept")
    assert torch.equal(kept([path]), kept([path])) and kept.decoded == 2
    assert not (tmp_path / "kept").exists()
    monkeypatch.setenv("OHD_BENCH_PIXELS", "many")
    with pytest.raises(UsageError, match="no number of gigabytes"):
        KeptPixels(WAYS["OpenAI's"], tmp_path / "kept")


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.jpg cannot be read"):
        KeptPixels(WAYS["OpenAI's"], tmp_path / "kept")([tmp_path / "a.jpg"])


def test_the_cache_is_shown_and_cleared_by_kind_and_is_made_again(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    path = noise(tmp_path / "a.png", 20, 20)
    kept = KeptPixels(WAYS["OpenAI's"])
    expected = kept([path])
    (tmp_path / "cache" / "mine").mkdir()
    (tmp_path / "cache" / "mine" / "letter.txt").write_text("not ohd-bench's")
    (row,) = cli("data", "cache", "--json").json()["kinds"]
    assert (row["kind"], row["files"]) == ("pixels", 2) and row["bytes"] >= expected.numel()
    assert "pixels" in cli("data", "cache").out
    assert cli("data", "cache", "--clear", "pixel").code == 2
    assert cli("data", "cache", "--clear", "pixels", "--clear", "all").code == 0
    assert cli("data", "cache", "--json").json()["kinds"] == []
    assert (tmp_path / "cache" / "mine" / "letter.txt").exists()
    assert torch.equal(kept([path]), expected)
    assert torch.equal(KeptPixels(WAYS["OpenAI's"])([path]), expected)


def test_whatever_the_code_puts_into_the_cache_is_a_kind_that_can_be_seen_and_cleared():
    root = Path(cached.__file__).parents[1]
    code = [path for room in ("harness", "encoders", "tasks") for path in (root / room).rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in code]
    named = {name for text in texts for name in re.findall(r'cache_dir\(\) / f?"([^"{]+)', text)}
    assert {"micro" if name.startswith("micro-") else name for name in named} <= set(cached.KINDS)
