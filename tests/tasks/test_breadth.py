"""DASH-B, MME, HallusionBench, SugarCrepe, ARO, Winoground: read as published, counted as their authors count."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from PIL import Image

from harness.comparison import metric_table
from harness.errors import DataError, UsageError
from harness.records import Record
from harness.types import Answer, Task
from tasks.dash_b import DashB
from tasks.hallusion import Hallusion
from tasks.mme import COGNITION, PERCEPTION, Mme
from tasks.pairs import Pairs
from tasks.winoground import Winoground


def values(task: Task, replies: Iterable[Answer], group: str = "") -> dict[str, float]:
    """Every metric of these replies to the task's samples, in their order."""
    samples = list(task.samples())
    records = [
        Record(s.id, s.image.name if s.image else s.id, s.group, "", "", reply, task.count(s, reply))
        for s, reply in zip(samples, replies, strict=True)
    ]
    return {name: one.value for name, one in metric_table.scores(task, records)[group].items()}


def perfect(task: Task) -> list[Answer]:
    return [Answer(s.target.capitalize()) if not s.texts else ranked(s.texts, int(s.target)) for s in task.samples()]


def worst(task: Task) -> list[Answer]:
    other = {"yes": "No", "no": "Yes"}
    return [
        Answer(other[s.target]) if not s.texts else ranked(s.texts, (int(s.target) + 1) % len(s.texts))
        for s in task.samples()
    ]


def ranked(texts, first: int) -> Answer:
    return Answer(scores=tuple(0.5 if n == first else 0.1 for n in range(len(texts))))


def test_dash_bs_own_answers_give_its_own_result_file(shared):
    task, folder = DashB(shared / "data"), shared / "data" / "dash_b"
    given = json.loads((folder / "Paligemma-3b_answers.json").read_text())
    told = json.loads((folder / "Paligemma-3b_dash_b_results.json").read_text())
    asked = [task.sample(f"{row['object_name']}/{row['gt']}/{row['img_id']}") for row in given]
    assert len({sample.id for sample in task.samples()}) == len(asked) == 2682
    # their answers on images with the object are about an earlier list of such images
    assert sum(sample.group == "" for sample in asked) == 1095
    records = [
        Record(s.id, s.id, s.group, "", "", Answer(row["response"]), task.count(s, Answer(row["response"])))
        for s, row in zip(asked, given, strict=True)
    ]
    found = {name: one.value for name, one in metric_table.scores(task, records)[""].items()}
    expected = {"accuracy": "ACC", "tnr": "TNR", "tpr": "TPR", "harmonic_mean": "Harmonic Mean"}
    for name, theirs in expected.items():
        assert found[name] == pytest.approx(100 * told[theirs], abs=1e-9)


def test_dash_b_asks_the_authors_question(shared):
    first = next(iter(DashB(shared / "data").samples()))
    assert first.prompt == "Can you see a backpack in this image? Please answer only with yes or no."
    assert first.image.parts[-4:] == ("neg", "coco", "backpack", "2327067188.png")


@pytest.fixture
def mme(tmp_path):
    for category in (*PERCEPTION, *COGNITION):
        folder = tmp_path / "mme" / category
        folder.mkdir(parents=True)
        for n in range(2):
            Image.new("RGB", (4, 4)).save(folder / f"{n}.png")
            (folder / f"{n}.txt").write_text(
                "Is it red? Please answer yes or no.\tYes\nIs it blue? Please answer yes or no.\tNo\n"
            )
    return Mme(tmp_path)


def test_mmes_score_is_accuracy_and_accuracy_plus_summed_over_categories(mme):
    found = values(mme, perfect(mme))
    assert (found["perception"], found["cognition"]) == (2000, 800)
    assert values(mme, worst(mme))["perception"] == 0
    always = values(mme, [Answer("Yes")] * 56)
    assert (always["perception"], always["accuracy_plus"], always["accuracy"]) == (500, 0, 50)
    assert values(mme, perfect(mme), "count")["score"] == 200


@pytest.mark.parametrize(
    ("answer", "right"),
    [("Yes", 1), ("yes.", 1), (" yes", 1), ("The yes", 0), ("No", 0), ("not y", 0), ("Maybe", 0)],
)
def test_mme_reads_yes_and_no_within_four_letters(mme, answer, right):
    assert mme.count(next(iter(mme.samples())), Answer(answer))["right"] == right


def test_mmes_sum_is_not_a_number_where_a_category_is_missing(mme):
    for path in (mme.data / "mme" / "scene").iterdir():
        path.unlink()
    found = values(mme, perfect(mme))
    assert found["perception"] != found["perception"]
    assert found["cognition"] == 800


def test_a_line_of_mme_without_yes_or_no_is_named(mme):
    path = mme.data / "mme" / "count" / "0.txt"
    path.write_text("Is it red?\tmaybe\n")
    with pytest.raises(DataError, match=r"0\.txt, line 1: MME's lines are a question, a tab, and Yes or No"):
        list(mme.samples())


def authors(rows: list[dict[str, str]], correct: list[int]) -> tuple[float, float, float]:
    """aAcc, qAcc and fAcc by first principles: all right, all figures of a question, all questions of a figure."""
    questions: dict[tuple[str, ...], list[int]] = {}
    figures: dict[tuple[str, ...], list[int]] = {}
    for row, right in zip(rows, correct, strict=True):
        place = (row["category"], row["subcategory"], row["set_id"])
        questions.setdefault((*place, row["question_id"]), []).append(right)
        if not (row["category"] == "VS" and row["figure_id"] == "0"):
            figures.setdefault((*place, row["figure_id"]), []).append(right)
    whole = [100 * sum(map(all, units.values())) / len(units) for units in (questions, figures)]
    return 100 * sum(correct) / len(correct), whole[0], whole[1]


def test_hallusion_counts_questions_figures_and_sets_as_its_authors_do(shared):
    task = Hallusion(shared / "data")
    rows = json.loads((shared / "data" / "hallusion" / "HallusionBench.json").read_text())
    every = list(task.samples())
    assert len(every) == len(rows) == 1129
    assert sum(sample.image is None for sample in every) == sum(row["visual_input"] == "0" for row in rows)
    correct = [int(sum(map(ord, row["question"])) % 4 != 0) for row in rows]
    other = {"yes": "No", "no": "Yes"}
    said = [s.target.capitalize() if right else other[s.target] for s, right in zip(every, correct, strict=True)]
    found = values(task, [Answer(text) for text in said])
    assert (found["aAcc"], found["qAcc"], found["fAcc"]) == pytest.approx(authors(rows, correct), abs=1e-9)
    assert [values(task, perfect(task))[name] for name in ("aAcc", "qAcc", "fAcc")] == [100, 100, 100]
    assert [values(task, worst(task))[name] for name in ("aAcc", "qAcc", "fAcc")] == [0, 0, 0]


def test_without_its_figure_a_model_may_be_unsure(shared):
    task = Hallusion(shared / "data")
    blind = next(s for s in task.samples() if s.image is None)
    seen = next(s for s in task.samples() if s.image is not None and s.group.startswith("VD"))
    assert task.count(blind, Answer("I cannot tell."))["correct"] == 1
    assert task.count(seen, Answer("I cannot tell."))["correct"] == 0


def test_sugar_crepe_is_averaged_over_its_files_and_kinds(shared):
    task = Pairs(shared / "data")
    every = list(task.samples())
    assert len(every) == 7511
    sizes = {"add": (2062, 692), "replace": (1652, 788, 1406), "swap": (245, 666)}
    assert {kind: sum(s.group.split("/")[1] == kind for s in every) for kind in sizes} == {
        kind: sum(of) for kind, of in sizes.items()
    }
    only_add = [ranked(s.texts, 0 if "/add_" in s.id else 1) for s in every]
    found = values(task, only_add)
    assert (found["add"], found["replace"], found["swap"]) == (100, 0, 0)
    assert found["macro"] == pytest.approx(200 / 7)
    assert found["accuracy"] == pytest.approx(100 * 2754 / 7511)
    ties = [Answer(scores=(0.5, 0.5))] * len(every)
    assert (values(task, ties)["macro"], values(task, ties)["ties"]) == (0, 100)


def aro_folder(root):
    folder = root / "aro"
    (folder / "images").mkdir(parents=True)
    picture = Image.new("RGB", (20, 10), "red")
    picture.paste("blue", (10, 0, 20, 10))
    picture.save(folder / "images" / "1.png")
    row = {"image_path": "1.png", "bbox_x": 10, "bbox_y": 0, "bbox_w": 10, "bbox_h": 10,
           "true_caption": "the horse eats the grass", "false_caption": "the grass eats the horse"}  # fmt: skip
    relations = [row | {"relation_name": name} for name in ("eating", "eating", "wearing", "near")]
    (folder / "visual_genome_relation.json").write_text(json.dumps(relations))
    pairs = [["white", "wet"]] * 25 + [["old", "red"]] * 24
    (folder / "visual_genome_attribution.json").write_text(json.dumps([row | {"attributes": pair} for pair in pairs]))


def test_aro_cuts_out_the_box_and_averages_relations_that_can_be_turned_round(tmp_path):
    aro_folder(tmp_path)
    task = Pairs(tmp_path, source="aro-relation")
    every = list(task.samples())
    assert [s.id for s in every] == ["aro-relation/0", "aro-relation/1", "aro-relation/2"]
    with Image.open(every[0].image) as part:
        assert part.size == (10, 10)
        assert part.getpixel((0, 0)) == (0, 0, 255)
    found = values(task, [ranked(s.texts, n // 2) for n, s in enumerate(every)])
    assert found["macro"] == 50
    assert len(list(Pairs(tmp_path, source="aro-attribution").samples())) == 25


def test_aros_orders_ask_each_caption_of_karpathys_split_against_its_words_in_other_orders(tmp_path):
    (tmp_path / "coco").mkdir()
    said = [{"raw": "A red cup on a small table."}, {"raw": "cup"}, {"raw": "A tree near two white houses."}]
    rows = [{"filename": "COCO_val2014_000000000001.jpg", "split": "test", "sentences": said},
            {"filename": "COCO_val2014_000000000002.jpg", "split": "train", "sentences": said}]  # fmt: skip
    (tmp_path / "coco" / "dataset_coco.json").write_text(json.dumps({"images": rows}))
    (tmp_path / "aro").mkdir()
    lists = {"nouns": ["cup", "table", "tree", "houses"], "adjectives": ["red", "small", "white"]}
    (tmp_path / "aro" / "reading.json").write_text(json.dumps(lists))
    task = Pairs(tmp_path, source="aro-coco-order")
    every = list(task.samples())
    assert [s.id.rpartition("/")[2] for s in every] == ["0", "2"], "one word has no other order"
    assert every[0].texts[0] == "a red cup on a small table"
    assert all(sorted(text.split()) == sorted(every[0].texts[0].split()) for text in every[0].texts)
    assert every == list(Pairs(tmp_path, source="aro-coco-order").samples())
    assert values(task, perfect(task))["macro"] == 100
    with pytest.raises(DataError, match="flickr30k holds no captions of pictures"):
        list(Pairs(tmp_path, source="aro-flickr-order").samples())


def test_rows_of_ones_own_are_pairs(tmp_path):
    rows = [{"image": "a.jpg", "caption": "a cat", "negative": ["a dog", "a cow"]},
            {"image": "b.jpg", "caption": "a cup", "negative": "a hat", "category": "small"}]  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    task = Pairs(tmp_path, source=str(tmp_path / "mine.json"))
    assert [len(s.texts) for s in task.samples()] == [3, 2]
    assert values(task, perfect(task))["macro"] == 100
    (tmp_path / "mine.json").write_text(json.dumps([{"image": "a.jpg", "caption": "a cat", "negative": [None]}]))
    with pytest.raises(DataError, match="line 1: 'negative' is null; right would be a list of texts"):
        list(Pairs(tmp_path, source=str(tmp_path / "mine.json")).samples())
    with pytest.raises(UsageError, match="pairs has no source 'vg'"):
        Pairs(tmp_path, source="vg")


def test_winogrounds_three_scores_are_those_of_its_paper(tmp_path):
    folder = tmp_path / "winoground"
    folder.mkdir()
    row = {"image_0": "ex_img_0", "image_1": "ex_img_1", "caption_0": "a b", "caption_1": "b a"}
    (folder / "examples.jsonl").write_text("".join(json.dumps({"id": n} | row) + "\n" for n in range(4)))
    task = Winoground(tmp_path)
    # s(c0,i0), s(c1,i0), s(c0,i1), s(c1,i1)
    cases = [(0.9, 0.1, 0.1, 0.9), (0.5, 0.4, 0.6, 0.7), (0.9, 0.8, 0.2, 0.1), (0.5, 0.5, 0.5, 0.5)]
    replies = [Answer(scores=pair) for a, b, c, d in cases for pair in ((a, b), (c, d))]
    text = [a > b and d > c for a, b, c, d in cases]
    image = [a > c and d > b for a, b, c, d in cases]
    found = values(task, replies)
    assert found["text"] == 100 * sum(text) / 4
    assert found["image"] == 100 * sum(image) / 4
    assert found["group"] == 100 * sum(t and i for t, i in zip(text, image, strict=True)) / 4
    assert [found["text"], found["image"], found["group"]] == [50, 25, 25]
