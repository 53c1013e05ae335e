"""What training gained and what it forgot, on the leaderboard: micro, and micro-ohd's weights mixed into it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

import ohd_bench
from encoders.training import towers
from harness import micro, registry
from harness.kept_runs import runs
from harness.micro.folder import Sizes
from harness.report.tradeoffs import tradeoffs
from harness.types import Place
from harness.verbs.leaderboard import leaderboard

SHARES = (0.5, 1.0)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a base and of two mixtures (WiSE-FT) of it with what was trained from it, on a small world."""
    registry.load()
    folder = tmp_path_factory.mktemp("mixed")
    micro.write(folder / "data", sizes=Sizes(amber=1, caps=12, dev=1, train=1, web=1, pope=1, zero_shot=2))
    base, tuned = (registry.make_encoder(name, Place(device="cpu")) for name in ("micro", "micro-ohd"))
    digest, before, after = base.digest(), _copied(base), _copied(tuned)
    for share in SHARES:
        made = folder / f"mixed-{share}"
        base.model.load_state_dict(towers.interpolated(before, after, share), strict=False)
        base.save(made, "hf")
        mixed = registry.make_encoder(f"clip:{made}", Place(device="cpu"))
        recipe = {"seed": 0, "base": "micro", "interpolate": share}
        told = {"recipe": recipe, "data": {"digest": "d"}, "base_digest": digest, "digest": mixed.digest()}
        (made / "recipe.json").write_text(json.dumps(told))
    encoders = ["micro", *(f"clip:{folder}/mixed-{share}" for share in SHARES)]
    data, tasks = str(folder / "data"), ["ohd-caps", "zero-shot", "pairs"]
    ohd_bench.run(encoders, task=tasks, data=data, results=folder / "results")
    return folder / "results"


def _copied(encoder):
    return {name: tensor.clone() for name, tensor in encoder.tensors().items()}


def share_right(results: Path, encoder: str, task: str) -> float:
    """From the records themselves, in points."""
    (kept,) = [run for run in runs(results) if run.manifest()["encoder"]["spec"].endswith(encoder)]
    lines = (kept.folder / task / "records.jsonl").read_text().splitlines()
    right = [json.loads(line)["counts"]["right"] for line in lines]
    return 100 * sum(right) / len(right)


def test_each_training_says_what_it_gained_and_what_it_forgot_against_its_base(results):
    registry.load()
    found = tradeoffs([(run, run.manifest()) for run in runs(results)])
    assert sorted(one.interpolate for one in found) == [0.5, 1.0]
    assert {one.base for one in found} == {"micro"}
    assert len({one.way for one in found}) == 1
    for one in found:
        encoder = f"mixed-{one.interpolate}"
        lost = share_right(results, encoder, "zero-shot") - share_right(results, "micro", "zero-shot")
        gain = share_right(results, encoder, "ohd-caps") - share_right(results, "micro", "ohd-caps")
        assert one.forgotten.value == pytest.approx(lost)
        assert one.gains["ohd-caps"].value == pytest.approx(gain)
        assert set(one.gains) == {"ohd-caps", "pairs"}
        assert one.forgotten.low <= one.forgotten.value <= one.forgotten.high


def test_the_leaderboard_has_a_column_a_table_and_a_plot_of_it(results):
    board = leaderboard(results)
    table = board.markdown.partition("### ohd-caps\n")[2].partition("\n### ")[0]
    assert "zero-shot Δ to its base" in table
    assert "zero-shot Δ" not in board.markdown.partition("### zero-shot\n")[2].partition("What training gained")[0]
    rows = board.markdown.partition("What training gained, and what it cost")[2].partition("## ")[0]
    assert [line.split(" | ")[2] for line in rows.splitlines() if line.startswith("| `clip")] == ["0.5", "1"]
    html = board.html()
    assert "<svg" in html and "Gain against what it cost" in html and ">0.5<" in html
    told = [row for row in csv.DictReader(io.StringIO(board.csv())) if row["metric"] == "zero-shot_change"]
    assert {row["task"] for row in told} == {"ohd-caps", "pairs"}
    assert len(told) == 2 * len(SHARES)


def test_without_a_base_that_was_asked_nothing_is_said(results, tmp_path):
    for path in results.glob("clip-mixed-1.0*"):
        shutil.copytree(path, tmp_path / "r" / path.name)
    page = leaderboard(tmp_path / "r").markdown
    assert "zero-shot Δ" not in page and "What training gained" not in page
