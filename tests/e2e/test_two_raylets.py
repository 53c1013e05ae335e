"""Two raylets: one goes in mid-run, or sees neither models nor pictures, and the records are one process's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import psutil

from harness.data import cache_dir, micro

JOB = ["run", "-e", "micro", "-l", "micro-llava", "-t", "amber", "-t", "ohd-caps", "--limit", "48", "--batch-size", "1"]
PATIENCE = 300


def records(results: Path) -> list[dict[str, object]]:
    paths = results.glob("*/*/records.jsonl")
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if line.endswith("}")]


def waited(process: subprocess.Popen[str], results: Path, more: int) -> None:
    wanted, give_up = len(records(results)) + more, time.monotonic() + PATIENCE
    while len(records(results)) < wanted:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


def test_a_worker_killed_and_a_raylet_gone_in_mid_run_lose_nothing_and_keep_nothing_twice(cli, tmp_path, two_raylets):
    with two_raylets(1) as cluster:
        address = cluster.stdout.readline().strip()
        words = [*JOB, "--json", "--results", str(tmp_path / "two"), "--ray", "auto", "--workers", "2"]
        command = [sys.executable, "-m", "ohd_bench", *words]
        note = tmp_path / "ray" / "ray_current_cluster"  # as `ray start` leaves it
        note.parent.mkdir()
        note.write_text(address)
        joins = {**os.environ, "RAY_TMPDIR": str(tmp_path)}
        joins.pop("RAY_ADDRESS", None)
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=joins)
        waited(run, tmp_path / "two", 1)
        workers = [
            one
            for one in psutil.process_iter(["name"])
            if one.info["name"].startswith("ray::_Actor") and address_of(one, address)
        ]
        assert len(workers) == 2
        workers[0].kill()
        waited(run, tmp_path / "two", 30)
        cluster.stdin.write("remove the second raylet\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "removed\n"
        assert run.poll() is None, "over before the raylet was gone"
        out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    one = cli(*JOB, "--json", "--results", tmp_path / "one")
    found = records(tmp_path / "two")
    assert max(Counter((row["image"], row["id"]) for row in found).values()) == 1
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, records(tmp_path / "one")))
    assert json.loads(out)["rows"] == one.json()["rows"]


def address_of(process: psutil.Process, address: str) -> bool:
    """Whether a worker is one of this cluster's."""
    return any(address in word for parent in process.parents() for word in parent.cmdline())


def test_a_machine_that_sees_neither_models_nor_pictures_is_sent_both(cli, tiny, tmp_path, two_raylets):
    two_raylets.require_hiding()
    here = tmp_path / "here"
    clip = tiny.clip_model(4)
    tiny.save_clip(clip, here / "clip")
    tiny.save_llava(tiny.llava_model(tower=tiny.clip_model(2)), here / "llava")
    shutil.copytree(micro(), here / "data")
    words = [
        "run",
        "-e",
        f"clip:{here}/clip",
        "-l",
        f"llava:{here}/llava?projector={here}/llava",
        "--data",
        here / "data",
    ]
    words += ["-t", "pope", "-t", "ohd-caps", "--limit", "3", "--batch-size", "2", "--device", "cpu"]
    with two_raylets(2, here) as cluster:
        address = cluster.stdout.readline().strip()
        sent = cli(*words, "--results", tmp_path / "sent", "--ray", address, "--workers", "2")
        assert sent.code == 0, sent.err
    assert f"{here}/clip is not seen by every worker: its " in sent.err
    assert f"{here}/llava is not seen by every worker: its " in sent.err
    one = cli(*words, "--results", tmp_path / "one")
    assert one.code == 0, one.err
    assert sorted(map(json.dumps, records(tmp_path / "sent"))) == sorted(map(json.dumps, records(tmp_path / "one")))
    assert len(list((cache_dir() / "shipped").glob("*/llava"))) == 1, "both workers of the machine read one copy"


def test_a_cluster_that_asks_for_a_token_is_joined_with_the_one_kept_here_and_else_named(tmp_path, two_raylets):
    token = uuid.uuid4().hex
    (tmp_path / "with" / ".ray").mkdir(parents=True)
    (tmp_path / "with" / ".ray" / "auth_token").write_text(token)
    (tmp_path / "without").mkdir()
    with two_raylets(1, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token) as cluster:
        address = cluster.stdout.readline().strip()
        words = ["run", "-l", "parrot", "-t", "pope", "--limit", "3", "--ray", address, "--workers", "1"]
        said = {}
        for home in ("with", "without"):
            env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
            env["HOME"] = str(tmp_path / home)
            command = [sys.executable, "-m", "ohd_bench", *words, "--results", str(tmp_path / "results")]
            said[home] = subprocess.run(command, capture_output=True, text=True, env=env)
    assert said["with"].returncode == 0, said["with"].stderr
    assert said["without"].returncode == 2
    assert f"--ray {address}: no cluster can be joined there" in said["without"].stderr
    assert "it asks for a token, which is to be in RAY_AUTH_TOKEN here" in said["without"].stderr
