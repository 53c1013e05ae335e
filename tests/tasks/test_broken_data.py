"""Data files that say what cannot be right end the command with exit code 3; nothing asked is not success."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from harness.data import micro

RANK = ("--encoder", "hashing")
SPEAK = ("--lvlm", "parrot")
QUESTION = {"question_id": 1, "image": "1.jpg", "text": "Is there a dog in the image?", "label": "yes"}
CAPTIONS = {"image": "1.jpg", "caption": ["a dog", "a cat"], "label": 0}
NOTE = {"id": 1, "type": "generative", "truth": ["dog"], "hallu": ["cat"]}
ASKED = {"id": 1, "image": "1.jpg", "query": "Describe this image."}


class Folder:
    """A data folder with one picture of each benchmark, whose files a test may break."""

    def __init__(self, root: Path, results: Path) -> None:
        self.root, self.results = root, results
        self.lines("pope/coco_pope_random.json", QUESTION)
        self.lines("ohd_caps/test/coco_out_label.json", CAPTIONS)
        self.json("amber/annotations.json", [NOTE, {"id": 2, "type": "relation", "truth": "no"}])
        self.json("amber/query/query_all.json", [ASKED, ASKED | {"id": 2, "query": "Is the sky sunny?"}])
        self.json("amber/relation.json", {"dog": [], "cat": []})
        self.json("amber/reading.json", {"nouns": "vocabulary", "synonyms": "none"})
        for name in ("pope/images", "ohd_caps/images", "amber/image", "zero_shot/cat", "zero_shot/dog"):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), "red").save(root / name / "1.jpg")

    def lines(self, name: str, *every: object) -> None:
        self.text(name, "".join(json.dumps(one) + "\n" for one in every))

    def json(self, name: str, thing: object) -> None:
        self.text(name, json.dumps(thing))

    def text(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def run(self, task: str, *more: str) -> list[str]:
        models = RANK if task.startswith(("ohd", "zero")) else SPEAK
        return ["run", "-t", task, *models, "--data", str(self.root), "--results", str(self.results), *more]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data", tmp_path / "results")


@pytest.mark.parametrize("task", ["pope", "amber", "ohd-caps", "zero-shot"])
def test_the_whole_folder_is_sound(cli, folder, task):
    assert cli(*folder.run(task)).code in (0, 6)  # one row is too little to tell a constant ranker


@pytest.mark.parametrize("label", ["Yes", " NO ", "yes"])
def test_case_and_space_around_a_label_are_read(cli, folder, label):
    folder.lines("pope/coco_pope_random.json", QUESTION | {"label": label})
    said = cli(*folder.run("pope"), "--json")
    row = next(row for row in said.json()["rows"] if (row["group"], row["metric"]) == ("pooled", "accuracy"))
    assert row["values"][0]["value"] == (0.0 if label == " NO " else 100.0)


@pytest.mark.parametrize(
    ("task", "name", "row", "why"),
    [
        *(
            (
                "pope",
                "pope/coco_pope_random.json",
                QUESTION | {"label": label},
                "'label' is .* right would be yes or no",
            )
            for label in (None, 1, True, "maybe", ["yes"])
        ),
        ("pope", "pope/coco_pope_random.json", QUESTION | {"image": 7}, "'image' is 7"),
        ("pope", "pope/coco_pope_random.json", QUESTION | {"image": "a\0b"}, "the name of a file"),
        ("pope", "pope/coco_pope_random.json", QUESTION | {"image": "x" * 300}, "the name of a file"),
        ("pope", "pope/coco_pope_random.json", {}, "has no 'image'"),
        *(
            ("ohd-caps", "ohd_caps/test/coco_out_label.json", CAPTIONS | more, why)
            for more, why in (
                ({"label": -1}, "'label' is -1; right would be a whole number from 0 to 1"),
                ({"label": True}, "'label' is true"),
                ({"label": "0"}, "'label' is \"0\""),
                ({"valid_caption": [1]}, "1 entries for 2 captions"),
                ({"valid_caption": [1, "0"]}, "right would be 0 or 1"),
                ({"valid_caption": [True, False]}, "right would be 0 or 1"),
                ({"valid_caption": [0, 1]}, "masks caption 0"),
                ({"caption": ["a dog"]}, "nothing to tell the true one from"),
                ({"caption": ["a dog", "a dog"]}, "nothing to tell the true one from"),
                ({"caption": "a dog"}, "a list of texts"),
                ({"caption": ["a dog", " "]}, "blank"),
            )
        ),
    ],
)
def test_a_row_that_cannot_be_right_is_named_with_its_line(cli, folder, task, name, row, why):
    good = QUESTION if task == "pope" else CAPTIONS
    folder.lines(name, good | {"question_id": 0}, row)
    said = cli(*folder.run(task))
    assert said.code == 3
    assert f"{name}, line 2" in said.err
    import re

    assert re.search(why, said.err), said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("notes", "why"),
    [
        ([NOTE | {"type": "Generative"}], "'type' is \"Generative\"; right would be one of generative"),
        ([NOTE | {"truth": "dog"}], "'truth' is \"dog\"; right would be a list of texts"),
        ([NOTE | {"truth": ["dog", None]}], "a list of texts"),
        ([NOTE, {"id": 2, "type": "relation", "truth": None}], "'truth' is null; right would be yes or no"),
        ([NOTE, {"id": 2, "type": "relation", "truth": ["no"]}], "right would be yes or no"),
        ([NOTE, NOTE], "'id' 1 stands on line 1 already"),
        ([NOTE], "'id' 2 is not in annotations.json"),
        ([], "holds no rows"),
        (["x"], "not a JSON object"),
    ],
)
def test_ambers_annotations_are_checked_where_they_are_read(cli, folder, notes, why):
    folder.json("amber/annotations.json", notes)
    said = cli(*folder.run("amber"))
    assert said.code == 3
    assert why in said.err


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ({"42": ["dragon"]}, "image 42 shows"),
        ({"42": "dog"}, "image 42 shows"),
        ({"42": [1]}, "image 42 shows"),
        ({"x": ["dog"]}, "no COCO image's number"),
        ([], "one JSON object"),
        ({}, "image 42 has no objects"),
    ],
)
def test_chairs_truth_is_checked_where_it_is_read(cli, folder, objects, why):
    folder.json("chair/chair_vocab.json", {"inverse_synonym_dict": {"dog": "dog"}, "double_word_dict": {}})
    folder.json("chair/coco_imid_to_objects_nltk.json", objects)
    folder.json("chair/images.json", [42])
    said = cli(*folder.run("chair"))
    assert (said.code, why in said.err) == (3, True), said.err


@pytest.mark.parametrize(
    ("list", "why"),
    [([], "right would be a list"), ({}, "a list"), ([1, 1], "image 1 twice"), (["x"], "COCO"), ([True], "COCO")],
)
def test_chairs_list_of_images_is_checked(cli, folder, list, why):
    folder.json("chair/chair_vocab.json", {"inverse_synonym_dict": {"dog": "dog"}, "double_word_dict": {}})
    folder.json("chair/coco_imid_to_objects_nltk.json", {"1": ["dog"]})
    folder.json("chair/images.json", list)
    said = cli(*folder.run("chair"))
    assert (said.code, why in said.err) == (3, True), said.err


@pytest.mark.parametrize("text", ["", "[]", "{}", "\n", "null"])
@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("pope", "pope/coco_pope_random.json"),
        ("ohd-caps", "ohd_caps/test/coco_out_label.json"),
        ("amber", "amber/query/query_all.json"),
    ],
)
def test_a_file_that_asks_nothing_is_no_success(cli, folder, task, name, text):
    folder.text(name, text)
    for words in (folder.run(task), [word for word in folder.run(task) if word not in ("-t", task)]):
        said = cli(*words)
        assert said.code == 3
        assert name in said.err


def test_one_empty_file_beside_full_ones_is_not_passed_over(cli, folder):
    folder.text("pope/coco_pope_popular.json", "")
    said = cli(*folder.run("pope"))
    assert (said.code, "coco_pope_popular.json holds no rows" in said.err) == (3, True)


def test_two_questions_of_one_id_are_named_when_the_data_is_read(cli, folder):
    folder.lines("pope/coco_pope_random.json", QUESTION, QUESTION | {"text": "Is there a cat in the image?"})
    said = cli(*folder.run("pope"))
    assert (said.code, "line 2: 'question_id' 1 stands on line 1 already" in said.err) == (3, True)


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda root: (root / "cat" / ".ipynb_checkpoints").mkdir(), ".ipynb_checkpoints would be read as a class"),
        (lambda root: (root / ".ipynb_checkpoints").mkdir(), ".ipynb_checkpoints would be read as a class"),
        (lambda root: (root / "cat" / "more").mkdir(), "more is a folder inside a class"),
        (lambda root: (root / "empty").mkdir(), "empty holds no pictures"),
        (lambda root: (root / "cat" / "1.jpg").unlink(), "cat holds no pictures"),
        (lambda root: shutil.rmtree(root / "cat"), "holds 1 class folders"),
        (lambda root: (root / "template.txt").write_text("a photo"), "one line with {}"),
        (lambda root: (root / "template.txt").write_bytes(b"\xff{}"), "not UTF-8"),
        (
            lambda root: shutil.copytree(root / "cat", root / "c_t") and shutil.copytree(root / "cat", root / "c t"),
            "both read",
        ),
    ],
)
def test_a_stray_or_empty_class_folder_is_named(cli, folder, break_it, why):
    break_it(folder.root / "zero_shot")
    said = cli(*folder.run("zero-shot"))
    assert (said.code, why in said.err) == (3, True), said.err


@pytest.mark.parametrize("way", ["absolute", "up", "link", "folder link"])
def test_an_image_outside_the_data_folder_is_refused_unless_allowed(cli, folder, tmp_path, way):
    outside = tmp_path / "elsewhere" / "2.jpg"
    outside.parent.mkdir()
    Image.new("RGB", (8, 8)).save(outside)
    name = {"absolute": str(outside), "up": "../../../elsewhere/2.jpg", "folder link": "linked/2.jpg"}.get(way, "2.jpg")
    if way == "link":
        (folder.root / "pope/images/2.jpg").symlink_to(outside)
    if way == "folder link":
        (folder.root / "pope/images/linked").symlink_to(outside.parent)
    folder.lines("pope/coco_pope_random.json", QUESTION, QUESTION | {"question_id": 2, "image": name})
    said = cli(*folder.run("pope"))
    assert said.code == 3
    assert "1 of 2 images lie outside" in said.err and "--allow-outside" in said.err
    assert cli(*folder.run("pope", "--allow-outside")).code == 0


def test_a_data_folder_may_itself_be_a_link(cli, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder.root)
    words = [str(tmp_path / "link") if word == str(folder.root) else word for word in folder.run("pope")]
    assert cli(*words).code == 0


@pytest.mark.parametrize("kind", ["list", "lines"])
def test_any_file_of_popes_format_is_asked(cli, folder, kind):
    every = [QUESTION, QUESTION | {"question_id": 2, "text": "Is there a cat in the image?", "label": "no"}]
    name = "gqa_pope_seem_popular.json"
    folder.json(f"pope/{name}", every) if kind == "list" else folder.lines(f"pope/{name}", *every)
    for task in (f"pope?questions={name}", f"pope?questions={folder.root}/pope/{name}", "pope?source=gqa"):
        said = cli(*folder.run(task), "--json")
        assert said.code == 0
        groups = {row["group"]: row["values"][0]["n"] for row in said.json()["rows"]}
        assert groups["popular"] == groups["pooled"] == 2
    said = cli(*folder.run("pope?questions=none.json"))
    assert (said.code, "there is no such file" in said.err) == (3, True)


def test_an_answer_file_to_any_questions_is_scored(cli, folder, tmp_path):
    folder.json("pope/mine.json", [QUESTION, QUESTION | {"question_id": 2, "label": "no"}])
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(json.dumps({"question_id": n, "text": "Yes"}) + "\n" for n in (1, 2)))
    said = cli("score", "pope?questions=mine.json", answers, "--data", folder.root, "--json")
    assert said.code == 0, said.err
    assert "50.0" in said.out


def test_the_published_corrections_of_pope_are_asked_as_they_are(shared):
    from tasks.pope import Pope

    task = Pope(
        shared / "data", questions=",".join(f"repope/coco_repope_{name}.json" for name in ("random", "popular"))
    )
    every = task.every()
    assert (len(every), {sample.group for sample in every}) == (2774 + 2727, {"random", "popular"})


def test_the_micro_world_is_sound():
    from harness.asking.evaluate import open_task

    for name in ("pope", "amber", "ohd-caps", "ohd-caps?split=dev", "zero-shot"):
        assert len(open_task(name, micro()).every()) > 100


@pytest.mark.skipif(os.name == "nt", reason="file names of bytes")
def test_a_file_name_that_is_no_text_is_named(cli, folder):
    shutil.copy(folder.root / "zero_shot/cat/1.jpg", os.fsencode(folder.root / "zero_shot/cat") + b"/\xff.jpg")
    said = cli(*folder.run("zero-shot"))
    assert (said.code, "rename the file" in said.err) == (3, True)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "a" * 300, "a/" * 3000, "none", "."])
def test_a_data_folder_or_question_file_that_cannot_be_is_told_in_one_line(cli, folder, name):
    words = [name if word == str(folder.root) else word for word in folder.run("pope")]
    assert cli(*words).code == 3
    assert cli(*folder.run(f"pope?questions={name}")).code == 3
