"""Sweeps: settings read as the recipe's types, folded over seeds, resumable, and the table that comes out."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from harness import registry, sweep
from harness.errors import DataError, UsageError
from harness.report import sweep as plotting

registry.load()


@dataclass(frozen=True)
class Fake:
    """A recipe whose result is its settings."""

    lr: float = 1.0
    seed: int = 0
    shuffle: bool = False
    frozen: tuple[str, ...] = ()
    front: tuple[float, ...] = ()

    def train(self, data: Path, out: Path) -> Path:
        if (out / "recipe.json").is_file():
            return out
        out.mkdir(parents=True, exist_ok=True)
        before = {"step": 0, "ohd_dev": 10.0, "zero_shot": 50.0}
        after = {"step": 9, "ohd_dev": 20.0 + self.seed + self.lr, "zero_shot": 49.0}
        front = [{**after, "interpolate": alpha, "ohd_dev": 10 + 10 * alpha} for alpha in self.front]
        (out / "recipe.json").write_text(
            json.dumps({"measured": {"before": before, "after": after, "front": front}, "runs": 1})
        )
        return out


def test_settings_are_read_as_the_types_of_the_fields() -> None:
    words = {"lr": "1e-3", "seed": "4", "shuffle": "true", "frozen": "text.*+logit_scale"}
    assert sweep.with_settings(Fake(), words) == Fake(1e-3, 4, True, ("text.*", "logit_scale"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"speed": "1"}, "no field 'speed'; it has lr, seed"),
        ({"lr": "fast"}, "lr=fast is not what the recipe reads there"),
        ({"shuffle": "maybe"}, "shuffle=maybe"),
    ],
)
def test_settings_that_cannot_be_are_refused(words: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sweep.with_settings(Fake(), words)


def test_a_choice_outside_the_recipes_choices_names_them() -> None:
    with pytest.raises(UsageError, match="paper, released"):
        sweep.with_settings(registry.recipes["ohd-b32"](), {"form": "best"})
    with pytest.raises(UsageError, match="write FIELD=VALUE"):
        sweep.assignments(["form"])


def test_a_grid_holds_every_combination_of_every_recipe() -> None:
    todo = sweep.points({"a": Fake, "b": Fake}, {"lr": "1,2", "seed": "0,1,2"}, {"shuffle": "true"})
    assert len({point.folder for point in todo}) == 12
    assert todo[4].recipe == Fake(2.0, 1, True)
    assert todo[4].folder == "a-lr=2-seed=1"


def test_seeds_are_folded_to_mean_and_students_interval(tmp_path: Path) -> None:
    todo = sweep.points({"a": Fake}, {"lr": "1,2", "seed": "0,1,2"}, {})
    rows = [row for found in sweep.run(todo, tmp_path, tmp_path / "out") for row in found]
    folded = sweep.write(tmp_path / "out", rows)
    assert [(row["recipe"], row["lr"], row["seeds"], row["ohd_dev"]) for row in folded] == [
        ("a", "1", 3, 22.0),
        ("a", "2", 3, 23.0),
    ]
    assert folded[0]["ohd_dev_high"] == pytest.approx(22 + 4.302653 / math.sqrt(3), abs=1e-4)
    assert folded[0]["ohd_dev_before"] == 10
    table = list(csv.DictReader((tmp_path / "out" / "seeds.csv").read_text().splitlines()))
    assert [row["ohd_dev"] for row in table] == ["22.0", "23.0"]
    plotting.write(tmp_path / "out", folded)
    assert (tmp_path / "out" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "sweep.pdf").read_bytes().startswith(b"%PDF")
    assert len(json.loads((tmp_path / "out" / "sweep.json").read_text())) == 6


def test_a_sweep_goes_on_from_its_finished_points(tmp_path: Path) -> None:
    todo = sweep.points({"a": Fake}, {"seed": "0,1"}, {})
    next(sweep.run(todo, tmp_path, tmp_path))
    told = tmp_path / "points" / "a-seed=0" / "recipe.json"
    before = told.stat().st_mtime_ns
    assert len(list(sweep.run(todo, tmp_path, tmp_path))) == 2
    assert told.stat().st_mtime_ns == before


def test_interpolations_are_measured_in_one_training(tmp_path: Path) -> None:
    todo = sweep.points({"a": Fake}, {"interpolate": "0,0.5,1"}, {})
    assert [point.recipe for point in todo] == [Fake(front=(0.0, 0.5, 1.0))]
    rows = [row for found in sweep.run(todo, tmp_path, tmp_path) for row in found]
    folded = sweep.write(tmp_path, rows)
    assert [(row["interpolate"], row["ohd_dev"]) for row in folded] == [(0.0, 10.0), (0.5, 15.0), (1.0, 20.0)]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    (found,) = sweep.run(sweep.points({"a": Fake}, {}, {}), tmp_path, tmp_path)
    assert math.isnan(sweep.write(tmp_path, found)[0]["ohd_dev_low"])


@pytest.mark.parametrize(("keep", "kept"), [("all", ["1", "2", "3", "0"]), ("best", ["3"]), ("none", [])])
def test_weights_stay_of_all_points_of_the_best_or_of_none_and_what_was_measured_of_all(
    tmp_path: Path, keep: Literal["all", "best", "none"], kept: list[str]
) -> None:
    todo = sweep.points({"a": Fake}, {"lr": "1,2,3,0"}, {})
    for point in todo:
        (tmp_path / "points" / point.folder).mkdir(parents=True)
        (tmp_path / "points" / point.folder / "model.safetensors").write_bytes(b"")
    for _ in range(2):  # and the same when the points are only read
        rows = [row for found in sweep.run(todo, tmp_path, tmp_path, keep) for row in found]
        assert len(rows) == 4
        there = [p.settings["lr"] for p in todo if (tmp_path / "points" / p.folder / "model.safetensors").is_file()]
        assert there == kept
    assert len(list(tmp_path.glob("points/*/recipe.json"))) == 4


def test_a_value_with_slashes_stays_one_folder() -> None:
    (point,) = sweep.points({"a": Fake}, {"frozen": "../x/*"}, {})
    assert point.folder == "a-frozen=..%2Fx%2F*"


@pytest.mark.parametrize(
    ("vary", "fixed", "said"),
    [
        ({"lr": "1,2,1"}, {}, "names 1 twice$"),
        ({"lr": "1e-3,1,0.001"}, {}, "names 1e-3 twice, as 1e-3 and as 0.001"),
        ({"seed": "0,1,00"}, {}, "names 0 twice, as 0 and as 00"),
        ({"shuffle": "true,True"}, {}, "names true twice, as true and as True"),
        ({"frozen": "a+b,b,a++b"}, {}, r"names a\+b twice, as a\+b and as a\+\+b"),
        ({"front": "0+1,0.0+1.0"}, {}, r"names 0\+1 twice"),
        ({"interpolate": "0,1,1.0"}, {}, "names 1 twice, as 1 and as 1.0"),
        ({"lr": "1"}, {"lr": "2"}, "lr is varied and set to 2 as well"),
    ],
)
def test_a_grid_that_counts_something_twice_is_refused(vary: dict[str, str], fixed: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sweep.points({"a": Fake}, vary, fixed)


def test_a_recipe_that_is_named_twice_is_refused_before_anything_is_trained(cli, tmp_path: Path) -> None:
    said = cli("sweep", "micro-ohd", "micro-control", "micro-ohd", "--out", tmp_path / "out")
    assert said.code == 2 and "the recipe micro-ohd is named twice" in said.err
    said = cli("sweep", "micro-ohd", "--vary", "seed=0,00", "--out", tmp_path / "out")
    assert said.code == 2 and "names 0 twice, as 0 and as 00" in said.err
    assert not (tmp_path / "out").exists()


def test_a_point_whose_recipe_is_damaged_is_named(tmp_path: Path) -> None:
    todo = sweep.points({"a": Fake}, {}, {})
    (tmp_path / "points" / "a").mkdir(parents=True)
    (tmp_path / "points" / "a" / "recipe.json").write_text('{"recipe": {}}')
    with pytest.raises(DataError, match="nothing that was measured"):
        next(sweep.run(todo, tmp_path, tmp_path))
