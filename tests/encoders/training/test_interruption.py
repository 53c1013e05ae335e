"""Trainings that are killed, told to stop or run out of disk: what is kept and said, and that the end is the same."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from encoders.training import checkpoint
from encoders.training.log import Log
from encoders.training.settings import Training
from harness import durable
from harness.cli import main
from harness.stopping import Stopping

KILLS = int(os.environ.get("OHD_BENCH_KILLS", "12"))
SETTINGS = {
    **{"steps": 8, "batch": 5, "replay_batch": 2, "negatives_per_row": 4, "warmup": 0},
    **{"save_every": 2, "evaluate_every": 3, "keep": "ohd_dev", "ema": 0.9},
}
QUICK = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
COMMANDS = {
    "train": ["train", "micro-ohd", *QUICK],
    "sweep": ["sweep", "micro-control", "--vary", "seed=0,1", *QUICK],
}
PROCESSES = multiprocessing.get_context("forkserver")  # PyTorch is imported once, not once a kill
PROCESSES.set_forkserver_preload(["encoders.training.loop", "harness.cli.train", "harness.report.sweep"])


def started(words: list[str], root: Path, out: Path) -> Any:
    process = PROCESSES.Process(target=ended, args=([*words, "--data", str(root), "--out", str(out)],))
    process.start()
    return process


def ended(words: list[str]) -> None:
    """The command's process, which ends with it: no signal comes to what multiprocessing does after."""
    try:
        main(words)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def told(out: Path) -> dict[str, Any]:
    """Everything a training or sweep leaves, by file; weights by digest, the log without its speed."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        found[name] = path.name
        if path.name == "log.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{key: value for key, value in row.items() if key != "images_per_s"} for row in rows]
        elif path.suffix in {".json", ".csv", ".md", ".safetensors"}:
            found[name] = path.read_bytes()
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_whatever_kills_it_and_whenever_the_end_is_that_of_an_undisturbed_one(
    root: Path, tmp_path: Path, command: str
) -> None:
    began = time.monotonic()
    whole = started(COMMANDS[command], root, tmp_path / "run")
    whole.join()
    assert whole.exitcode == 0
    length = time.monotonic() - began
    expected = told(tmp_path / "run")
    rng, kills, folder = Random(command), 0, 0
    while kills < KILLS:
        folder += 1
        (tmp_path / "run").rename(tmp_path / f"before-{folder}")
        while True:
            process = started(COMMANDS[command], root, tmp_path / "run")
            process.join(rng.uniform(0, length) if kills < KILLS else None)
            if process.exitcode is not None:
                break
            number = rng.choice([signal.SIGKILL, signal.SIGTERM])
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
            process.join()
            if process.exitcode == 0:  # it was done before the signal came: no kill
                break
            assert process.exitcode in (-number, 128 + number)
            kills += 1
        assert process.exitcode == 0
        assert told(tmp_path / "run") == expected


def killed_at(number: int, words: list[str]) -> None:
    """The command in this process, which is killed when the file of this number is written and not yet in its place."""
    numbers = itertools.count(1)

    def flush(file: int) -> None:
        if next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    durable.flush, durable.flush_folder = flush, lambda folder: None  # type: ignore[assignment]
    main(words)


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_file_that_it_writes_it_leaves_none_half_written(
    root: Path, tmp_path: Path, command: str
) -> None:
    words = [*COMMANDS[command], "--data", str(root), "--out", str(tmp_path / "run")]
    left = 0
    for number in itertools.count(1):
        process = PROCESSES.Process(target=killed_at, args=(number, words))
        process.start()
        process.join()
        if not process.exitcode:
            break
        assert process.exitcode == -signal.SIGKILL
        left += len([*(tmp_path / "run").rglob(".*.tmp")])
    assert left >= number - 1 > 1, "each kill left a draft"
    assert not [*(tmp_path / "run").rglob(".*.tmp")]


@contextmanager
def asked_to_stop(number: signal.Signals, step: int) -> Iterator[None]:
    """Sends this process the signal when the log has told of the step."""
    tell = Log.__call__

    def told(self: Log, at: int, row: dict[str, Any]) -> bool:
        news = tell(self, at, row)
        if at == step and "loss" in row:
            signal.raise_signal(number)
        return news

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Log, "__call__", told)
        yield


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_checkpoint_loses_no_step(
    cli: Callable[..., Any], root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    words = ["train", "micro-ohd", "--data", root, "--out", out, "--set", "steps=40", "--set", "save_every=1000"]
    words += ["--set", "batch=4", "--set", "replay_batch=2", "--set", "chunk=1"]
    with asked_to_stop(number, 3):
        said = cli(*words)
    assert said.code == 128 + number, said.err
    (kept,) = checkpoint.checkpoints(out)
    step = int(kept.name.rpartition("-")[2])
    assert step == 3
    assert f"{number.name}: step {step} of 40 is done and saved in {out}; the same command goes on" in said.err
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, step + 1))
    assert not isinstance(getattr(signal.getsignal(number), "__self__", None), Stopping)  # the command's own again


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_breaks_off_a_look_which_is_made_when_the_training_goes_on(
    recipe: Training, root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    from encoders.training.loop import TrainingRun
    from harness.errors import Stopped

    recipe = replace(recipe, steps=2, evaluate_every=1, save_every=5)
    whole = recipe.train(root, tmp_path / "whole")
    run = TrainingRun(recipe, root, tmp_path / "cut")
    look, looked = run.looks.__call__, []

    def looks(encoder: Any, go_on: Callable[[], None]) -> dict[str, float]:
        looked.append(encoder)
        if len(looked) == 2:
            signal.raise_signal(number)
        return look(encoder, go_on)

    run.looks = looks  # type: ignore[assignment]
    with pytest.raises(Stopped, match="step 1 of 2 is done and saved") as stop:
        run.train()
    assert stop.value.code == 128 + number
    assert [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()] == [0, 1]
    recipe.train(root, tmp_path / "cut")
    assert told(tmp_path / "cut")["log.jsonl"] == told(whole)["log.jsonl"]


def test_what_differs_when_it_goes_on_is_said_and_recorded(
    recipe: Training, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from encoders.training.loop import TrainingRun
    from harness.errors import Stopped

    recipe = replace(recipe, save_every=1)
    run = TrainingRun(recipe, root, tmp_path / "run")
    run.circumstances = {**run.circumstances, "threads": 64, "versions": {"torch": "1.0"}}
    with asked_to_stop(signal.SIGTERM, 1), pytest.raises(Stopped):
        run.train()
    (kept,) = checkpoint.checkpoints(tmp_path / "run")
    step = int(kept.name.rpartition("-")[2])
    recipe.train(root, tmp_path / "run")
    (resumed,) = json.loads((tmp_path / "run" / "recipe.json").read_text())["resumed"]
    assert resumed["step"] == step
    assert "threads 64 then, 1 now" in resumed["differs"]
    assert any(difference.startswith("torch 1.0 then, ") for difference in resumed["differs"])
    assert f"goes on from step {step}, but not to the bit: " in capsys.readouterr().err
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["resumed"] for row in rows if "resumed" in row] == [resumed["differs"]]


def test_a_full_disk_ends_in_one_line_and_the_checkpoint_before_stays(root: Path, tmp_path: Path) -> None:
    out, here = tmp_path / "run", Path(__file__).parents[3]
    words = ["--data", str(root), "--out", str(out), *QUICK]
    command = [sys.executable, "-c", "from harness.cli import main; main()", "train", "micro-ohd", *words]
    environment = {**os.environ, "PYTHONPATH": str(here)}
    limit = 300_000  # bytes a file: recipe and log fit, weights do not
    said = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert said.returncode == 1, said.stderr
    assert "Traceback" not in said.stderr
    assert "cannot be written (" in said.stderr
    assert "the same command goes on" in said.stderr
    process = started(COMMANDS["train"], root, out)
    process.join()
    assert process.exitcode == 0
    assert not [*out.glob("*checkpoint-*"), *out.glob("*best-*"), *out.glob(".*.tmp")]


def test_damaged_files_are_named_in_one_line(cli: Callable[..., Any], root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "micro-ohd", "--data", root, "--out", out, *QUICK]
    with asked_to_stop(signal.SIGTERM, 1):
        assert cli(*words).code == 143
    (kept,) = checkpoint.checkpoints(out)
    for name, text in (("optimizer.bin", b"PK"), ("progress.json", b'{"step": 1'), ("model.safetensors", b"")):
        whole = (kept / name).read_bytes()
        (kept / name).write_bytes(text)
        said = cli(*words)
        assert said.code == 3
        assert f"{kept} is damaged" in said.err
        assert "Traceback" not in said.err
        (kept / name).write_bytes(whole)
    recipe = (out / "recipe.json").read_bytes()
    for text in (b"", b"[]", b'{"recipe": {', b"\xff"):
        (out / "recipe.json").write_bytes(text)
        said = cli(*words)
        assert said.code == 3
        assert "recipe.json" in said.err
        assert "Traceback" not in said.err
    (out / "recipe.json").write_bytes(recipe)
    assert cli(*words).code == 0


def test_what_a_kill_left_beside_a_finished_training_is_removed(recipe: Training, root: Path, tmp_path: Path) -> None:
    out = replace(recipe, steps=1).train(root, tmp_path / "run")
    for name in ("checkpoint-000001", ".checkpoint-1000000"):
        (out / name).mkdir()
        (out / name / "model.safetensors").write_bytes(b"")
    (out / "best-000001.safetensors").write_bytes(b"")
    (out / "checkpoint-notes.txt").write_text("mine")
    replace(recipe, steps=1).train(root, out)
    assert not [path.name for path in out.iterdir() if "checkpoint-" in path.name and path.is_dir()]
    assert not list(out.glob("best-*"))
    assert (out / "checkpoint-notes.txt").is_file()


def test_a_folder_whose_first_file_was_never_finished_is_taken(recipe: Training, root: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".recipe.json.4711.tmp").write_text('{"reci')
    assert (replace(recipe, steps=1).train(root, tmp_path / "run") / "model.safetensors").is_file()


def test_the_newest_checkpoint_is_the_one_of_the_highest_step(tmp_path: Path) -> None:
    for step in (9, 1_000_000, 999_999):
        (tmp_path / f"checkpoint-{step:06d}").mkdir()
    assert checkpoint.checkpoints(tmp_path)[-1].name == "checkpoint-1000000"
