"""The main job on the embedded default: every question of the micro world, towers swapped, killed, gone on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

JOB = ["run", "--lvlm", "micro-llava", "--data", "micro", "--limit", "5"]
PAIR = ["--encoder", "micro", "--encoder", "micro-ohd"]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def values(said) -> list:
    return said.json()["rows"]


def test_the_main_job_asks_everything_swaps_each_tower_and_prints_the_paired_difference(cli, tmp_path):
    said = cli(*JOB, *PAIR, "--results", tmp_path, "--json")
    assert said.code == 0
    found = said.json()
    questions = {"amber", "dash-b", "hallusion", "mme", "mmhal", "pope"}
    asked = questions | {"ohd-caps", "pairs", "retrieval", "winoground", "zero-shot"}
    assert {row["task"] for row in found["rows"]} == asked - {"winoground"}  # its pairs are whole in none of 5 images
    assert all(set(run["tasks"]) == asked for run in found["runs"])
    groups = {row["group"] for row in found["rows"] if row["task"] == "amber"}
    assert {"generative", "discriminative", "discriminative/existence", "discriminative/relation"} <= groups
    assert all(row["differences"][1] for row in found["rows"] if row["values"][1] and row["metric"] == "accuracy")
    first, second = found["runs"]
    assert first["status"] == second["status"] == "complete"
    towers = [run["lvlm"]["digests"]["tower"] for run in found["runs"]]
    assert towers[0] != towers[1]
    parts = [part for part in first["lvlm"]["digests"] if not part.startswith("tower")]
    assert all(first["lvlm"]["digests"][part] == second["lvlm"]["digests"][part] for part in parts)


def test_a_run_killed_in_the_middle_goes_on_and_ends_with_the_metrics_of_an_uninterrupted_one(cli, tmp_path):
    words = [*JOB, "--encoder", "micro-ohd", "-t", "amber"]
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    command = [sys.executable, "-c", "from harness.cli import main; main()", *words, "--results", str(broken)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    give_up = time.monotonic() + 120
    while process.poll() is None and not any(lines(path) > 3 for path in broken.glob("*/amber/records.jsonl")):
        assert time.monotonic() < give_up, "the run answered nothing in two minutes"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert any(lines(path) for path in broken.glob("*/amber/records.jsonl"))
    resumed = cli(*words, "--results", broken, "--batch-size", 2, "--json")
    uninterrupted = cli(*words, "--results", whole, "--json")
    assert resumed.code == uninterrupted.code == 0
    assert values(resumed) == values(uninterrupted)
    manifest = json.loads(next(broken.glob("*/run.json")).read_text())
    assert manifest["tasks"]["amber"]["scored"] == manifest["tasks"]["amber"]["expected"]


def test_answers_do_not_depend_on_the_batch_size(cli, tmp_path):
    words = [*JOB, "--encoder", "micro", "-t", "pope"]
    rows = [values(cli(*words, "--results", tmp_path / n, "--batch-size", n, "--json")) for n in ("1", "3")]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("answer", "recall"), [("parrot", "recall_yes"), ("parrot:no", "recall_no")])
def test_the_parrots_reach_their_floors_and_no_further(cli, tmp_path, answer, recall):
    said = cli("run", "--lvlm", answer, "-t", "pope", "--data", "micro", "--results", tmp_path, "--json")
    whole = {row["metric"]: row["values"][0] for row in said.json()["rows"] if row["group"] == "pooled"}
    assert whole[recall]["value"] == 100
    assert whole["balanced_accuracy"]["value"] == 50
    assert whole["d_prime"]["value"] == 0
    assert whole["yes_ratio"]["value"] == (100 if answer == "parrot" else 0)


def test_a_tower_of_the_wrong_width_ends_with_4_and_says_what_would_fit(cli, tmp_path):
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    vision = CLIPVisionConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16)
    text = CLIPTextConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=64)
    folder = tmp_path / "narrow"
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
    CLIPModel(config).save_pretrained(folder)
    shipped = Path(__file__).parents[2] / "encoders" / "micro" / "weights" / "micro"
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        (folder / name).write_bytes((shipped / name).read_bytes())
    said = cli(*JOB, "--encoder", f"clip:{folder}", "-t", "pope", "--results", tmp_path / "r")
    assert said.code == 4
    assert "32" in said.err
    assert "96" in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_weights_that_are_not_numbers_end_with_6(cli, tmp_path):
    from safetensors.torch import load_file, save_file

    shipped = Path(__file__).parents[2] / "encoders" / "micro" / "weights" / "micro"
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in shipped.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "patch_embedding" in name)
    tensors[name][0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    said = cli("run", "--encoder", f"clip:{folder}", "--data", "micro", "--limit", "3", "--results", tmp_path / "r")
    assert said.code == 6
    assert "not finite" in said.err
