"""What a study will cost is measured before its first job, and stands beside what the jobs then took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.study import costs
from harness.study.jobs import Sort, Train
from harness.types import Place

SMALL = """
name = "small"
title = "A small study"
base = "micro"
lvlm = "micro-llava"
seeds = 2
tasks = ["ohd-caps", "pope"]

[arms.full]
recipe = "micro-ohd"
lvlm = true
set = { steps = 3, batch = 8, replay_batch = 4, dev_samples = 2, evaluate_every = 3, save_every = 3 }

[alignments.own]
how = "pretrain"
data = "talk.json"
set = { updates = 3, batch = 4, micro_batch = 4, validation = 0 }
"""


@pytest.fixture
def study(cli: Any, tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs ``study`` or ``study plan`` of a small study, with a cache of its own."""
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.toml").write_text(SMALL)
    where = (tmp_path / "small.toml", "--data", world, "--out", tmp_path / "out", "--device", "cpu")

    def run(*words: object) -> Any:
        verb = tuple(word for word in words if word == "plan")
        return cli("study", *verb, *where, *words[len(verb) :])

    return run


def test_a_plan_is_measured_before_anything_is_done_and_stands_beside_what_it_then_took(study, tmp_path, world):
    unknown = study("plan")
    assert "not measured yet: ask an encoder; align own; ask the LVLM; train full\n" in unknown.out
    assert f"small.toml --data {world} --device cpu --estimate" in unknown.out
    found = study("plan", "--estimate", "--json").json()
    assert not (tmp_path / "out").exists(), "nothing of it is kept"
    assert not (tmp_path / "cache" / "features").exists()
    by_says = {one["says"]: one for one in found["costs"]}
    assert list(by_says) == ["ask an encoder", "align own", "ask the LVLM", "train full"]
    assert {says: (one["jobs"], one["left"]) for says, one in by_says.items()} == {
        "ask an encoder": (3, 3), "ask the LVLM": (4, 4), "train full": (2, 2), "align own": (4, 4),
    }  # fmt: skip
    assert [list(one["expected"]) for one in by_says.values()] == [
        ["loading", "ohd-caps"], ["pretrain"], ["loading", "pope"], [""]
    ]  # fmt: skip
    for one in by_says.values():
        parts = one["expected"].values()
        assert one["expected_s"] == pytest.approx(sum(part["estimated_s"] for part in parts))
        assert all(part["peak_bytes"] > 1e8 and part["device"] == "cpu" for part in parts)
        assert one["took"] is None
    assert by_says["train full"]["expected"][""]["counts"]["steps"] == 3
    assert by_says["align own"]["expected"]["pretrain"]["counts"]["updates"] == 3
    assert by_says["ask the LVLM"]["expected"]["pope"]["counts"]["tokens"] > 0
    assert found["seconds"]["train"] == pytest.approx(2 * by_says["train full"]["expected_s"])

    again = study("plan")
    assert "not measured yet" not in again.out and "together about" in again.out
    assert study("plan", "--json").json() == found, "it is known to the next plan"

    assert study("--seeds", "1").code == 0
    taken = [json.loads(line) for line in (tmp_path / "out" / costs.TAKEN).read_text().splitlines()]
    assert len(taken) == 7 and all(one["done"] and one["seconds"] > 0 and one["peak_bytes"] > 1e8 for one in taken)
    assert {one["expected_s"] for one in taken} <= {one["expected_s"] for one in by_says.values()}
    then = {one["says"]: one for one in study("plan", "--json").json()["costs"]}
    assert then["train full"]["left"] == 1 and then["train full"]["took"]["jobs"] == 1
    assert then["align own"]["took"]["jobs"] == then["align own"]["jobs"] - then["align own"]["left"] == 2
    kept = json.loads((tmp_path / "out" / "small" / "study.json").read_text())["costs"]
    assert {one["says"]: one["took"]["seconds"] for one in kept} == {
        says: one["took"]["seconds"] for says, one in then.items()
    }
    assert "What it cost" in (tmp_path / "out" / "small" / "index.html").read_text()


def test_an_estimate_goes_with_the_plan(study):
    said = study("--estimate")
    assert said.code == 2 and "study plan" in said.err


PLUGIN = '''
from dataclasses import dataclass
from harness.registry import recipe

@dataclass(frozen=True)
class Copied:
    base: str = "micro"
    seed: int = 0
    fraction: float = 1.0

    def train(self, data, out):
        raise AssertionError("nothing is trained by a plan")

@recipe("copied")
def copied():
    """A recipe of somebody else's."""
    return Copied()
'''


def test_a_recipe_that_cannot_say_what_it_costs_is_named(study, tmp_path):
    (tmp_path / "plug.py").write_text(PLUGIN)
    told = SMALL.replace('"micro-ohd"', '"copied"').replace("set = { steps", "# set = { steps")
    (tmp_path / "small.toml").write_text(told)
    said = study("plan", "--estimate", "--include", tmp_path)
    assert said.code == 0, said.err
    assert "train full: its recipe cannot say what it costs" in said.err
    assert "not measured yet: train full\n" in said.out


def test_a_job_that_was_stopped_and_gone_on_with_took_both_and_a_torn_line_is_passed_over(tmp_path):
    job = Train("train full, seed 0", tmp_path / "made", Sort("train full", "abc"), object())
    spent = {"device": "cpu", "chips": 2, "peak_bytes": 5}
    costs.note(tmp_path, job, Place(), spent | {"seconds": 10.0})
    assert costs.of([job], tmp_path, Place())[0].took is None, "it is not done"
    with (tmp_path / costs.TAKEN).open("a") as file:
        file.write('{"job": "torn')
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "recipe.json").write_text('{"measured": {}}')
    costs.note(tmp_path, job, Place(), spent | {"seconds": 2.5, "peak_bytes": 4})
    [found] = costs.of([job], tmp_path, Place())
    assert found.took == costs.Took(1, 12.5, "cpu", 2, 5)
    assert (found.left, found.seconds, found.expected_s) == (0, 12.5, None)
