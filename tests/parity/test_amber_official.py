"""Every oracle case of AMBER's own script: the printed numbers, the counters, and each caption's own counts."""

from __future__ import annotations

import json

import pytest

from harness.types import Answer
from tasks.amber import Amber

GROUPS = {
    "Generative Task": "generative",
    "Descriminative Task": "discriminative",
    "Exsitence": "existence",
    "Attribute": "attribute",
    "State": "state",
    "Number": "number",
    "Action": "action",
    "Relation": "relation",
}
CASES = (
    "e0_empty_list",
    "e1_single_gen",
    "e4_all_no",
    "e5_all_yes",
    "e6_all_lower",
    "e7_perfect",
    "e8_truth_words_only",
    "e9_empty_responses",
    "f1_synthetic",
    "f4_realistic_rates",
    "real_instructblip-7b_baseline_greedy_8bit",
    "real_llava15-7b_baseline_greedy_8bit",
)
COUNTERS = {
    "chair_num": "nouns",
    "chair_score": "invented",
    "safe_cover_num": "slots",
    "safe_cover_score": "covered",
    "hallu_cover_num": "traps",
    "hallu_cover_score": "trapped",
    "non_hallu_num": "captions",
}


def printed(text):
    """The numbers of the script's output, by our names of groups and metrics."""
    found, group = {}, {}
    for line in filter(str.strip, text.splitlines()):
        name, value = (part.strip() for part in line.split(":"))
        if value:
            group[name if name in ("CHAIR", "Cover", "Hal", "Cog") else name.lower()] = float(value)
        else:
            group = found.setdefault(GROUPS[name], {})
    return found


def files(shared, case):
    responses = shared / "oracle" / "amber" / f"{case}.responses.json"
    if not responses.exists():
        responses = shared / "data" / "amber" / "responses" / f"{case.removeprefix('real_')}.json"
    return responses, json.loads((shared / "oracle" / "amber" / f"{case}.official.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_every_number_that_the_script_prints_is_printed_here(cli, shared, data, case):
    responses, official = files(shared, case)
    said = cli("score", "amber", responses, "--data", data, "--json")
    assert said.code == 0
    assert said.json()["metrics"] == printed(official["printed"])


def test_repeated_answers_count_again_where_asked_for(cli, shared, data):
    responses, official = files(shared, "e2_duplicates")
    said = cli("score", "amber", responses, "--data", data, "--json", "--repeats")
    assert said.json()["metrics"] == printed(official["printed"])


def test_repeated_answers_are_refused_with_line_and_id(cli, shared, data):
    said = cli("score", "amber", files(shared, "e2_duplicates")[0], "--data", data)
    assert said.code == 2
    assert "line 6, id 1: this question was answered on line 2" in said.err


def test_id_zero_is_refused_where_the_script_takes_the_last_question(cli, shared, data):
    said = cli("score", "amber", files(shared, "e3_id_zero")[0], "--data", data)
    assert said.code == 2
    assert "id 0: amber has no such id; it has 1 to 15220" in said.err


@pytest.fixture(scope="module")
def amber(shared):
    task = Amber(shared / "data")
    return task, {sample.id: sample for sample in task.samples()}


@pytest.mark.parametrize(
    "case", ["e1_single_gen", "e2_duplicates", "e8_truth_words_only", "e9_empty_responses", *CASES[-4:]]
)
def test_each_caption_adds_what_the_script_adds_and_has_its_nouns(shared, amber, case):
    task, samples = amber
    responses, official = files(shared, case)
    captions = [row for row in json.loads(responses.read_text()) if samples[str(row["id"])].group == "generative"]
    assert len(captions) == len(official["per_item"]) > 0
    for row, item in zip(captions, official["per_item"], strict=True):
        counted = task.count(samples[str(row["id"])], Answer(row["response"]))
        delta = {name: round(item["delta"].get(name, 0)) for name in COUNTERS}
        assert {name: counted[ours] for name, ours in COUNTERS.items()} == delta, row["id"]
        assert 1 - counted["hallucinated"] == item["delta"].get("non_hallu_score", 0)
        known = [noun for noun in item["nouns"] if noun in task._language.vocabulary()]
        assert task._nouns(row["response"]) == known


@pytest.mark.parametrize("case", CASES)
def test_the_totals_are_the_scripts_counters(shared, amber, case):
    task, samples = amber
    responses, official = files(shared, case)
    totals = {}
    for row in json.loads(responses.read_text()):
        sample = samples[str(row["id"])]
        for name, value in task.count(sample, Answer(row["response"])).items():
            totals[name] = totals.get(name, 0) + value
    ours = {name: totals.get(key, 0) for name, key in COUNTERS.items()}
    ours |= {"qa_correct_num": totals.get("n", 0), "qa_correct_score": totals.get("right", 0)}
    ours |= {"qa_no_num": totals.get("no", 0), "qa_ans_no_num": totals.get("said_no", 0)}
    ours |= {"qa_no_score": totals.get("right_no", 0), "qa_ans_no_score": totals.get("right_no", 0)}
    assert ours == {name: round(official["counters"][name]) for name in ours}


def test_the_packaged_synonyms_and_forms_are_those_of_the_oracle(shared):
    from tasks.amber.vocabulary import forms, known_words, synonyms

    table = json.loads((shared / "oracle" / "amber" / "synonyms.json").read_text())
    assert synonyms("md-3.7.1").pairs == {(row["a"], row["b"]) for row in table["pairs"]}
    assert synonyms("certain").pairs == {(row["a"], row["b"]) for row in table["pairs"] if row["certain"]}
    assert known_words() == set(table["vocabulary"])
    assert forms() == json.loads((shared / "oracle" / "amber" / "surface_to_vocab.json").read_text())
