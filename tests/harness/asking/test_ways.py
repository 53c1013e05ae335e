"""``run`` with workers, with a verified share, and with an estimate, through the front door."""

from __future__ import annotations

import json

import pytest


def manifest(results):
    return json.loads(next(results.glob("*/run.json")).read_text())


def rows(said):
    return [{k: v for k, v in row.items() if k != "run"} for row in said.json()["rows"]]


def test_two_workers_give_the_numbers_of_one_process(cli, tmp_path):
    words = ("run", "--lvlm", "parrot", "--task", "amber", "--limit", "5", "--json")
    one = cli(*words, "--results", tmp_path / "one")
    two = cli(*words, "--results", tmp_path / "two", "--workers", "2")
    assert one.code == two.code == 0
    assert rows(one) == rows(two)


def test_verify_puts_the_flip_rate_into_the_record_and_under_the_table(cli, tmp_path):
    words = ("run", "--lvlm", "parrot", "--task", "amber", "--limit", "5", "--results", tmp_path)
    said = cli(*words, "--verify", "0.5")
    assert said.code == 0
    assert "answers flip when asked alone (0.0%" in said.out
    kept = manifest(tmp_path)["tasks"]["amber"]["verify"]
    assert kept["asked"] > 5
    assert kept["flip_rate"] == 0


def test_an_estimate_prints_a_duration_and_keeps_nothing(cli, tmp_path):
    said = cli("run", "--lvlm", "parrot", "--task", "amber", "--results", tmp_path / "none", "--estimate")
    assert said.code == 0
    assert "parrot: amber: about" in said.out
    assert not (tmp_path / "none").exists()


def test_an_estimate_as_json_is_one_entry_for_each_encoder_and_task(cli, tmp_path):
    words = ("run", "--encoder", "hashing", "--encoder", "micro", "--task", "ohd-caps", "--results", tmp_path / "none")
    said = cli(*words, "--limit", "6", "--estimate", "--json")
    assert said.code == 0
    assert [(one["encoder"], one["lvlm"], one["task"]) for one in said.json()] == [
        ("hashing", "", "ohd-caps"),
        ("micro", "", "ohd-caps"),
    ]
    for one in said.json():
        assert one["estimated_s"] == pytest.approx(one["measured_s"] / one["samples"] * one["of_samples"])
        assert one["of_images"] == 6


def test_an_estimate_says_hours_memory_and_bytes_and_stands_beside_what_the_run_then_took(cli, tmp_path):
    words = ("run", "--encoder", "micro", "--task", "ohd-caps", "--limit", "7", "--seed", "3", "--results", tmp_path)
    one = cli(*words, "--estimate", "--json").json()[0]
    assert one["chip_hours"] == pytest.approx(one["estimated_s"] * one["chips"] / 3600)
    assert one["peak_bytes"] > 1e8 and one["device"] == "cpu"
    assert one["of_images"] == 7 and 7 * 100 < one["read_bytes"] < 7 * 100_000
    assert cli(*words).code == 0
    cost = manifest(tmp_path)["cost"]
    about_the_way = ("encoder", "lvlm", "task", "ready_s", "format_version")
    told = {key: value for key, value in one.items() if key not in about_the_way}
    assert cost["tasks"]["ohd-caps"]["estimated"] == told and cost["peak_bytes"] > 1e8
    assert cost["tasks"]["ohd-caps"]["seconds"] >= 0
    assert "core-hours, peak" in cli(*words, "--estimate").out


def test_an_estimate_says_that_it_leaves_workers_out(cli, tmp_path):
    words = ("run", "--lvlm", "parrot", "--task", "amber", "--limit", "3", "--results", tmp_path, "--estimate")
    assert "--estimate measures one process; what --workers 3 gains" in cli(*words, "--workers", "3").err
    assert "--estimate measures the whole run; --shard 1/3 asks a share of it" in cli(*words, "--shard", "1/3").err
    assert "--workers" not in cli(*words).err


def test_zero_workers_are_refused(cli, tmp_path):
    assert cli("run", "--lvlm", "parrot", "--workers", "0", "--results", tmp_path).code == 2
