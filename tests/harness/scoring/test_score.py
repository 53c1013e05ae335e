"""The score command, through the front door, on the micro world's questions."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest

from harness import registry
from harness.data import micro
from harness.scoring import published, scored_json
from harness.scoring.score import make_task, score

KEYS = ("task", "rules", "n_expected", "n_scored", "data_digest", "synonyms", "metrics", "intervals")


@pytest.fixture(scope="module")
def world():
    registry.load()
    return micro()


@pytest.fixture(scope="module")
def amber(world):
    return list(make_task("amber", world).samples())


@pytest.fixture(scope="module")
def pope(world):
    return list(make_task("pope", world).samples())


def gold(sample):
    return (
        sample.target.capitalize() if sample.target in ("yes", "no") else f"A {sample.target.replace(', ', ' and a ')}."
    )


def amber_file(path, samples, answer=gold):
    path.write_text(json.dumps([{"id": int(s.id), "response": answer(s)} for s in samples]))
    return path


def pope_rows(samples, answer):
    return [
        {
            "question_id": int(s.id.rpartition("/")[2]),
            "image": s.image.name,
            "question": s.prompt,
            "category": s.group,
            "answer": answer(s),
        }
        for s in samples
    ]


def lines(path, rows, *leave_out):
    kept = [{key: value for key, value in row.items() if key not in leave_out} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return path


def test_gold_answers_give_the_best_scores_and_the_object_holds_what_is_promised(cli, amber, tmp_path):
    said = cli("score", "amber", amber_file(tmp_path / "gold.json", amber), "--data", "micro", "--json")
    assert said.code == 0, said.err
    found = said.json()
    assert list(found)[: len(KEYS)] == list(KEYS)
    assert (found["task"], found["rules"], found["synonyms"]) == ("amber", "official", "none")
    assert found["n_expected"] == found["n_scored"] == len(amber)
    groups = {"generative", "discriminative", "existence", "attribute", "state", "number", "action", "relation"}
    assert set(found["metrics"]) == set(found["intervals"]) == groups
    assert found["metrics"]["generative"] == {"CHAIR": 0.0, "Cover": 100.0, "Hal": 0.0, "Cog": 0.0}
    assert all(found["metrics"][group]["accuracy"] == 100.0 for group in groups - {"generative"})
    assert list(found["metrics"]["state"]) == ["accuracy", "precision", "recall", "f1"]
    assert found["intervals"]["generative"]["Cover"] == [100.0, 100.0]
    assert found["whole"]["all"]["AMBER"] == 100.0


def test_a_model_that_always_says_no_gets_the_floor_that_is_printed(cli, amber, tmp_path):
    found = cli(
        "score", "amber", amber_file(tmp_path / "no.json", amber, lambda s: "No"), "--data", "micro", "--json"
    ).json()
    floor = found["floors"]["always-no"]
    assert {group: found["metrics"][group] for group in floor} == floor
    assert found["signal"]["discriminative"]["balanced_accuracy"] == 50.0
    assert found["signal"]["discriminative"]["yes_ratio"] == 0.0


def test_lower_case_answers_are_wrong_officially_and_right_strictly(cli, amber, tmp_path):
    path = amber_file(tmp_path / "lower.json", amber, lambda s: gold(s).lower())
    found = cli("score", "amber", path, "--data", "micro", "--json").json()
    assert found["metrics"]["discriminative"]["accuracy"] == 0.0
    assert found["strict"]["discriminative"]["accuracy"] == 100.0
    assert found["readings"]["exact"]["discriminative"]["unread"] == 100.0
    assert found["readings"]["lmms-eval"]["discriminative"]["accuracy"] == 100.0
    strict = cli("score", "amber", path, "--data", "micro", "--json", "--rules", "strict").json()
    assert strict["metrics"]["discriminative"] == pytest.approx(found["strict"]["discriminative"])


def test_the_order_of_the_answers_does_not_matter(amber, world, tmp_path):
    task = make_task("amber", world)
    mixed = list(amber)
    random.Random(0).shuffle(mixed)
    noisy = {s.id: random.Random(s.id).choice(["Yes", "No", "A star and a cup.", ""]) for s in amber}
    one = score(task, amber_file(tmp_path / "one.json", amber, lambda s: noisy[s.id]))
    other = score(task, amber_file(tmp_path / "other.json", mixed, lambda s: noisy[s.id]))
    found = [scored_json.as_json(each, None) | {"file": ""} for each in (one, other)]
    assert found[0] == found[1]


def test_shards_add_up_to_the_whole(amber, world, tmp_path):
    task = make_task("amber", world)
    noisy = {s.id: random.Random(s.id).choice(["Yes", "No", "A star and a cup."]) for s in amber}
    whole = score(task, amber_file(tmp_path / "whole.json", amber, lambda s: noisy[s.id]))
    shards = [
        score(task, amber_file(tmp_path / f"{i}.json", amber[i::3], lambda s: noisy[s.id])).totals("discriminative")
        for i in range(3)
    ]
    assert {key: sum(one[key] for one in shards) for key in shards[0]} == whole.totals("discriminative")


def test_the_table_shows_values_signal_readings_and_floors(cli, amber, tmp_path):
    said = cli("score", "amber", amber_file(tmp_path / "gold.json", amber[::5]), "--data", "micro")
    assert said.code == 0
    for words in ("CHAIR", "95 % interval", "strict", "signal", "read in each named way", "floors", "always-no"):
        assert words in said.out, words
    assert "are missing" in said.err


def test_several_files_are_compared_and_a_shift_of_bias_is_told(cli, pope, tmp_path):
    def careful(sample):  # right on 80 % of both
        wrong = random.Random(sample.id).random() < 0.2
        return {"yes": "no", "no": "yes"}[sample.target] if wrong else sample.target

    base = lines(tmp_path / "base.jsonl", pope_rows(pope, careful))
    yes = lines(tmp_path / "yes.jsonl", pope_rows(pope, lambda s: "yes"))
    found = cli("score", "pope", base, yes, "--data", "micro", "--json").json()
    assert len(found["files"]) == 2
    gap = found["comparison"][0]["metrics"]["pooled"]["balanced_accuracy"]
    assert gap["value"] < -20 and gap["high"] < 0 and gap["p"] < 0.01
    said = cli("score", "pope", base, yes, "--data", "micro")
    assert "paired by image" in said.out


def test_pope_groups_and_metrics_are_those_promised(cli, pope, tmp_path):
    path = lines(tmp_path / "always_yes.jsonl", pope_rows(pope, lambda s: "Yes"))
    found = cli("score", "pope", path, "--data", "micro", "--json").json()
    assert set(found["metrics"]) == {"random", "popular", "adversarial", "pooled"}
    assert list(found["metrics"]["random"]) == ["accuracy", "precision", "recall", "f1", "yes_ratio"]
    assert found["metrics"]["pooled"]["yes_ratio"] == 100.0
    assert found["metrics"]["pooled"]["recall"] == 100.0
    assert found["signal"]["pooled"]["d_prime"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "leave_out", [("category",), ("question_id",), ("image", "question"), ("question_id", "category")]
)
def test_pope_answers_find_their_questions_by_whatever_is_told(world, pope, tmp_path, leave_out):
    task = make_task("pope", world)
    path = lines(tmp_path / "answers.jsonl", pope_rows(pope, gold), *leave_out)
    scored = score(task, path)
    assert [sample.id for sample in scored.asked] == [sample.id for sample in pope]
    assert scored.totals("random")["right"] == scored.totals("random")["n"]


@pytest.mark.parametrize("name", ["coco_pope_popular.jsonl", "whatever.jsonl"])
def test_one_sampling_is_told_by_the_file_name_or_the_questions(world, pope, tmp_path, name):
    popular = [sample for sample in pope if sample.group == "popular"]
    out = ("category", "image") if name == "coco_pope_popular.jsonl" else ("category",)
    path = lines(tmp_path / name, pope_rows(popular, gold), *out)
    assert {sample.group for sample in score(make_task("pope", world), path).asked} == {"popular"}


def test_answers_that_fit_several_samplings_are_refused(cli, pope, tmp_path):
    rows = pope_rows([sample for sample in pope if sample.group == "popular"], gold)
    said = cli("score", "pope", lines(tmp_path / "a.jsonl", rows, "category", "image", "question"), "--data", "micro")
    assert said.code == 2
    assert "these answers fit random, popular, adversarial" in said.err


def test_lmms_eval_and_vlmevalkit_and_our_own_records_are_scored_alike(cli, world, pope, tmp_path):
    from openpyxl import Workbook

    rows = pope_rows(pope, gold)
    lmms = [
        {"doc_id": i, "doc": {"question_id": str(r["question_id"]), **r}, "target": "", "filtered_resps": [r["answer"]]}
        for i, r in enumerate(rows)
    ]
    for row in lmms:
        del row["doc"]["image"]
    book = Workbook()
    book.active.append(["index", "image_path", "question", "category", "prediction"])
    for i, r in enumerate(rows):
        suffixed = r["question"] + " Please answer yes or no."
        book.active.append([i, r["image"], suffixed, r["category"], r["answer"]])
    book.save(tmp_path / "kit.xlsx")
    assert cli("run", "-t", "pope", "--lvlm", "parrot", "--data", "micro", "--results", tmp_path / "r").code == 0
    own = next((tmp_path / "r").glob("*/pope*/records.jsonl"))
    files = [lines(tmp_path / "samples_pope.jsonl", lmms), tmp_path / "kit.xlsx", own]
    found = [cli("score", "pope", path, "--data", "micro", "--json").json() for path in files]
    assert [one["format"] for one in found] == ["lmms-eval", "vlmevalkit", "ohd-bench"]
    assert [one["n_scored"] for one in found] == [len(pope)] * 3
    assert [one["metrics"]["pooled"]["accuracy"] for one in found] == [100.0, 100.0, 50.0]


def test_vlmevalkit_rows_that_stand_for_several_samplings_count_in_each(world, pope, tmp_path):
    first = pope[0]
    path = tmp_path / "kit.tsv"
    path.write_text(
        "index\timage_path\tquestion\tcategory\tprediction\n"
        f"0\tx/{first.image.name}\t{first.prompt}\tadversarial,popular,random\tYes\n"
    )
    scored = score(make_task("pope", world), path)
    assert [sample.group for sample in scored.asked] == ["random", "popular", "adversarial"]


def test_failed_answers_are_not_scored_and_are_told(cli, pope, tmp_path):
    rows = [
        {"id": s.id, "image": s.image.name, "group": s.group, "key": "k", "failed": "the server said 500"} for s in pope
    ]
    said = cli("score", "pope", lines(tmp_path / "records.jsonl", rows), "--data", "micro", "--json")
    assert said.json()["n_scored"] == 0
    assert said.json()["n_failed"] == len(pope)
    assert said.json()["metrics"]["pooled"]["accuracy"] is None
    assert f"{len(pope)} answers are recorded as failed" in said.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"id": 999999, "response": "Yes"}]', "line 1, id 999999: amber has no such id"),
        ('[{"id": -1, "response": "Yes"}]', "line 1, id -1: amber has no such id"),
        ('[{"id": 1, "response": "Yes"},\n{"id": 1, "response": "Yes"}]', "line 2, id 1: this question was answered"),
        ('[{"id": 1, "response": null}]', "line 1, id 1: an answer is text, this is null"),
        ('{"id": 1}\n', "line 1, id 1: "),
        ('[{"id": 1, "response": "a"},\n{"id": 2, "response": 5}]', "line 2, id 2: an answer is text, this is int"),
        ('[{"id": 1, "response": "a"},\n{"id": 2}]', "line 2, id 2: an answer is text, this is null"),
        ("index\tanswer\n1\tYes\n", "line 2: nothing says which question of amber this answers"),
        ('[{"id": 3, "response": "' + "a" * 100_000_000 + '"}]', "line 1, id 3: an answer of 100,000,000 characters"),
        ('[{"id": 1, "response": "Ye', "line 1: not JSON"),
    ],
)
def test_bad_input_ends_with_2_and_one_line_that_names_file_line_and_id(cli, tmp_path, text, words):
    path = tmp_path / "bad.json"
    path.write_text(text)
    said = cli("score", "amber", path, "--data", "micro")
    assert said.code == 2
    assert said.out == ""
    assert f"{path}, {words}" in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ohd-caps", "x.json"), "answers to ohd-caps cannot be scored from a file; those to amber, chair"),
        (("ambr", "x.json"), "did you mean amber"),
        (("amber", "x.json", "--rules", "lenient"), "amber has the rules official, strict, not 'lenient'"),
        (("amber?colour=red", "x.json"), "amber has no option 'colour'"),
        (("pope", "x.json", "--synonyms", "none"), "pope has no option 'synonyms'"),
        (("amber", "x.json", "--synonyms", "lg"), "no synonym table is called 'lg'"),
        (("amber", "x.json"), "x.json is not a file"),
    ],
)
def test_wrong_words_end_with_2(cli, words, told):
    said = cli("score", *words, "--data", "micro")
    assert said.code == 2
    assert told in said.err


def test_missing_nltk_data_end_with_3_and_the_command_that_fetches_them(shared, tmp_path):
    path = tmp_path / "one.json"
    path.write_text('[{"id": 1, "response": "A dog sits by a tree."}]')
    nowhere = {"NLTK_DATA": str(tmp_path), "OHD_BENCH_CACHE": str(tmp_path), "HOME": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", "score", "amber", path, "-d", shared / "data"],
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 3
    assert "NLTK's punkt_tab is not on this machine: `ohd-bench data prepare nltk`" in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_the_published_model_that_a_file_is_named_after_stands_beside_with_its_source():
    assert published.named_in("amber", "instructblip-7b_baseline_greedy_8bit.json") == "InstructBLIP"
    assert published.named_in("amber", "llava15-7b.json") == "LLaVA-1.5"
    assert published.named_in("amber", "answers.json") == ""
    beside = published.beside(
        "amber", "InstructBLIP", {"discriminative": {"f1": 80.9}}, {"discriminative": {"f1": (80.3, 81.8)}}
    )
    assert beside == [
        {
            "model": "InstructBLIP",
            "source": "AMBER README, README_File/result.jpg (junyangwang0410/AMBER)",
            "group": "discriminative",
            "metric": "f1",
            "published": 81.7,
            "ours": 80.9,
            "within": True,
        }
    ]


@pytest.mark.parametrize(("name", "models"), [("", {"LLaVA-1.5"}), ("GPT-4V", {"GPT-4V"}), ("qwen", {"Qwen-VL"})])
def test_a_published_model_is_chosen_by_name(name, models):
    assert {entry.model for entry in published.chosen("amber", name)} == models


def test_every_published_value_has_a_source_and_every_group_a_metric_of_its_task(world):
    for entry in published.entries():
        assert entry.source and entry.values
        name = entry.task.partition("?")[0]  # it may be of one way to ask the task
        assert name in registry.tasks
        known = {*registry.tasks[name].metrics, "CHAIR", "Cover", "Hal", "Cog"}
        assert {metric for values in entry.values.values() for metric in values} <= known


@pytest.mark.parametrize("order", [("random",), ("adversarial", "popular", "random")])
def test_answers_that_tell_only_the_question_are_placed_by_the_order_of_the_questions(world, pope, tmp_path, order):
    asked = [sample for group in order for sample in pope if sample.group == group]
    rows = [{"question": sample.prompt, "answer": gold(sample)} for sample in asked]
    scored = score(make_task("pope", world), lines(tmp_path / "answers.jsonl", rows))
    assert [sample.id for sample in scored.asked] == [sample.id for sample in asked]


def test_llavas_answers_are_placed_with_its_prompt_suffix(world, pope, tmp_path):
    suffix = "\nAnswer the question using a single word or phrase."
    rows = [
        {"question_id": int(s.id.rpartition("/")[2]), "prompt": s.prompt + suffix, "text": gold(s), "model_id": "x"}
        for s in pope
        if s.group == "adversarial"
    ]
    scored = score(make_task("pope", world), lines(tmp_path / "answers.jsonl", rows))
    assert {sample.group for sample in scored.asked} == {"adversarial"}
    assert scored.totals("adversarial")["right"] == len(rows)
