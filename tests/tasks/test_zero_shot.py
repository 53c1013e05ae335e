"""Zero-shot classification over class folders."""

from __future__ import annotations

import unicodedata

import pytest
from PIL import Image

from harness.errors import BrokenDataError
from harness.types import Answer
from tasks.zero_shot import ZeroShot


@pytest.fixture
def folder(tmp_path):
    for name in ("red_cup", "tree"):
        (tmp_path / "zero_shot" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "zero_shot" / name / "1.png")
    return tmp_path


def test_each_image_is_asked_with_a_caption_for_every_class(folder):
    first, second = ZeroShot(folder).samples()
    assert first.texts == ("a photo of a red cup.", "a photo of a tree.")
    assert (first.target, second.target) == ("0", "1")


def test_a_template_of_the_users_own_is_used(folder):
    assert next(iter(ZeroShot(folder, template="see {}").samples())).texts[1] == "see tree"


def test_sets_of_classes_are_groups(folder):
    (folder / "zero_shot").rename(folder / "set")
    (folder / "zero_shot").mkdir()
    (folder / "set").rename(folder / "zero_shot" / "cups")
    assert {sample.group for sample in ZeroShot(folder).samples()} == {"cups"}


@pytest.mark.parametrize(("scores", "right"), [((0.9, 0.1), 1), ((0.5, 0.5), 0), ((0.1, 0.9), 0)])
def test_only_the_strictly_first_class_is_right(folder, scores, right):
    task = ZeroShot(folder)
    assert task.count(next(iter(task.samples())), Answer(scores=scores))["right"] == right


def test_images_of_one_name_in_two_classes_are_two_images(cli, folder, tmp_path):
    said = cli("run", "-e", "hashing", "-t", "zero-shot", "--data", folder, "--results", tmp_path / "r", "--json")
    assert said.json()["rows"][0]["values"][0]["images"] == 2


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_class_reads_the_same_however_its_folder_spells_an_accent(tmp_path, form):
    for name in ("café", "naïve 猫", "{}"):
        place = tmp_path / "zero_shot" / unicodedata.normalize(form, name)
        place.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(place / "1.JPG")
    texts = next(iter(ZeroShot(tmp_path).samples())).texts
    assert set(texts) == {"a photo of a café.", "a photo of a naïve 猫.", "a photo of a {}."}
    (tmp_path / "zero_shot" / unicodedata.normalize("NFD" if form == "NFC" else "NFC", "café")).mkdir(exist_ok=True)
    if len(list((tmp_path / "zero_shot").iterdir())) == 4:  # a file system that takes both for one has no such twins
        other = tmp_path / "zero_shot" / unicodedata.normalize("NFD" if form == "NFC" else "NFC", "café") / "1.jpg"
        Image.new("RGB", (8, 8)).save(other)
        with pytest.raises(BrokenDataError, match=r"both read 'a photo of a café\.'"):
            list(ZeroShot(tmp_path).samples())
