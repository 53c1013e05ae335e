"""The train and sweep commands from the front, on the shipped micro CLIP and a handful of rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

QUICK = [
    word for setting in ("steps=2", "batch=4", "replay_batch=2", "negatives_per_row=4") for word in ("--set", setting)
]


def test_train_prints_before_and_after_and_what_to_do_next(cli: Callable[..., Any], root: Path, tmp_path: Path) -> None:
    said = cli("train", "micro-ohd", "--data", root, "--out", tmp_path / "new", "--max-samples", "8", *QUICK)
    assert said.code == 0, said.err
    assert "ohd_dev" in said.out
    assert f"ohd-bench run --encoder micro --encoder clip:{tmp_path / 'new'} --data {root}" in said.out
    told = json.loads((tmp_path / "new" / "recipe.json").read_text())
    assert told["recipe"]["max_samples"] == told["data"]["rows"] == 8
    again = cli("train", "micro-ohd", "--data", root, "--out", tmp_path / "new", "--max-samples", "8", *QUICK, "--json")
    assert again.json()["after"] == told["measured"]["after"]


def test_sweep_prints_a_row_for_each_setting_over_its_seeds(
    cli: Callable[..., Any], root: Path, tmp_path: Path
) -> None:
    words = [
        "sweep",
        "micro-ohd",
        "micro-control",
        "--data",
        root,
        "--out",
        tmp_path / "s",
        "--vary",
        "seed=0,1",
        *QUICK,
    ]
    said = cli(*words)
    assert said.code == 0, said.err
    assert "micro-control" in said.out
    assert "base" in said.out
    assert len(list((tmp_path / "s" / "points").iterdir())) == 4
    assert (tmp_path / "s" / "sweep.png").is_file()
    rows = cli(*words, "--json").json()
    assert [(row["recipe"], row["seed"]) for row in rows] == [
        ("micro-ohd", "0"),
        ("micro-ohd", "1"),
        ("micro-control", "0"),
        ("micro-control", "1"),
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "micro-odh"], 2, "did you mean micro-ohd"),
        (["train", "micro-ohd", "--set", "leap=1"], 2, "no field 'leap'"),
        (["train", "micro-ohd", "--fraction", "2"], 2, "fraction is a finite number above 0 and at most 1"),
        (["train", "micro-ohd", "--set", "lr=nan"], 2, "lr is a finite number above 0"),
        (["train", "micro-ohd", "--seed", "-1"], 2, "seed is a whole number at least 0"),
        (["train", "micro-ohd", "--seed", "1", "--set", "seed=2"], 2, "seed is set twice, to 2 and to 1"),
        (["sweep", "micro-ohd", "--vary", "seed=0,1,0"], 2, "names 0 twice"),
        (["sweep", "micro-ohd", "--vary", "lr=1,2", "--set", "lr=1"], 2, "lr is varied and set to 1 as well"),
        (["sweep", "micro-ohd", "--vary", "ema=0.5,1.5"], 2, "ema is a finite number at least 0 and below 1"),
        (["train", "micro-ohd", "--set", "base=nothing"], 2, "no encoder is called 'nothing'"),
        (["train", "micro-ohd", "--set", "lr=1e30", "--set", "warmup=0", "--set", "clip_norm=0"], 6, "step "),
    ],
)
def test_what_cannot_be_done_ends_in_one_line(
    cli: Callable[..., Any], root: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    found = cli(*words, "--data", root, "--out", tmp_path / "new", *([] if code == 2 else ["--set", "steps=4"]))
    assert found.code == code
    assert said in found.err
    assert "Traceback" not in found.err


def test_an_out_that_cannot_be_a_folder_is_refused(cli: Callable[..., Any], root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = cli("train", "micro-ohd", "--data", root, "--out", tmp_path / "file" / "new", *QUICK)
    assert found.code == 2
    assert "cannot be written" in found.err


def test_missing_data_is_named(cli: Callable[..., Any], tmp_path: Path) -> None:
    found = cli("train", "micro-ohd", "--data", tmp_path, "--out", tmp_path / "new")
    assert found.code == 3
    assert "train_data.json" in found.err
