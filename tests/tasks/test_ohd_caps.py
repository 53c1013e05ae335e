"""OHD-Caps: how a row is counted, and the real files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.errors import DataError, UsageError
from harness.types import Answer
from tasks.ohd_caps import OhdCaps

CAPTIONS = ["a dog on grass", "a dog and a cat on grass", "a cat on grass", "a dog", "a dog on grass"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    test = tmp_path / "ohd_caps" / "test"
    test.mkdir(parents=True)
    row = {"image": "1.jpg", "caption": CAPTIONS, "label": 0}
    (test / "coco_out_label.json").write_text(json.dumps(row) + "\n")
    kinds = {"adversarial_samples": {"cat": CAPTIONS[1]}, "popular_samples": {"cat": CAPTIONS[1]}}
    kinds |= {"random_samples": {"cat": CAPTIONS[2]}, "delete_samples": {"grass": CAPTIONS[3]}}
    annotation = {"file_path": "1.jpg", "positive_sample": CAPTIONS[0], **kinds}
    (test / "coco_annotations.json").write_text(json.dumps(annotation) + "\n")
    (tmp_path / "ohd_caps" / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "ohd_caps" / "images" / "1.jpg")
    return tmp_path


def counted(folder: Path, *scores: float) -> dict[str, float]:
    task = OhdCaps(folder)
    sample = next(iter(task.samples()))
    return dict(task.count(sample, Answer(scores=scores)))


def test_the_true_caption_strictly_first_is_right_against_every_kind(folder):
    got = counted(folder, 0.9, 0.2, 0.3, 0.4, 0.9)
    assert got["right"] == got["right_adversarial"] == got["right_popular"] == got["right_delete"] == 1
    assert got["margin"] == pytest.approx(0.5)


def test_a_tie_is_wrong_here_and_right_by_the_authors_rules(folder):
    tie = Answer(scores=(0.9, 0.9, 0.3, 0.4, 0.9))
    ours, theirs = OhdCaps(folder), OhdCaps(folder, rules="official")
    sample = next(iter(ours.samples()))
    keys = ("right", "right_adversarial", "right_delete", "tied")
    assert [ours.count(sample, tie)[key] for key in keys] == [0, 0, 1, 1]
    assert [theirs.count(sample, tie)[key] for key in keys] == [1, 1, 1, 1]
    assert theirs.rules() == {**ours.rules(), "rules": "official"}
    with pytest.raises(UsageError, match="strict and official"):
        OhdCaps(folder, rules="lenient")


def test_a_caption_equal_to_the_true_one_is_no_negative(folder):
    assert counted(folder, 0.9, 0.2, 0.3, 0.4, 0.9)["tied"] == 0


def test_ties_count_against_the_model(folder):
    got = counted(folder, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert (got["right"], got["tied"]) == (0, 1)


def test_a_loss_to_one_kind_leaves_the_others_right(folder):
    got = counted(folder, 0.5, 0.7, 0.3, 0.1, 0.5)
    assert (got["right"], got["right_adversarial"], got["right_random"], got["right_delete"]) == (0, 0, 1, 1)


def test_an_unknown_split_and_a_missing_file_are_named(folder, tmp_path):
    with pytest.raises(UsageError, match="test and dev"):
        OhdCaps(folder, split="train")
    with pytest.raises(DataError, match=r"dev_data\.json belongs there"):
        list(OhdCaps(folder, split="dev").samples())


@pytest.mark.parametrize(
    "line",
    [
        '{"image": "1.jpg", "caption": ["a"]',
        '{"image": "1.jpg", "label": 0}',
        '{"image": "1.jpg", "caption": ["a"], "label": 9}',
        "[1]",
    ],
)
def test_a_row_that_is_none_is_named_with_its_line(folder, line):
    path = folder / "ohd_caps" / "test" / "coco_out_label.json"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match="line 2"):
        list(OhdCaps(folder).samples())


def test_the_real_files_give_1500_rows_of_28_captions_and_know_their_kinds(shared):
    task = OhdCaps(shared / "data")
    samples = list(task.samples())
    assert len(samples) == 1500
    assert {len(sample.texts) for sample in samples} == {28}
    gold = [task.count(s, Answer(scores=tuple(float(i == int(s.target)) for i in range(28)))) for s in samples]
    assert sum(one["right"] for one in gold) == 1500
    assert (
        min(sum(f"n_{kind}" in one for one in gold) for kind in ("random", "popular", "adversarial", "delete")) > 1490
    )
    worst = [task.count(s, Answer(scores=tuple(-float(i == int(s.target)) for i in range(28)))) for s in samples]
    assert sum(one["right"] for one in worst) == 0


def test_real_images_run_through_the_whole_command(cli, shared, tmp_path):
    """The real OHD-Caps dev rows whose images are here; a hash knows nothing, so only that it runs is shown."""
    dev = tmp_path / "data" / "ohd_caps" / "dev"
    dev.mkdir(parents=True)
    images = shared / "data" / "images" / "ohd_overlap"
    numbers = {path.name[-16:] for path in images.glob("*.jpg")}
    lines = (shared / "data" / "ohd_caps" / "dev" / "dev_data.json").read_text().splitlines(keepends=True)
    (dev / "dev_data.json").write_text("".join(line for line in lines if json.loads(line)["image"][-16:] in numbers))
    shutil.copytree(images, tmp_path / "data" / "ohd_caps" / "images", ignore=shutil.ignore_patterns("*.jsonl"))
    words = [
        "run",
        "-e",
        "hashing",
        "-t",
        "ohd-caps?split=dev",
        "--data",
        tmp_path / "data",
        "--results",
        tmp_path / "r",
    ]
    said = cli(*words, "--json")
    assert said.code == 0
    assert said.json()["rows"][0]["values"][0]["n"] == 22


def test_absent_images_end_with_3_and_one_line_that_counts_them(cli, shared, tmp_path):
    said = cli("run", "-e", "hashing", "-t", "ohd-caps", "--data", shared / "data", "--results", tmp_path)
    assert said.code == 3
    assert "1500 of 1500 images are missing" in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_the_micro_world_scores_100_for_gold_and_0_for_ties():
    from harness.data import micro

    task = OhdCaps(micro())
    for sample in task.samples():
        gold = tuple(float(text == sample.texts[int(sample.target)]) for text in sample.texts)
        assert task.count(sample, Answer(scores=gold))["right"] == 1
        assert task.count(replace(sample), Answer(scores=(0.0,) * len(gold)))["right"] == 0
