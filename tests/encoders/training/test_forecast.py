"""What a training will cost is counted as the training counts, measured in a few steps, and leaves nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from encoders.training.settings import Training
from harness.compute.forecast import Forecast, Forecasts, Part
from harness.errors import DataError


def test_steps_and_looks_are_those_the_training_then_does(recipe: Training, root: Path, tmp_path: Path) -> None:
    asked = replace(recipe, steps=5, front=(0.5,), replay=0.5, replay_batch=2)
    found = asked.forecast(root)
    assert isinstance(asked, Forecasts)
    lines = [json.loads(line) for line in (asked.train(root, tmp_path / "run") / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    looks = [line for line in lines if "ohd_dev" in line]
    assert found.counts == {"steps": len(steps), "rows": 12, "images": 5 * 6, "looks": len(looks) + 2}
    by_name = {part.what: part for part in found.parts}
    assert (by_name["steps"].done, by_name["steps"].of) == (4, 5), "the first warms up"
    assert by_name["dev rows"].of == found.counts["looks"] * 6
    assert by_name["pictures"].of == found.counts["looks"] * (6 + 4), "for the drift, and of the classes"
    pictures = [*root.glob("ohd_caps/images/*"), *root.glob("web/images/*"), *root.glob("zero_shot/*/*.png")]
    assert found.read_bytes == sum(path.stat().st_size for path in pictures)
    assert found.start_s > 0 and found.peak_bytes > 0 and found.chips > 0


@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_a_few_steps_speak_for_all_and_nothing_is_written(
    recipe: Training, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.chdir(tmp_path)
    found = replace(recipe, steps=steps).forecast(root)
    assert 1 <= found.parts[0].done <= 6
    assert found.parts[0].expected == pytest.approx(found.parts[0].seconds / found.parts[0].done * steps)
    assert not list(tmp_path.iterdir())


def test_rows_are_those_that_the_steps_take_and_bytes_of_all_whose_digest_a_training_takes(
    recipe: Training, root: Path
) -> None:
    few, more = (replace(recipe, steps=steps, batch=4).forecast(root) for steps in (2, 50))
    assert (few.counts["rows"], more.counts["rows"]) == (8, 12)
    assert few.read_bytes == more.read_bytes


def test_what_the_training_would_refuse_is_refused(recipe: Training, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no OHD-Caps file"):
        recipe.forecast(tmp_path)


def test_a_forecast_is_kept_and_read_as_it_was() -> None:
    made = Forecast((Part("steps", 1.5, 3, 100), Part("dev rows", 0.2, 0, 0)), 2.0, {"steps": 100}, 7, "H100", 1, 9)
    assert Forecast.of(json.loads(json.dumps(made.record()))) == made
    assert made.seconds == pytest.approx(52.0) and made.hours == pytest.approx(52 / 3600)


def test_the_command_says_it_and_writes_nothing(cli, root: Path, tmp_path: Path) -> None:
    words = ("train", "micro-ohd", "--data", root, "--out", tmp_path / "run", "--set", "steps=4", "--set", "batch=4")
    [told] = cli(*words, "--estimate", "--json").json()
    assert told["stage"] == "micro-ohd" and told["counts"]["steps"] == 4
    said = cli(*words, "--estimate")
    assert said.code == 0 and "for 4 steps, 12 rows" in said.out and "core-hours, peak" in said.out
    assert not (tmp_path / "run").exists()
