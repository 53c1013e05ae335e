"""POPE's questions, prompts and readings."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.asking import engine
from harness.asking.ask import Ask
from harness.data import micro
from harness.errors import DataError, UsageError
from harness.store import Run
from harness.types import Answer
from tasks.pope import Pope


def test_every_question_has_its_own_id_and_stands_in_its_sampling():
    samples = list(Pope(micro()).samples())
    assert len({sample.id for sample in samples}) == len(samples)
    assert [group for group in dict.fromkeys(sample.group for sample in samples)] == [
        "random",
        "popular",
        "adversarial",
    ]
    assert samples[0].id == "coco/random/1"


def test_the_prompt_is_the_files_or_the_one_of_llavas_evaluation(tmp_path):
    plain = next(iter(Pope(micro()).samples())).prompt
    assert plain.startswith("Is there a") and plain.endswith("in the image?")
    llava = next(iter(Pope(micro(), prompt="llava").samples())).prompt
    assert llava == plain + "\nAnswer the question using a single word or phrase."
    shutil.copytree(micro() / "pope", tmp_path / "pope", ignore=shutil.ignore_patterns("*.jpg", "*.png"))
    (tmp_path / "pope" / "reading.json").write_text('{"prompt": "llava"}')
    assert next(iter(Pope(tmp_path).samples())).prompt == llava
    assert next(iter(Pope(tmp_path, prompt="plain").samples())).prompt == plain


@pytest.mark.parametrize(
    ("answer", "official", "strict"),
    [
        ("Yes", 1, 1),
        ("Yes, there is a dog.", 1, 1),
        ("No", 0, 0),
        ("NO", 1, 0),  # POPE's script knows "No" and "no" only
        ("There is a dog", 1, 0),
        ("", 1, 0),
    ],
)
def test_an_answer_to_a_present_object_is_right_as_its_reading_says(answer, official, strict):
    sample = next(s for s in Pope(micro()).samples() if s.target == "yes")
    assert Pope(micro()).count(sample, Answer(answer))["right"] == official
    assert Pope(micro(), rules="strict").count(sample, Answer(answer))["right"] == strict


@pytest.mark.parametrize("source", ["coco", "flickr", "nocaps"])
def test_the_three_sources_are_read_from_the_published_files(shared, source):
    samples = list(Pope(shared / "data", source=source).samples())
    assert len(samples) == 9000
    assert sum(sample.target == "yes" for sample in samples) == 4500


def test_words_that_pope_does_not_know_are_told(tmp_path):
    for options in ({"rules": "kind"}, {"source": "vg"}, {"prompt": "rude"}):
        with pytest.raises(UsageError, match="pope does not know"):
            Pope(tmp_path, **options)
    with pytest.raises(DataError, match=r"holds no coco_pope_random\.json"):
        next(iter(Pope(tmp_path).samples()))
    (tmp_path / "pope").mkdir()
    (tmp_path / "pope" / "coco_pope_random.json").write_text(json.dumps({"image": "a.jpg"}) + "\n")
    with pytest.raises(DataError, match="line 1: has no 'text'; it has 'image'"):
        next(iter(Pope(tmp_path).samples()))


def test_repopes_labels_are_laid_over_popes_questions_and_the_ambiguous_left_out(shared):
    task = Pope(shared / "data", labels="repope")
    plain = {sample.id: sample for sample in Pope(shared / "data").samples()}
    corrected = list(task.samples())
    sizes = {"random": 2774, "popular": 2727, "adversarial": 2684}
    assert {group: sum(s.group == group for s in corrected) for group in sizes} == sizes
    assert all(plain[s.id].prompt == s.prompt and plain[s.id].image == s.image for s in corrected)
    assert sum(plain[s.id].target != s.target for s in corrected) == 144 + 178 + 172
    (remark,) = task.remarks()
    assert "494 of 9000 are others than POPE's, 815 questions are left out as ambiguous" in remark
    assert task.rules() != Pope(shared / "data").rules()


def test_repope_is_of_popes_coco_questions_only(tmp_path):
    with pytest.raises(UsageError, match="RePOPE corrected POPE's questions on COCO"):
        Pope(tmp_path, labels="repope", source="flickr")


def test_both_labels_are_read_from_one_set_of_answers(cli, tmp_path):
    """The micro world's own questions with some labels turned round and some left out."""
    root = tmp_path / "data"
    shutil.copytree(micro() / "pope", root / "pope", ignore=shutil.ignore_patterns("images", "repope"))
    (root / "pope" / "images").symlink_to(micro() / "pope" / "images")
    (root / "pope" / "repope").mkdir()
    turned = {"yes": "no", "no": "yes"}
    for sampling in ("random", "popular", "adversarial"):
        rows = [json.loads(line) for line in (root / "pope" / f"coco_pope_{sampling}.json").read_text().splitlines()]
        fixed = [row | ({"label": turned[row["label"]]} if n % 5 == 0 else {}) for n, row in enumerate(rows) if n % 3]
        path = root / "pope" / "repope" / f"coco_repope_{sampling}.json"
        path.write_text("".join(json.dumps(row) + "\n" for row in fixed))
    told = ("--data", root, "--results", tmp_path / "r", "--allow-outside", "--limit", "3")
    said = cli("run", "--lvlm", "micro-llava", "-t", "pope", "-t", "pope?labels=repope", *told)
    assert said.code == 0
    assert "pope-labels=repope: RePOPE's labels:" in said.out
    kept = {
        path.parent.name: {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}
        for path in (tmp_path / "r").glob("*/*/records.jsonl")
    }
    plain, corrected = kept["pope"], kept["pope-labels=repope"]
    assert 0 < len(corrected) < len(plain)
    assert all(plain[id]["answer"] == row["answer"] for id, row in corrected.items())
    assert any(plain[id]["counts"] != row["counts"] for id, row in corrected.items())


def test_a_question_that_another_task_of_the_run_has_answered_is_not_asked_again(tmp_path):
    samples = list(Pope(micro()).samples())[:6]
    run, model = Run(tmp_path / "run"), engine.Identity({"m": 1})
    first, again = Pope(micro()), Pope(micro(), rules="strict")
    again.name = "pope-rules=strict"

    def refuse(asked):
        assert not list(asked), "asked again"
        return iter(())

    always_no = Ask(lambda asked: ((sample, Answer("NO")) for one in asked for sample in one.samples))
    engine.answer(run, engine.questions(first, samples), model, always_no)
    standing = engine.answer(run, engine.questions(again, samples), model, Ask(refuse))
    assert standing.scored == 6
    counts = [[record.counts["said_no"] for record in run.records(task.name)] for task in (first, again)]
    assert counts == [[0] * 6, [1] * 6]


def test_score_reads_the_same_answers_by_both_labels(cli, shared, tmp_path):
    """Answers that repeat POPE's own labels: perfect by these, and as RePOPE corrects them by its own."""
    plain, fixed = (list(Pope(shared / "data", labels=labels).samples()) for labels in ("pope", "repope"))
    with (tmp_path / "answers.jsonl").open("w") as file:
        for s in plain:
            row = {"question_id": s.id.rpartition("/")[2], "image": s.image.name, "question": s.prompt}
            file.write(json.dumps(row | {"category": s.group, "response": s.target.capitalize()}) + "\n")
    said = cli("score", "pope", tmp_path / "answers.jsonl", "--labels", "repope", "--data", shared / "data", "--json")
    assert said.code == 0, said.err
    told = said.json()
    own = {sample.id: sample.target for sample in plain}
    for group in ("random", "popular", "adversarial"):
        rows = [s for s in fixed if s.group == group]
        right = sum(own[s.id] == s.target for s in rows)
        assert told["metrics"][group]["accuracy"] == round(100 * right / len(rows), 1)
        assert told["published_labels"][group]["accuracy"] == 100
    assert (told["n_expected"], told["n_scored"]) == (8185, 8185)
    assert "815 questions are left out as ambiguous" in " ".join(said.err.split())


def test_score_of_dash_bs_own_answers_is_its_result_file(cli, shared):
    answers = shared / "data" / "dash_b" / "Paligemma-3b_answers.json"
    said = cli("score", "dash-b", answers, "--data", shared / "data", "--json")
    assert said.code == 0, said.err
    assert said.json()["metrics"]["all"] == {"accuracy": 56.4, "tnr": 26.4, "tpr": 86.4, "harmonic_mean": 40.4}
    assert said.json()["n_off_list"] == 1095
