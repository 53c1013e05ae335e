"""Pictures are opened as the formats benchmarks use; whatever else lies under their name is one failed sample."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps, features

from harness import digest
from harness.errors import DataError
from harness.export import inspect
from harness.export.rows import of_run
from harness.images import FORMATS, ImageError, crop, find, for_a_page, image_digest, lies_inside, open_image
from harness.store import Run

BENCHMARKS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "PPM": ".ppm", "BMP": ".bmp", "GIF": ".gif"}
OTHERS = (*(["AVIF"] if features.check("avif") else []), "BLP", "DDS", "ICO", "JPEG2000", "PCX", "SGI", "TGA", "TIFF")


def saved(kind: str) -> bytes:
    kept = io.BytesIO()
    image = Image.new("RGB", (12, 10), "red")
    (image.convert("P") if kind == "BLP" else image).save(kept, kind)
    return kept.getvalue()


def shown_in_a_page(path) -> Image.Image:
    """What a browser shows of the bytes that are put into a page: turned by EXIF, on white."""
    kind, data = for_a_page(path)
    assert kind.removeprefix("image/") in ("jpeg", "png", "webp", "gif")
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown.convert("RGBA")).convert("RGB")


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims this size, and that holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_formats_of_benchmarks_are_opened_whatever_the_file_is_called(tmp_path, kind):
    path = tmp_path / "1.jpg"
    path.write_bytes(saved(kind))
    assert open_image(path).size == (12, 10)
    assert shown_in_a_page(path).size == (12, 10)
    assert set(BENCHMARKS) == set(FORMATS)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_never_tried(tmp_path, kind):
    path = tmp_path / "1.jpg"
    path.write_bytes(saved(kind))
    with pytest.raises(ImageError, match=r"1\.jpg cannot be read as an image"):
        open_image(path)


@given(kind=st.sampled_from((*FORMATS, *OTHERS)), data=st.data())
def test_damaged_bytes_are_a_picture_or_an_image_error(tmp_path_factory, kind, data):
    whole = saved(kind)
    cut = data.draw(st.integers(0, len(whole)))
    noise = data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8))
    changed = bytearray(whole)
    for at, value in noise:
        changed[at] = value
    path = tmp_path_factory.mktemp("image") / "1.jpg"
    path.write_bytes(bytes(changed[:cut]) if data.draw(st.booleans()) else bytes(changed))
    for read in (open_image, for_a_page):
        try:
            read(path)
        except ImageError as error:
            told = str(error)
            assert told.startswith("1.jpg ")


@pytest.mark.parametrize(
    "size", [(10_000, 9_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1), (60_000, 1), (1, 201), (20_001, 500)]
)
def test_a_decompression_bomb_is_not_decoded(tmp_path, size):
    path = tmp_path / "1.png"
    path.write_bytes(png_of(*size))
    with pytest.raises(ImageError):
        open_image(path)


@pytest.mark.parametrize("kind", [*OTHERS[:2], "bomb", "folder", "pipe"])
def test_one_picture_that_cannot_be_opened_costs_its_own_samples_and_the_run_goes_on(cli, bench, kind):
    import os

    path = bench.data / "squares" / "blue1.png"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(png_of(20_000, 20_000) if kind == "bomb" else saved(kind))
    said = cli(*bench.words(), "--json")
    if kind in ("folder", "pipe"):  # no file at all: named before anything is asked
        assert (said.code, "blue1.png" in said.err) == (3, True)
        return
    assert said.code == 1
    row = next(row for row in said.json()["rows"] if row["group"] == "all")
    assert row["values"][0]["n"] == 15


@given(st.lists(st.sampled_from(["..", ".", "a", "data", "x.jpg", "", "~"]), max_size=6).map("/".join), st.booleans())
def test_no_name_leads_out_of_the_folder_unseen(tmp_path_factory, name, absolute):
    root = tmp_path_factory.mktemp("root")
    folder = root / "data"
    folder.mkdir()
    named = find(str(root / name) if absolute else name or "x", folder)
    resolved = Path(named).resolve()
    assert lies_inside(named, folder) == (resolved == folder.resolve() or folder.resolve() in resolved.parents)


def test_a_picture_that_does_not_decode_is_named_in_an_export_and_never_put_inside(cli, bench):
    cli(*bench.words())
    squares = bench.data / "squares"
    (bench.root / "secret.txt").write_text("a secret")
    (squares / "red0.png").unlink()
    (squares / "red0.png").symlink_to(bench.root / "secret.txt")
    (squares / "red2.png").write_bytes(b"another secret")
    outside = bench.root / "outside.png"
    Image.new("RGB", (8, 8), "blue").save(outside, "JPEG")
    (squares / "blue1.png").unlink()
    (squares / "blue1.png").symlink_to(outside)
    run = Run(next(bench.results.glob("*/run.json")).parent)
    (asked,) = of_run(run, bench.data)
    for fence, inside in ((bench.data, False), (None, True)):  # --allow-outside takes the fence away
        pictures = inspect.Pictures(None, fence)
        log = inspect.log(run, asked, pictures)
        told = " ".join(pictures.left_out)
        assert "red2.png cannot be read" in told and ("blue1.png lies outside" in told) != inside
        with pytest.raises(DataError, match=r"sample 'red2-0': red2\.png cannot be read"):
            inspect.log(run, asked, inspect.Pictures(frozenset(["red2-0"]), fence))
        shown = {}
        for one in log["samples"]:
            picture = one["input"][0]["content"][0]["image"]
            shown[one["metadata"]["image"]] = one["attachments"].get(picture.removeprefix("attachment://"), picture)
        assert shown["red0.png"] == "red0.png" and shown["red2.png"] == "red2.png"
        assert shown["blue3.png"].startswith("data:image/png;base64,")
        assert shown["blue1.png"].startswith("data:image/jpeg;base64,") == inside  # by its bytes, not by its name
        assert base64.b64encode(b"secret").decode() not in json.dumps(log)


ODD = {
    "rotated by EXIF": ("RGB", "JPEG", {"exif": "turned"}),
    "CMYK": ("CMYK", "JPEG", {}),
    "grey": ("L", "JPEG", {}),
    "half transparent": ("RGBA", "PNG", {}),
    "half transparent grey": ("LA", "PNG", {}),
    "a palette": ("P", "PNG", {}),
    "a palette with a hole": ("P", "PNG", {"transparency": 0}),
    "two colours": ("1", "PNG", {}),
    "a PPM": ("RGB", "PPM", {}),
    "a BMP": ("RGB", "BMP", {}),
    "transparent WebP": ("RGBA", "WEBP", {"lossless": True}),
}


@pytest.mark.parametrize(("mode", "kind", "how"), ODD.values(), ids=ODD)
def test_a_page_shows_the_picture_that_the_model_saw(tmp_path, mode, kind, how):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    pixels = pixels[:40]
    image = Image.fromarray(pixels, "RGBA") if "A" in mode else Image.fromarray(pixels[..., :3]).convert(mode)
    image = image.convert(mode)
    if how.get("exif"):
        turned = Image.Exif()
        turned[ExifTags.Base.Orientation] = 6
        how = {"exif": turned}
    path = tmp_path / "odd"
    image.save(path, kind, **how)
    assert np.array_equal(shown_in_a_page(path), open_image(path))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_grey_of_more_than_eight_bits_is_refused_and_not_made_white(tmp_path, dtype):
    path = tmp_path / "1.ppm"
    Image.fromarray(np.linspace(0, 60_000, 64).reshape(8, 8).astype(dtype)).save(path, "PPM")
    with pytest.raises(ImageError, match=r"^1\.ppm is grey in more than 8 bits"):
        open_image(path)


def test_a_digest_is_that_of_the_file_as_it_lies_there_now(tmp_path):
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    path.write_bytes(b"one")
    told = path.stat()
    assert image_digest(path) == digest.of_bytes(b"one")
    other.write_bytes(b"two")  # a file of its own, put in the place of the first, its size and date the same
    os.utime(other, ns=(told.st_atime_ns, told.st_mtime_ns))
    other.replace(path)
    assert image_digest(path) == digest.of_bytes(b"two")
    time.sleep(0.02)  # a file system dates no finer than by some milliseconds
    path.write_bytes(b"six")
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert image_digest(path) == digest.of_bytes(b"six")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        image_digest(path)


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path, monkeypatch):
    path, read = tmp_path / "a.png", []
    path.write_bytes(b"one")
    monkeypatch.setattr(digest, "of_file", lambda path: read.append(path) or "digest")
    assert [image_digest(path) for _ in range(3)] == ["digest"] * 3 and len(read) == 1


def part(path: Path, folder: Path) -> bytes:
    """The pixels of the picture's part."""
    out = crop(path, (1, 1, 5, 4), folder)
    assert out.name == f"{path.stem}_1_1_5_4.png" and lies_inside(out, folder)
    return open_image(out).tobytes()


def test_a_part_is_that_of_the_picture_that_lies_there(tmp_path):
    expected = {}
    for n, name in enumerate(("one.jpg", "one.png", "one.jpg")):  # the last in the place of the first
        picture = Image.effect_noise((9, 8), 50 + n).convert("RGB")
        picture.save(tmp_path / name, "PNG")
        expected[name] = picture.crop((1, 1, 5, 4)).tobytes()
        assert part(tmp_path / name, tmp_path / "crops") == expected[name]
    assert {name: part(tmp_path / name, tmp_path / "crops") for name in expected} == expected
    assert len([*(tmp_path / "crops").rglob("*.png")]) == 3


@pytest.mark.parametrize("damage", [b"", b"\x89PNG", "half"])
def test_a_part_that_was_half_written_is_made_again(tmp_path, damage):
    Image.effect_noise((9, 8), 50).convert("RGB").save(tmp_path / "a.png")
    out = crop(tmp_path / "a.png", (1, 1, 5, 4), tmp_path / "crops")
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    assert crop(tmp_path / "a.png", (1, 1, 5, 4), tmp_path / "crops") == out and out.read_bytes() == whole


def test_a_part_of_what_is_no_picture_is_the_file_itself_and_one_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"none")
    for name in ("a.jpg", "b.jpg"):
        assert crop(tmp_path / name, (1, 1, 5, 4), tmp_path / "crops") == tmp_path / name
    Image.new("RGB", (9, 8)).save(tmp_path / "c.png")
    (tmp_path / "crops").write_text("in the way")
    with pytest.raises(DataError, match=r"a part of c\.png cannot be written"):
        crop(tmp_path / "c.png", (1, 1, 5, 4), tmp_path / "crops")
