"""500 real captions of LLaVA-1.5-7B: the published digits."""

from __future__ import annotations

import pytest


@pytest.fixture
def captions(data):
    return data / "chair" / "llava15-7b_greedy_500.jsonl"


def test_the_published_digits_come_out(cli, data, captions):
    said = cli("score", "chair", captions, "--data", data, "--json").json()
    assert {k: said["metrics"]["all"][k] for k in ("CHAIRs", "CHAIRi", "f1")} == {
        "CHAIRs": 49.0,
        "CHAIRi": 13.3,
        "f1": 77.9,
    }
    assert said["whole"]["all"]["precision"] == 76.0
    assert said["metrics"]["all"]["recall"] == pytest.approx(79.85, abs=0.06)
    assert [row["within"] for row in said["reference"]] == [True, True, True]
    assert (said["n_expected"], said["n_scored"]) == (500, 500)


def test_the_original_rules_never_find_a_bus(cli, data, tmp_path):
    bus = tmp_path / "bus.jsonl"
    bus.write_text('{"image_id": 74, "caption": "A bus waits for the dog."}\n')  # image 74 has a dog, and no bus
    later = cli("score", "chair", bus, "--data", data, "--json").json()
    original = cli("score", "chair", bus, "--data", data, "--json", "--rules", "original").json()
    assert later["metrics"]["all"]["CHAIRi"] == 50.0
    assert original["metrics"]["all"]["CHAIRi"] == 0.0


def test_another_list_of_images_is_told(cli, data, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"image_id": 558840, "caption": "A person eats a hot dog."}\n')
    said = cli("score", "chair", other, "--data", data, "--json")
    assert said.code == 0
    assert "1 answers are about images off the task's list" in said.err
    assert said.json()["metrics"]["all"]["CHAIRi"] == 0.0


def test_an_image_without_objects_is_refused(cli, data, tmp_path):
    other = tmp_path / "other.json"
    other.write_text('[{"image_id": 99999999, "caption": "A dog."}]')
    said = cli("score", "chair", other, "--data", data)
    assert said.code == 2
    assert "line 1, id 99999999" in said.err
