"""``show sample`` shows the picture: in colours on a terminal, else as a small file that it names."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from harness.report import picture


def test_half_blocks_are_two_pixels_a_letter() -> None:
    image = Image.new("RGB", (4, 4), (255, 0, 0))
    image.paste((0, 0, 255), (0, 2, 4, 4))
    shown = picture.blocks(image, 2)
    assert shown.plain == "▀▀\n"
    style = shown.spans[0].style
    assert style.color.triplet.red > style.bgcolor.triplet.red and style.bgcolor.triplet.blue > style.color.triplet.blue
    assert max(map(len, picture.blocks(image, 500).plain.splitlines())) == picture.WIDEST


def test_where_nobody_looks_at_a_terminal_a_small_copy_is_saved_and_named(cli, monkeypatch, tmp_path: Path) -> None:
    from harness.data import micro

    world = micro()
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path))
    said = cli("show", "sample", "pope", "--data", world)
    assert said.code == 0 and said.json()["image"]
    (small,) = (tmp_path / "shown").iterdir()
    assert str(small) in said.err
    with Image.open(small) as image:
        assert max(image.size) <= picture.SIDE
