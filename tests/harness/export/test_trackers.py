"""``run --log-with``: what was measured stands in the tracker; what is not there is said before anything is asked."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.export import trackers
from harness.store import Run

MakeRun = Callable[..., Run]
ASKED = ("run", "--lvlm", "parrot", "--task", "pope", "--limit", "2", "--data", "micro")


def test_a_tracker_that_is_unknown_or_absent_is_said_before_anything_is_asked(cli, tmp_path: Path) -> None:
    said = cli(*ASKED, "--results", tmp_path, "--log-with", "comet")
    assert said.code == 2 and "there is wandb, tensorboard, mlflow" in said.err
    if importlib.util.find_spec("mlflow") is None:
        said = cli(*ASKED, "--results", tmp_path, "--log-with", "mlflow")
        assert said.code == 2 and "this needs the package 'mlflow': pip install 'ohd-bench[mlflow]'" in said.err
    assert list(tmp_path.iterdir()) == []


def test_every_metric_has_a_name_that_all_trackers_take(make_run: MakeRun) -> None:
    run = make_run("a@1", tasks=("pope", "ohd-caps"))
    told = trackers.values(run)
    assert {"pope/pooled/f1", "pope/pooled/f1/low", "ohd-caps/average/top1"} <= set(told)
    assert all(re.fullmatch(r"[\w./ -]+", name) and value == value for name, value in told.items())
    assert trackers.config(run)["run"] == "a@1"


def test_tensorboard_holds_what_the_run_measured(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'ohd-bench[tensorboard]'")
    words = [*ASKED, "--results", str(tmp_path), "--log-with", "tensorboard"]
    done = subprocess.run([sys.executable, "-m", "ohd_bench", *words], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (tmp_path / trackers.FOLDER).iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    run = next(Run(path.parent) for path in tmp_path.glob("*/run.json"))
    told = trackers.values(run)
    assert {name: events.Scalars(name)[0].value for name in told} == pytest.approx(told)
