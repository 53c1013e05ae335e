"""One model in several files, models on different questions, and layouts that other tools write."""

from __future__ import annotations

import csv
import hashlib
import json
from zlib import crc32

import pytest

from harness import registry
from harness.data import micro
from harness.scoring.score import make_task


@pytest.fixture(scope="module")
def pope():
    registry.load()
    return make_task("pope", micro()).every()


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def said(sample, text):
    number = int(sample.id.rpartition("/")[2])
    return {"question_id": number, "image": sample.image.name, "question": sample.prompt, "answer": text}


def right(sample):
    return sample.target.capitalize()


def wrong_now_and_then(sample):
    return {"yes": "No", "no": "Yes"}[sample.target] if crc32(sample.id.encode()) % 5 == 0 else right(sample)


def files(folder, pope, answer, name):
    groups = ("random", "popular", "adversarial")
    return [
        lines(folder / f"{name}_{group}.jsonl", [said(s, answer(s)) for s in pope if s.group == group])
        for group in groups
    ]


def test_popes_three_files_of_one_model_are_one_model(cli, pope, tmp_path):
    three = files(tmp_path, pope, right, "mine")
    told = cli("score", "pope", *three, "--data", "micro", "--json")
    found = told.json()
    assert (found["file"], found["n_scored"], found["whole"]["pooled"]["mean_f1"]) == ("mine", len(pope), 100.0)
    assert "taken for one model" in told.err


def test_a_name_joins_the_files_of_a_model_and_models_are_compared(cli, pope, tmp_path):
    one, other = files(tmp_path, pope, right, "a"), files(tmp_path, pope, wrong_now_and_then, "b")
    models = [f"{name}={'+'.join(map(str, paths))}" for name, paths in (("A", one), ("B", other))]
    found = cli("score", "pope", *models, "--data", "micro", "--json").json()
    assert [each["file"] for each in found["files"]] == ["A", "B"]
    assert found["comparison"][0]["n_common"] == len(pope)
    again = cli("score", "pope", f"A={one[0]}+{one[0]}", "--data", "micro")
    assert again.code == 2
    assert "are not the parts of one model" in again.err


@pytest.mark.parametrize("words", ["A=", "A=+", "A={}+", "A=+{}", "={}", "pope?rules="])
def test_a_model_whose_name_or_file_is_left_out_is_refused(cli, pope, tmp_path, words):
    (one, *_) = files(tmp_path, pope, right, "a")
    said = cli("score", "pope", words.format(one), "--data", "micro")
    assert said.code == 2 and "lacks a name or a file" in said.err


def test_the_mean_of_the_three_f1_is_theirs(cli, pope, tmp_path):
    three = files(tmp_path, pope, wrong_now_and_then, "mine")
    found = cli("score", "pope", *three, "--data", "micro", "--json", "--rules", "strict").json()
    each = [found["metrics"][group]["f1"] for group in ("random", "popular", "adversarial")]
    low, high = found["whole_intervals"]["pooled"]["mean_f1"]
    assert found["metrics"]["pooled"]["mean_f1"] == pytest.approx(sum(each) / 3)
    assert low < sum(each) / 3 < high


def test_values_on_the_common_questions_stand_beside_those_of_all(cli, pope, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")  # the heads hold paths, and are not to be broken here
    base = lines(tmp_path / "base.jsonl", [said(s, wrong_now_and_then(s)) | {"category": s.group} for s in pope])
    half = [s for s in pope if crc32(s.image.name.encode()) % 2]
    other = lines(tmp_path / "other.jsonl", [said(s, right(s)) | {"category": s.group} for s in half])
    words = ("score", "pope", base, other, "--data", "micro", "--rules", "strict")
    made = (tmp_path / "t.csv", tmp_path / "t.tex")
    told = cli(*words, "--json", "--csv", made[0], "--tex", made[1])
    gap = told.json()["comparison"][0]
    row = gap["metrics"]["pooled"]["accuracy"]
    on_half = 100 * sum(wrong_now_and_then(s) == right(s) for s in half) / len(half)
    assert (gap["n_common"], gap["n_only_base"], gap["n_only_candidate"]) == (len(half), len(pope) - len(half), 0)
    assert (row["base_common"], row["candidate_common"]) == pytest.approx((on_half, 100.0))
    assert row["candidate_common"] - row["base_common"] == pytest.approx(row["value"])
    assert row["base"] == pytest.approx(told.json()["files"][0]["metrics"]["pooled"]["accuracy"])
    assert f"on the {len(half)} questions that both answered" in told.err
    assert f"base on the {len(half)} common" in cli(*words).out
    written = {(r["file"], r["group"], r["metric"]): r for r in csv.DictReader(made[0].read_text().splitlines())}
    cell = written[str(other), "pooled", "accuracy"]
    assert [float(cell[name]) for name in ("base_common", "common", "difference")] == pytest.approx(
        [on_half, 100.0, 100.0 - on_half]
    )
    assert f"{on_half:.1f} & 100.0" in made[1].read_text()
    assert f"on the {len(half)} questions both answered" in made[1].read_text()


def test_two_fields_that_could_be_the_reply_are_named_and_field_chooses(cli, tmp_path):
    rows = [{"id": 1, "response_64": "A star.", "response_512": "A star and a boat."}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))
    refused = cli("score", "amber", path, "--data", "micro")
    assert refused.code == 2
    assert "'response_64' and 'response_512' could both be the answer: --field response_64 chooses" in refused.err
    assert cli("score", "amber", path, "--data", "micro", "--field", "response_512").code == 0
    unknown = cli("score", "amber", path, "--data", "micro", "--field", "reply")
    assert unknown.code == 2
    assert "no field is called 'reply'; there is id, response_64, response_512" in unknown.err


@pytest.mark.parametrize("extra", [{}, {"mine": "Yes"}, {"llava_output": "Yes"}])
def test_a_question_file_is_no_answer_file_whatever_the_words_are_called(cli, pope, tmp_path, extra):
    rows = [{"question_id": 1, "image": s.image.name, "text": s.prompt, "label": s.target} | extra for s in pope[:1]]
    refused = cli("score", "pope", lines(tmp_path / "coco_pope_random.json", rows), "--data", "micro")
    assert refused.code == 2
    assert "no field is known to hold the model's words" in refused.err
    assert all(f"--field {name}" in refused.err for name in extra)


def test_what_looks_like_a_reply_or_a_probability_and_is_not_read_is_named(cli, pope, tmp_path):
    rows = [said(s, "Yes") | {"category": s.group, "p_yes_logit": 0.5, "extracted_answer": "No"} for s in pope[:6]]
    told = cli("score", "pope", lines(tmp_path / "a.jsonl", rows), "--data", "micro")
    assert "not read: extracted_answer, p_yes_logit" in told.err


def test_lmms_evals_samples_as_written_today_are_placed_by_their_ids_and_words(cli, pope, tmp_path):
    rows = [
        {
            "doc_id": place,
            "target": s.target,
            "filtered_resps": right(s),
            "doc_hash": "0",
            "token_counts": [None],
            "pope_accuracy": {"question_id": s.id.rpartition("/")[2], "score": 1.0, "prediction": "yes"},
            "input": f"{s.prompt}\nAnswer the question using a single word or phrase.",
        }
        for place, s in enumerate(pope)
    ]
    found = cli("score", "pope", lines(tmp_path / "samples_pope.jsonl", rows), "--data", "micro", "--json").json()
    assert (found["format"], found["n_scored"], found["metrics"]["pooled"]["accuracy"]) == (
        "lmms-eval",
        len(pope),
        100.0,
    )


def test_repeated_answers_without_a_category_count_each_time(cli, pope, tmp_path):
    rows = [said(s, right(s)) for s in pope if s.group == "popular"]
    path = lines(tmp_path / "popular.jsonl", rows + rows)
    assert cli("score", "pope", path, "--data", "micro").code == 2
    found = cli("score", "pope", path, "--data", "micro", "--repeats", "--json").json()
    assert found["n"]["popular"] == 2 * len(rows)


def test_a_row_that_contradicts_its_id_is_refused(cli, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"id": 1, "image": "somewhere_else.jpg", "response": "A star."}]))
    told = cli("score", "amber", path, "--data", "micro")
    assert told.code == 2
    assert "line 1, id 1: amber asks nothing about the image 'somewhere_else.jpg'" in told.err


def test_the_older_list_of_random_questions_is_the_one_others_ask(shared):
    """SHA-256 of image, tab, question of pope_coco/coco_pope_random.json of shikiw/OPERA @ 61426ef."""
    registry.load()
    task = make_task("pope", shared / "data")
    by_id = {sample.id: sample for sample in task.every()}
    listed = [by_id[id] for id in task.editions()["2910"]["random"]]
    text = "".join(f"{sample.image.name}\t{sample.prompt}\n" for sample in listed)
    assert len(listed) == 2910
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "537c4c30bee0b687a928ef289e53fd18ce0f788a9c1b102eb7158dc2e66e1c78"
    )


def test_llavas_answers_to_the_older_random_questions_find_theirs(cli, shared, tmp_path):
    registry.load()
    task = make_task("pope", shared / "data")
    by_id = {sample.id: sample for sample in task.every()}
    listed = [by_id[id] for id in task.editions()["2910"]["random"]]
    rows = [
        {
            "question_id": 10_000_000 + n,
            "prompt": s.prompt.replace("image", "imange"),
            "text": right(s),
            "model_id": "m",
        }
        for n, s in enumerate(listed, 1)
    ]
    found = cli("score", "pope", lines(tmp_path / "a.jsonl", rows), "--data", shared / "data", "--json").json()
    assert (found["n"]["random"], found["metrics"]["random"]["accuracy"]) == (2910, 100.0)
