"""A killed alignment ends with the same bits as an undisturbed one, and two processes train what one trains."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from harness.digest import of_file
from harness.vision_language import identity

ROOT = Path(__file__).parents[4]
RUN = "from harness.cli import main; main()"
SETTINGS = {"updates": 12, "save_every": 2, "validation": 0.2, "evaluate_every": 5, "lora_dropout": 0.1}


@pytest.fixture(scope="module")
def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def begun(words, environment) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, words)], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def reached(process: subprocess.Popen, out: Path, update: int, stage: str = "lora") -> bool:
    """Whether the training came so far before it ended."""
    while process.poll() is None:
        if any(int(path.name.split("-")[1]) >= update for path in out.glob(f"checkpoints/{stage}/checkpoint-*")):
            return True
        time.sleep(0.002)  # a process of its own is watched: there is nothing to wait on
    return False


def test_killed_at_five_random_updates_it_ends_with_the_same_bits(words, cli, tmp_path, environment):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert cli(*words(whole, "lora", "base", **SETTINGS)).code == 0
    draw, kills = random.Random(14), 0
    for update in sorted(draw.sample(range(1, 11), 5)):
        process = begun(words(killed, "lora", "base", **SETTINGS), environment)
        if reached(process, killed, update):
            time.sleep(draw.random() * 0.05)  # somewhere in an update, or amid a checkpoint
            process.kill()
            kills += 1
        process.communicate()
    assert kills
    assert cli(*words(killed, "lora", "base", **SETTINGS)).code == 0
    assert of_file(whole / "model.safetensors") == of_file(killed / "model.safetensors")
    told = [json.loads((out / "align.json").read_text())["stages"][0] for out in (whole, killed)]
    for key in ("loss", "held_out_loss", "projector", "adapter", "language_model"):
        assert told[0][key] == told[1][key], key


def test_a_signal_saves_the_update_under_way_and_ends_with_its_code(words, cli, tmp_path, environment):
    out, settings = tmp_path / "stopped", {**SETTINGS, "updates": 400, "save_every": 1, "validation": 0}
    process = begun(words(out, "lora", "base", **settings), environment)
    assert reached(process, out, 1)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1]
    assert process.returncode == 143
    assert "is done and saved in" in said and "the same command goes on from there" in said
    assert not (out / "align.json").exists()


AMID = """
import os
import signal

from transformers import Trainer

whole = Trainer._save_rng_state


def half(trainer, folder):
    if os.environ["RANK"] == "1" and trainer.state.global_step == 2:
        os.makedirs(folder, exist_ok=True)
        open(os.path.join(folder, "rng_state_1.pth"), "wb").close()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(trainer, folder)


Trainer._save_rng_state = half
"""


@pytest.mark.parametrize("amid", ["", AMID], ids=["somewhere", "amid its part of a checkpoint"])
def test_two_processes_killed_once_train_what_one_trains(words, tmp_path, environment, cli, amid):
    one, two = tmp_path / "one", tmp_path / "two"
    # At the recipe's own rate: at fifty times that, Adam makes much of the last bit of a gradient near zero.
    settings = {**SETTINGS, "updates": 6, "lora_dropout": 0, "validation": 0, "batch": 8, "rate": 2e-4, "save_every": 1}
    assert cli(*words(one, "lora", "base", **settings)).code == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = tmp_path / "run.py"
    script.write_text(amid + RUN)
    command = [*launch, str(script), *map(str, words(two, "lora", "base", **settings))]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert reached(process, two, 1)
    if not amid:
        psutil.Process(process.pid).children()[-1].kill()
    process.communicate()
    assert process.returncode
    script.write_text(RUN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told = [json.loads((out / "align.json").read_text())["stages"][0] for out in (one, two)]
    assert (told[0]["processes"], told[1]["processes"]) == (1, 2)
    for (update, single), (again, double) in zip(told[0]["loss"], told[1]["loss"], strict=True):
        assert update == again
        assert double == pytest.approx(single, abs=1e-5)


SHARDED = """
import accelerate.state
from accelerate.utils import DistributedType

first = accelerate.state.AcceleratorState.__init__


def begun(state, *given, fsdp_plugin=None, **more):
    \"\"\"accelerate shards over GPUs alone; torch does so over the processes of a CPU as well.\"\"\"
    first(state, *given, fsdp_plugin=fsdp_plugin, **more)
    if fsdp_plugin is not None:
        state.__dict__["fsdp_plugin"] = fsdp_plugin
    if state.__dict__.get("fsdp_plugin") is not None:
        state.distributed_type = DistributedType.FSDP


accelerate.state.AcceleratorState.__init__ = begun
"""


def test_sharded_over_three_processes_of_which_one_is_lost_it_goes_on_in_two_and_writes_whole_weights(
    words, tmp_path, environment, cli
):
    """FSDP over gloo: some processes have rows without images; the batch stays that of all processes."""
    one, lost = tmp_path / "one", tmp_path / "lost"
    settings = {"updates": 4, "save_every": 1, "batch": 12, "rate": 2e-4}
    assert cli(*words(one, "full", "base", **settings)).code == 0
    (tmp_path / "run.py").write_text(SHARDED + RUN)

    def started(processes):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        asked = map(str, words(lost, "full", "base", **settings, fsdp="full_shard"))
        command = [*launch, str(tmp_path / "run.py"), *asked]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    three = started(3)
    assert reached(three, lost, 1, "full"), three.communicate()[1][-2000:]
    psutil.Process(three.pid).children()[-1].kill()
    said = three.communicate()[1]
    assert three.returncode != 0 and not (lost / "align.json").exists(), said[-2000:]
    two = started(2)
    said = two.communicate()[1]
    assert two.returncode == 0, said[-2000:]
    told = [json.loads((out / "align.json").read_text())["stages"][0] for out in (one, lost)]
    assert (told[0]["processes"], told[1]["processes"]) == (1, 2)
    assert [update for update, _ in told[1]["loss"]] == [1, 2, 3, 4]
    whole, gathered = (load_file(out / "model.safetensors") for out in (one, lost))
    assert whole.keys() == gathered.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(gathered[name], tensor, atol=1e-5, rtol=1e-4, msg=name)


def test_sharding_without_several_processes_says_how_to_start_them(words, tmp_path, cli, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    said = cli(*words(tmp_path / "out", "full", "base", fsdp="full_shard"))
    assert said.code == 2
    assert "fsdp shards a model over processes: start them with torchrun" in said.err


@pytest.mark.parametrize("stages", ["pretrain", "pretrain,lora"])
def test_a_signal_after_the_last_update_ends_the_command_and_loses_nothing(stages, words, cli, tmp_path, monkeypatch):
    """It comes while held-out rows are looked at: no update follows that could heed it."""
    out, look = tmp_path / "late", Trainer.evaluate

    def interrupted(trainer, *given, **more):
        if trainer.state.global_step == 4:
            signal.raise_signal(signal.SIGTERM)
        return look(trainer, *given, **more)

    command = words(out, stages, validation=0.2, evaluate_every=4)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "evaluate", interrupted)
        said = cli(*command)
    assert said.code == 143
    assert "the same command goes on from there" in said.err or f"all is done, {out} is whole" in said.err
    first = out if stages == "pretrain" else out / "pretrain"
    assert (first / "align.json").is_file()
    again = cli(*command)
    assert again.code == 0, again.err
    whole = tmp_path / "whole"
    assert cli(*words(whole, stages, validation=0.2, evaluate_every=4)).code == 0
    assert load_file(out / "model.safetensors").keys() == load_file(whole / "model.safetensors").keys()
    assert identity.values(load_file(out / "model.safetensors")) == identity.values(
        load_file(whole / "model.safetensors")
    )
