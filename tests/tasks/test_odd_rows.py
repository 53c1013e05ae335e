"""Rows that no benchmark can mean: captions that are the same, numbers that are none, lists that hold nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

PAIR = {"filename": "1.jpg", "caption": "a red dog", "negative_caption": "a blue dog"}
EXAMPLE = {
    "id": 1,
    "image_0": "a.png",
    "image_1": "b.png",
    "caption_0": "a dog on a cat",
    "caption_1": "a cat on a dog",
}
FIGURE = {
    "category": "VD", "subcategory": "chart", "visual_input": "1", "set_id": "0", "figure_id": "0",
    "question_id": "0", "question": "Is it more?", "gt_answer": "1",
}  # fmt: skip
QUESTION = {"question_id": 1, "image": "1.jpg", "text": "Is there a dog in the image?", "label": "yes"}
TWO = "Is it red?\tYes\nIs it blue?\tNo\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where each of these benchmarks has its pictures, and nothing is said of them yet."""
    names = ("sugar_crepe/images/1.jpg", "winoground/images/a.png", "winoground/images/b.png", "pope/images/1.jpg",
             "hallusion/VD/chart/0_0.png", "mme/count/1.jpg", "mme/existence/1.jpg",
             *(f"dash_b/images/{folder}/coco/dog/1.jpg" for folder in ("neg", "pos")))  # fmt: skip
    for n, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (30 * n, 0, 0)).save(tmp_path / name)
    return tmp_path


def asked(cli, root: Path, task: str):
    model = ("-e", "hashing") if task.startswith(("pairs", "wino")) else ("-l", "parrot")
    return cli("run", "-t", task, *model, "--data", str(root), "--results", str(root / "results"), "--json")


def refused(cli, root: Path, task: str, *why: str) -> None:
    said = asked(cli, root, task)
    assert said.code == 3, said.err
    assert all(word in said.err for word in why), said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("false", ["a red dog", " a red dog "])
def test_a_false_caption_that_is_the_true_one_is_named(cli, root, false):
    (root / "sugar_crepe" / "add_att.json").write_text(json.dumps({"7": PAIR, "8": PAIR | {"negative_caption": false}}))
    refused(cli, root, "pairs", "add_att.json, line 8", "a red dog", "another false one")
    own = root / "own.json"
    own.write_text(
        json.dumps([{"image": "sugar_crepe/images/1.jpg", "caption": "a red dog", "negative": ["a", false]}])
    )
    refused(cli, root, f"pairs?source={own}", "line 1", "another false one")


@pytest.mark.parametrize("more", [{"caption_1": "a dog on a cat"}, {"image_1": "a.png"}])
def test_winogrounds_two_captions_and_pictures_differ(cli, root, more):
    (root / "winoground" / "examples.jsonl").write_text(json.dumps(EXAMPLE | more))
    refused(cli, root, "winoground", "examples.jsonl, line 1", "are the same")


@pytest.mark.parametrize("lines", ["", "Is it red?\tYes\n", TWO + "Is it so?\tNo\n"])
def test_mme_asks_two_questions_about_each_image(cli, root, lines):
    (root / "mme" / "count" / "1.txt").write_text(TWO)
    (root / "mme" / "existence" / "1.txt").write_text(lines)
    refused(cli, root, "mme", "existence/1.txt has", "two questions")


@pytest.mark.parametrize("listed", [{}, {"coco": {}}, {"coco": {"dog": []}}, {"coco": {"dog": {"1.jpg": 1}}},
                                    {"coco": {"dog": "1.jpg"}}, {"coco": {"dog": [""]}}])  # fmt: skip
def test_a_list_of_dash_b_that_holds_no_image_is_named(cli, root, listed):
    sound = {"coco": {"dog": ["1.jpg"]}}
    for name, said in (("pos", sound), ("neg", listed)):
        (root / "dash_b" / f"dash_benchmark_{name}.json").write_text(json.dumps(said))
    refused(cli, root, "dash-b", "dash_benchmark_neg.json")


@pytest.mark.parametrize("truth", ["1", 1])
def test_hallusions_numbers_are_read_as_numbers_and_as_text(cli, root, truth):
    (root / "hallusion" / "HallusionBench.json").write_text(json.dumps([FIGURE | {"gt_answer": truth}]))
    row = next(row for row in asked(cli, root, "hallusion").json()["rows"] if row["metric"] == "aAcc")
    assert row["values"][0]["value"] == 100.0  # parrot says yes


@pytest.mark.parametrize(("field", "value"), [("visual_input", "x"), ("visual_input", 3), ("gt_answer", 2),
                                              ("gt_answer", True), ("gt_answer", "1 ")])  # fmt: skip
def test_hallusions_numbers_are_some_that_there_are(cli, root, field, value):
    (root / "hallusion" / "HallusionBench.json").write_text(json.dumps([FIGURE | {field: value}]))
    refused(cli, root, "hallusion", f"line 1: '{field}' is", "right would be one of 0, 1")


@pytest.mark.parametrize("said", ['{"promt": "llava"}', "[]", '{"prompt": null}', None])
def test_what_a_folder_says_of_its_reading_is_heeded_or_named(cli, root, said):
    (root / "pope" / "coco_pope_random.json").write_text(json.dumps(QUESTION))
    place = root / "pope" / "reading.json"
    place.mkdir() if said is None else place.write_text(said)
    refused(cli, root, "pope", "reading.json")


def test_captions_that_hold_no_word_have_a_floor_of_ties(cli, root):
    blank = PAIR | {"caption": "\u200b", "negative_caption": "\u200c"}
    (root / "sugar_crepe" / "add_att.json").write_text(json.dumps({"1": blank, "2": blank}))
    assert asked(cli, root, "pairs").code in (0, 6)
