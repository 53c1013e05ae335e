"""What a training reads: one digest of all of it, and what is cut or left out said once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from encoders.towers.tokens import HubWords
from encoders.training import material, towers
from encoders.training.material import Material
from encoders.training.settings import Training
from harness.errors import UsageError


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    return shutil.copytree(root, tmp_path / "data")


def read(recipe: Training, root: Path) -> Material:
    words = towers.base(recipe.base).words
    assert words
    return material.read(replace(recipe, replay=0.5), root, words)


def other_picture(path: Path) -> None:
    Image.new("RGB", (9, 9), (1, 2, 3)).save(path)


def other_words(path: Path, old: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, "a dog and", 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a training picture": lambda data: other_picture(data / "ohd_caps" / "images" / "train_5.png"),
    "a dev picture": lambda data: other_picture(data / "ohd_caps" / "images" / "dev_2.png"),
    "a replayed picture": lambda data: other_picture(data / "web" / "images" / "1.png"),
    "a picture of a class": lambda data: other_picture(data / "zero_shot" / "red" / "1.png"),
    "one more class": lambda data: shutil.copytree(data / "zero_shot" / "red", data / "zero_shot" / "rust"),
    "the template of the classes": lambda data: (data / "zero_shot" / "template.txt").write_text("it is {}"),
    "a training caption": lambda data: other_words(data / "ohd_caps" / "train" / "train_data.json", "a red"),
    "a dev caption": lambda data: other_words(data / "ohd_caps" / "dev" / "dev_data.json", "a green"),
    "a replayed caption": lambda data: other_words(data / "web" / "captions.json", "all"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_digest_is_another_where_anything_that_is_read_is_another(
    recipe: Training, root: Path, copy: Path, what: str
) -> None:
    before = read(recipe, copy).digest
    assert before == read(recipe, root).digest
    CHANGES[what](copy)
    assert read(recipe, copy).digest != before


def test_a_training_does_not_go_on_with_other_pictures(recipe: Training, copy: Path, tmp_path: Path) -> None:
    recipe = replace(recipe, steps=1)
    recipe.train(copy, tmp_path / "run")
    other_picture(copy / "ohd_caps" / "images" / "dev_2.png")
    with pytest.raises(UsageError, match="holds a training with another data: digest is"):
        recipe.train(copy, tmp_path / "run")


def test_captions_that_are_cut_are_counted(recipe: Training, copy: Path, tiny: ModuleType) -> None:
    words = HubWords(tiny.clip_tokenizer(), 24)  # a letter a token: 22 letters fit
    long = {"image": "train_0.png", "caption": ["a" * 22, "a" * 23, "b", "c" * 500], "label": 0}
    (copy / "ohd_caps" / "train" / "train_data.json").write_text(json.dumps(long) + "\n")
    found = material.read(recipe, copy, words)
    assert found.noted["train"] == {"captions cut to what the text tower reads": 2}
    assert "train: 2 captions cut to what the text tower reads" in list(found.remarks())


@pytest.mark.parametrize(("how", "lacking"), [("hallucinated", 0), ("swapped", 1), ("none", 0)])
def test_captions_without_two_words_to_swap_are_counted(recipe: Training, copy: Path, how: str, lacking: int) -> None:
    rows = [
        {"image": "train_0.png", "caption": ["a red dog", "a cat"], "label": 0},
        {"image": "train_1.png", "caption": ["dog", "cat"], "label": 0},
    ]
    (copy / "ohd_caps" / "train" / "train_data.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(replace(recipe, negatives=how), copy)  # type: ignore[arg-type]
    assert found.noted["train"].get("rows that bring no negative caption", 0) == lacking
