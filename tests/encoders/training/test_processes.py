"""Several processes by the lines that docs/train.md prints, on this machine: one training, whatever their number."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from torch.testing import assert_close

from encoders.training import checkpoint, towers
from harness import registry, sweep

HERE = Path(__file__).parents[3]
SCRIPTS = Path(sysconfig.get_path("scripts"))
STEPS = 40
ODD = {"batch": 11, "replay_batch": 3, "steps": STEPS, "lr": 1e-4, "negatives_per_row": 4, "warmup": 0, "chunk": 2}
WORDS = [word for name, value in ODD.items() for word in ("--set", f"{name}={value}")]


def documented(launcher: str, processes: int, root: Path, out: Path) -> list[str]:
    """The line of docs/train.md that starts with this launcher, for so many processes and our recipe."""
    lines = (HERE / "docs" / "train.md").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(launcher))
    before, _, after = line.partition(" ohd-bench train ")
    assert after.split()[:5] == ["ohd-b32", "--data", "DIR", "--out", "runs/ohd-b32"]
    told = ["ohd-bench", "train", "micro-ohd", "--data", str(root), "--out", str(out), *WORDS]
    return [word.replace("4", str(processes)) for word in shlex.split(before)] + told


def start(command: list[str], tmp_path: Path) -> subprocess.Popen[str]:
    if not shutil.which(command[0], path=SCRIPTS) or not shutil.which("ohd-bench", path=SCRIPTS):
        pytest.skip(f"{command[0]} and ohd-bench are not installed as commands")
    environment = {name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_CPU"}
    environment |= {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    return subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stderr=subprocess.PIPE)


def log(out: Path, what: str = "loss") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if what in row]


@pytest.fixture(scope="module")
def alone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training in one process."""
    registry.load()
    settings = {name: str(value) for name, value in ODD.items()}
    recipe = sweep.with_settings(registry.recipes["micro-ohd"](), settings)
    return recipe.train(root, tmp_path_factory.mktemp("one") / "alone")


def assert_same_training(one: Path, other: Path) -> None:
    assert [row["step"] for row in log(other)] == [row["step"] for row in log(one)] == list(range(1, STEPS + 1))
    for first, second in zip(log(one), log(other), strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=1e-3, abs=1e-5)
    # What it computes, not its weights one by one: some, a bias of keys for one, change nothing and are moved by noise.
    texts = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("bird", "cup on a tree")]
    first, second = (towers.base(f"clip:{out}").encode_texts(texts) for out in (one, other))
    assert_close(first, second, atol=2e-3, rtol=0)
    recipes = [json.loads((out / "recipe.json").read_text()) for out in (one, other)]
    assert recipes[0]["recipe"] == recipes[1]["recipe"]
    assert recipes[1]["recipe"]["batch"] == ODD["batch"]


def test_torchrun_is_stopped_with_two_processes_and_goes_on_with_three(alone: Path, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "several"
    two = start(documented("torchrun", 2, root, out), tmp_path)
    while two.poll() is None and not ((out / "log.jsonl").is_file() and log(out)):
        with contextlib.suppress(subprocess.TimeoutExpired):
            two.wait(0.02)
    two.send_signal(signal.SIGTERM)
    said = two.communicate(timeout=300)[1]
    assert two.returncode != 0
    (kept,) = checkpoint.checkpoints(out)
    step = int(kept.name.rpartition("-")[2])
    assert f"SIGTERM: step {step} of {STEPS} is done and saved" in said
    assert log(out)[-1]["step"] == step

    three = start(documented("torchrun", 3, root, out), tmp_path)
    said = three.communicate(timeout=300)[1]
    assert three.returncode == 0, said
    assert f"goes on from step {step}, but not to the bit: processes 2 then, 3 now" in said
    assert_same_training(alone, out)


def test_accelerate_starts_two_processes(alone: Path, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "several"
    two = start(documented("accelerate launch", 2, root, out), tmp_path)
    said = two.communicate(timeout=300)[1]
    assert two.returncode == 0, said
    assert json.loads((out / "recipe.json").read_text())["processes"] == 2
    assert_same_training(alone, out)
