"""Training rows: read from either format, drawn by seed, and missing files named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from encoders.training import dataset, towers
from encoders.training.dataset import Order, Pair
from encoders.training.feed import Feed
from encoders.training.negatives import captions, swapped
from encoders.training.settings import Training
from harness.captions import labelled
from harness.errors import DataError, UsageError
from harness.rows import Row
from harness.rows import rows as read

PAIRS = [Pair(Path(f"{n}.jpg"), (f"true {n}", f"false {n}", f"wrong {n}", f"other {n}")) for n in range(10)]


def test_the_true_caption_comes_first_and_masked_ones_are_left_out(root: Path) -> None:
    found = dataset.pairs(root, "train")
    assert len(found) == 12
    assert all(len(pair.captions) in (3, 5) and "###" not in pair.captions for pair in found)
    assert all(" on " not in pair.captions[0] and " on " in pair.captions[1] for pair in found)


def test_annotations_by_kind_are_read_where_there_are_no_label_files(root: Path, tmp_path: Path) -> None:
    row = {
        "file_path": "train_0.png",
        "positive_sample": "a dog",
        "random_samples": {"cat": "a cat"},
        "popular_samples": {"bus": "a bus", "dog": "a dog"},
        "delete_samples": {"dog": "nothing"},
    }
    (tmp_path / "ohd_caps" / "train").mkdir(parents=True)
    (tmp_path / "ohd_caps" / "images").symlink_to(root / "ohd_caps" / "images")
    (tmp_path / "ohd_caps" / "train" / "coco_annotations.json").write_text(json.dumps(row) + "\n")
    (found,) = dataset.pairs(tmp_path, "train")
    assert found.captions == ("a dog", "a cat", "a bus", "nothing")
    assert found.image.is_file()


def test_the_real_dev_rows_are_read(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/ohd_caps/dev/dev_data.json"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    (tmp_path / "ohd_caps").mkdir()
    found = [dataset._pair(tmp_path, labelled(row)) for row in read(path)]
    assert len(found) == 1980
    assert all(pair.captions[0] == row["caption"][row["label"]] for pair, row in zip(found, rows, strict=True))
    assert {len(pair.captions) for pair in found} >= {3, 4, 5, 28}


def test_a_copy_of_the_true_caption_is_no_negative(tmp_path: Path) -> None:
    row = Row(tmp_path, 1, {"image": "x.jpg", "caption": ["a", "b", "a"], "label": 2})
    assert dataset._pair(tmp_path, labelled(row)).captions == ("a", "b")


@pytest.mark.parametrize(("split", "name"), [("train", "train_data.json"), ("dev", "coco_annotations.json")])
def test_files_without_rows_are_named(tmp_path: Path, split: str, name: str) -> None:
    folder = tmp_path / "ohd_caps" / split
    folder.mkdir(parents=True)
    (folder / name).write_text("\n")
    with pytest.raises(DataError, match=f"{name} holds no rows"):
        dataset.pairs(tmp_path, split)


def test_missing_images_are_counted_and_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "ohd_caps" / "dev").mkdir(parents=True)
    text = (root / "ohd_caps" / "dev" / "dev_data.json").read_text()
    (tmp_path / "ohd_caps" / "dev" / "dev_data.json").write_text(text)
    with pytest.raises(DataError, match=r"6 of 6 images are missing, dev_0\.png the first"):
        dataset.pairs(tmp_path, "dev")
    with pytest.raises(DataError, match=r"train_data\.json or coco_annotations\.json belongs there"):
        dataset.pairs(tmp_path, "train")


def test_a_broken_row_names_its_file(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.json, line 7: 'label' is 3; right would be a whole number from 0 to 0"):
        labelled(Row(Path("x.json"), 7, {"image": "x.jpg", "caption": ["a"], "label": 3}))


def test_a_smaller_part_is_contained_in_a_larger_one() -> None:
    small, large = dataset.chosen(PAIRS, 0.2, 0, 7), dataset.chosen(PAIRS, 0.6, 0, 7)
    assert len(small) == 2
    assert set(small) < set(large) < set(PAIRS)
    assert dataset.chosen(PAIRS, 0.2, 0, 7) == small
    assert any(dataset.chosen(PAIRS, 0.2, 0, seed) != small for seed in range(5))
    assert len(dataset.chosen(PAIRS, 1.0, 3, 0)) == 3


def test_shuffled_rows_all_have_another_rows_image() -> None:
    mixed = dataset.shuffled(PAIRS, 0)
    assert [pair.captions for pair in mixed] == [pair.captions for pair in PAIRS]
    assert sorted(pair.image for pair in mixed) == sorted(pair.image for pair in PAIRS)
    assert all(one.image != other.image for one, other in zip(mixed, PAIRS, strict=True))


def test_an_epoch_takes_every_row_once_and_no_batch_takes_one_twice() -> None:
    order = Order(10, 3, seed=1)
    epoch = [row for number in range(3) for row in order[number]]
    assert len(epoch) == len(set(epoch)) == 9
    assert order[3] != order[0]
    assert Order(10, 3, seed=1)[5] == order[5]
    with pytest.raises(UsageError, match="2 rows make no batch of 3"):
        Order(2, 3, seed=1)


def test_negatives_are_drawn_anew_by_key_and_never_more_than_there_are() -> None:
    pair = PAIRS[0]
    assert captions(pair, "hallucinated", 27, "k") == list(pair.captions)
    drawn = {tuple(captions(pair, "hallucinated", 1, str(key))) for key in range(20)}
    assert drawn == {("true 0", text) for text in pair.captions[1:]}
    assert captions(pair, "none", 27, "k") == ["true 0"]


def test_a_swap_exchanges_two_content_words() -> None:
    seen = {swapped("a red dog and a bus.", Random(n)) for n in range(40)}
    assert seen == {"a dog red and a bus.", "a bus dog and a red.", "a red bus and a dog."}
    assert swapped("a dog", Random(0)) == "a dog"
    assert captions(Pair(Path("x"), ("a dog",)), "swapped", 2, "k") == ["a dog"]


@pytest.mark.parametrize(
    ("world", "batch", "again"), [(1, 4, 4), (2, 4, 4), (4, 4, 4), (2, 5, 3), (3, 11, 1), (5, 7, 4)]
)
def test_processes_share_the_batch_of_one_evenly_or_not(
    recipe: Training, root: Path, world: int, batch: int, again: int
) -> None:
    encoder, rows = towers.base(recipe.base), dataset.pairs(root, "train")
    asked = replace(recipe, batch=batch, replay=1.0, replay_batch=again)
    whole = next(iter(Feed(asked, encoder, rows, dataset.replayed(root))(1)))[0]
    parts = [
        next(iter(Feed(asked, encoder, rows, dataset.replayed(root), (rank, world))(1)))[0] for rank in range(world)
    ]
    assert [row for part in parts for row in part.ids[: part.pairs]] == whole.ids[: whole.pairs]
    assert [row for part in parts for row in part.ids[part.pairs :]] == whole.ids[whole.pairs :]
    assert whole.pairs == batch
    assert min(part.pairs for part in parts) >= batch // world
    with pytest.raises(UsageError, match=f"a batch of {batch} cannot be shared by 12 processes"):
        Feed(asked, encoder, rows, [], (0, 12))
