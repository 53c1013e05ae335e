"""A picture file is decoded once for a preprocessing; what comes back are its pixels to the bit, never another's."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from encoders.towers import hub, pixels, shelf
from encoders.towers.kept_pixels import KeptPixels
from encoders.towers.shelf import Shelf
from harness import cached
from harness.data import micro
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


SIDES = st.integers(8, 48)
SIZES = st.one_of(
    st.builds(lambda edge: {"shortest_edge": edge}, SIDES),
    st.builds(lambda height, width: {"height": height, "width": width}, SIDES, SIDES),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=SIZES,
    crop=st.builds(lambda height, width: {"height": height, "width": width}, SIDES, SIDES),
    crops=st.booleans(),
    resample=st.sampled_from([0, 1, 2, 3]),
    wide=st.integers(8, 90),
    high=st.integers(8, 90),
)
@example(size={"shortest_edge": 48}, crop={"height": 32, "width": 32}, crops=True, resample=3, wide=60, high=40)
@example(size={"shortest_edge": 20}, crop={"height": 32, "width": 32}, crops=True, resample=3, wide=60, high=40)
@example(size={"height": 40, "width": 48}, crop={"height": 32, "width": 32}, crops=True, resample=3, wide=60, high=40)
@example(size={"shortest_edge": 32}, crop={"height": 32, "width": 48}, crops=True, resample=3, wide=60, high=40)
def test_what_is_looked_at_gives_the_pixels_of_the_whole_whatever_the_processor(
    size, crop, crops, resample, wide, high, tmp_path
):
    way = pixels.HubPixels(CLIPImageProcessorPil(size=size, crop_size=crop, do_center_crop=crops, resample=resample))
    path = noise(tmp_path / "a.png", wide, high)
    shutil.rmtree(tmp_path / "kept", ignore_errors=True)
    expected, whole = way([open_image(path)]), name_of(open_image(path))
    for _ in range(2):  # the second time it is kept, where it is
        kept = KeptPixels(way, tmp_path / "kept")
        looked = kept.look(path)
        assert torch.equal(way([looked]), expected)
        assert name_of(looked) == whole
        assert torch.equal(kept([path]), expected)


@pytest.mark.parametrize("size", [{"shortest_edge": 96}, {"shortest_edge": 40}, {"height": 80, "width": 96}])
def test_a_run_whose_crop_is_not_what_is_resized_to_gives_the_records_of_one_that_decodes(
    cli, tmp_path, monkeypatch, size
):
    world = micro()
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(Path(hub.__file__).parents[1] / "micro" / "weights" / "micro", tmp_path / "model")
    told = tmp_path / "model" / "preprocessor_config.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"size": size}))
    words = ["-e", f"clip:{tmp_path / 'model'}", "--data", world, "--limit", 4, "-t", "ohd-caps", "-t", "retrieval"]
    found = []
    for n, most in enumerate(("1", "0", "1")):  # the last of what the others kept
        monkeypatch.setenv("OHD_BENCH_PIXELS", most)
        if n == 1:
            shutil.rmtree(tmp_path / "cache" / "features")
        assert cli("run", *words, "--results", tmp_path / str(n)).code == 0
        found.append([path.read_bytes() for path in sorted((tmp_path / str(n)).glob("*/*/records.jsonl"))])
    assert len(found[0]) == 2 and found[0] == found[1] == found[2]


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


@pytest.mark.parametrize("place", [-1, "x", 2**40, 2.5, None, b"x"])
def test_a_place_that_nothing_can_have_is_none(tmp_path, place):
    first = Shelf(tmp_path / "a", 4, 1e6)
    for n in range(3):
        first.put(str(n), np.full(4, n, np.uint8))
    with closing(sqlite3.connect(tmp_path / "a" / "list.sqlite")) as told:
        told.execute("update pieces set place = ? where name = '1'", (place,))
        told.commit()
    again = Shelf(tmp_path / "a", 4, 1e6)
    assert again.get("1") is None
    for n in (1, 3):
        again.put(str(n), np.full(4, n, np.uint8))
    assert [int(Shelf(tmp_path / "a", 4, 1e6).get(str(n))[0]) for n in range(4)] == [*range(4)]


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
