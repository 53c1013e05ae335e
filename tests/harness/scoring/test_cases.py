"""Small files from other people, in the formats that users bring, each with its right value (../shared/cases)."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def case(shared, nltk_data):
    return lambda name: next((shared / "cases").glob(name))


@pytest.fixture
def scored(cli, shared):
    def of(task, *words):
        said = cli("score", task, *words, "--data", shared / "data", "--json")
        assert said.code == 0, said.err
        return said.json()

    return of


def test_hedged_negated_and_foreign_answers_are_read_as_the_official_script_reads_them(case, scored):
    found = scored("pope", case("01*"))
    assert found["metrics"]["adversarial"] == {
        "accuracy": 44.0,
        "precision": 47.1,
        "recall": 61.5,
        "f1": 53.3,  # of these two: 2 * 8 / (17 + 13)
        "yes_ratio": 68.0,
    }


def test_every_metric_that_a_table_shows_of_a_group_is_in_the_json(cli, shared, case, scored):
    for task, name in (("pope", "01*"), ("chair", "12*"), ("amber", "30*")):
        found = scored(task, case(name))
        table = cli("score", task, case(name), "--data", shared / "data").out
        table = table.split("signal:")[0].split("published")[0]
        rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in table.splitlines() if "│" in line]
        shown = {(group, metric) for group, metric in rows if group}
        held = {(g, m) for part in ("metrics", "whole") for g, metrics in found[part].items() for m in metrics}
        assert shown and shown <= held


def test_llavas_one_file_of_three_blocks_is_told_apart_by_its_ids(case, scored):
    found = scored("pope", case("02*"))
    right = {"accuracy": 83.3, "precision": 100.0, "recall": 66.7, "f1": 80.0, "yes_ratio": 33.3}
    assert {group: found["metrics"][group] for group in ("random", "popular", "adversarial")} == {
        group: right for group in ("random", "popular", "adversarial")
    }


@pytest.mark.parametrize(("block", "group"), [(0, "adversarial"), (1, "random"), (2, "popular")])
def test_one_of_llavas_blocks_cut_out_alone_is_placed(case, scored, tmp_path, block, group):
    lines = case("02*").read_text().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_text(
        "".join(line for line in lines if json.loads(line)["question_id"] // 10**7 == block)
    )
    found = scored("pope", tmp_path / "a.jsonl")
    assert {name: n for name, n in found["n"].items() if n} == {"pooled": 6, group: 6}


def test_imange_is_image(case, scored):
    assert scored("pope", case("03*"))["n"]["adversarial"] == 6


@pytest.mark.parametrize("name", ["12*", "13*"])
def test_captions_name_their_image_by_file_name_and_under_image(case, scored, name):
    values = scored("chair", case(name), "--rules", "strict")["metrics"]["all"]
    assert (values["CHAIRs"], values["CHAIRi"], values["recall"]) == pytest.approx((40.0, 13.636, 88.889), abs=5e-4)


def test_captions_with_a_question_id_and_an_image_id_are_about_the_image(case, scored):
    values = scored("chair", case("18*"), "--rules", "strict")["metrics"]["all"]
    assert (values["CHAIRs"], values["CHAIRi"], values["recall"]) == pytest.approx((75.0, 11.628, 90.0), abs=5e-4)


def test_objects_over_several_lines_are_read_and_one_that_is_cut_off_is_named(cli, shared, case, scored, tmp_path):
    text = case("19*").read_text()
    (tmp_path / "two.json").write_text("".join(text.splitlines(keepends=True)[:18]))
    assert scored("chair", tmp_path / "two.json")["n_scored"] == 2
    said = cli("score", "chair", case("19*"), "--data", shared / "data")
    assert said.code == 2
    assert "line 19: not JSON" in said.err and "cut off" in said.err


def test_the_original_rules_on_the_later_scripts_truth(case, scored):
    values = scored("chair", case("22*"), "--rules", "original")["metrics"]["all"]
    assert (values["CHAIRs"], values["CHAIRi"]) == pytest.approx((25.0, 100 / 3))


def test_the_words_after_a_reasoning_trace_are_the_answer(case, scored):
    found = scored("pope", case("23*"))
    assert (found["metrics"]["adversarial"]["accuracy"], found["n_scored"], found["n_failed"]) == (100.0, 12, 0)


def test_a_field_that_holds_the_truth_is_not_the_reply(case, scored):
    found = scored("pope", case("26*"))["metrics"]["adversarial"]
    assert (found["accuracy"], found["yes_ratio"]) == (50.0, 100.0)


def test_vlmevalkits_rows_are_matched_by_question_truth_and_categories(cli, shared, case):
    said = cli("score", "pope", case("29*"), "--data", shared / "data", "--json")
    found = said.json()
    assert (found["format"], found["n"]) == (
        "vlmevalkit",
        {"pooled": 26, "random": 9, "popular": 8, "adversarial": 9},
    )
    assert found["metrics"]["pooled"]["accuracy"] == 92.3
    assert "rows are matched by their words: counts are exact, intervals and pairs are not" in said.err


def test_a_count_of_rows_is_not_an_id(case, scored):
    found = scored("amber", case("30*"))
    assert (found["n"]["discriminative"], found["n"]["generative"]) == (20, 0)
    assert found["metrics"]["discriminative"]["accuracy"] == 100.0
