"""``run --available`` asks about the pictures that are there, and the run is that part and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import micro
from harness.micro.folder import Sizes


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """A small world without its first coco picture and without any of nocaps."""
    root = tmp_path / "world"
    micro.write(root, sizes=Sizes(4, 6, 2, 2, 2, 4, 1, 4))
    images = root / "ohd_caps" / "images"
    (images / "MICRO_test_coco_000001.jpg").unlink()
    for path in images.glob("MICRO_test_nocaps_*.jpg"):
        path.unlink()
    return root


def test_the_part_that_is_there_is_asked_named_and_never_compared_with_another(
    cli: Callable[..., Any], part: Path, tmp_path: Path
) -> None:
    words = ("run", "--encoder", "hashing", "--data", part, "--results", tmp_path / "results")
    said = cli(*words, "-t", "ohd-caps")
    assert said.code == 3 and "7 of 18 images are missing" in said.err
    said = cli(*words, "-t", "ohd-caps", "--available")
    assert said.code == 0
    assert "11 of 18 images are there; without any, left out: nocaps" in said.err
    [run] = (tmp_path / "results").glob("*-part-*")
    manifest = json.loads((run / "run.json").read_text())
    assert manifest["part"]["ohd-caps"]["left_out"] == ["nocaps"]
    assert manifest["tasks"]["ohd-caps"]["expected"] == 11
    (part / "ohd_caps" / "images" / "MICRO_test_coco_000002.jpg").unlink()
    assert cli(*words, "-t", "ohd-caps", "--available").code == 0
    first, second = sorted(path.name for path in (tmp_path / "results").glob("*-part-*"))
    said = cli("compare", first, second, "--results", tmp_path / "results")
    assert said.code == 2 and "of 18 images" in said.err
    page = tmp_path / "leaderboard.md"
    assert cli("leaderboard", "--results", tmp_path / "results", "--out", page).code == 0
    assert "11 of 18 images are there" in page.read_text()


def test_a_source_that_is_whole_is_a_whole_run(cli: Callable[..., Any], part: Path, tmp_path: Path) -> None:
    words = ("run", "--encoder", "hashing", "--data", part, "--results", tmp_path / "results", "--available")
    assert cli(*words, "-t", "ohd-caps?source=flickr").code == 0
    [run] = (tmp_path / "results").iterdir()
    assert "part" not in json.loads((run / "run.json").read_text())
    assert cli(*words, "-t", "ohd-caps?source=nocaps").code == 3
    assert cli(*words, "-t", "ohd-caps?source=visual").code == 3


def test_runs_of_one_part_compare_and_it_is_said_that_they_are_of_a_part(
    cli: Callable[..., Any], part: Path, tmp_path: Path
) -> None:
    for encoder in ("hashing", "micro"):
        words = ("run", "--encoder", encoder, "--data", part, "--results", tmp_path / "results", "--available")
        assert cli(*words, "-t", "ohd-caps").code == 0
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    told = "in part: ohd-caps: 11 of 18 images are there; without any, left out: nocaps"
    said = cli("compare", *names, "--results", tmp_path / "results")
    assert said.code == 0 and told in " ".join(said.out.split())
    compared = cli("compare", *names, "--results", tmp_path / "results", "--json").json()
    assert told in json.dumps(compared)
