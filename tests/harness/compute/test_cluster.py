"""A Ray that the command starts is its own and ends with it, whatever is there and whenever a signal comes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

PLUGIN = """
import os
from ohd_bench import Answer, lvlm

@lvlm("other")
def other(spec, place):
    return lambda encoder: Other(spec.text)

class Other:
    def __init__(self, spec):
        self.spec = spec

    def answers(self, asked):
        for one in asked:
            for sample in one.samples:
                yield sample, Answer("Yes")

    def render(self, prompt):
        return prompt

    def digests(self):
        return {"language_model": str(os.getpid())}

    def describe(self):
        return {}
"""
PARROT = ("run", "-l", "parrot", "-t", "pope", "--limit", "2", "--batch-size", "1")


@pytest.mark.parametrize(
    ("number", "code", "after"),
    [
        (signal.SIGTERM, 143, 0.0),
        (signal.SIGTERM, 143, 1.0),
        (signal.SIGTERM, 143, 2.0),
        (signal.SIGINT, 130, 0.5),
        (signal.SIGINT, 130, 1.5),
    ],
)
def test_a_signal_while_ray_starts_ends_it_as_any_other_does_and_leaves_nothing(tmp_path, number, code, after):
    command = [sys.executable, "-m", "ohd_bench", *PARROT, "--results", str(tmp_path), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(Path("/tmp").glob(f"ohd-ray-{process.pid}-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(after)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == code, said
    assert "ed; what was answered is kept" in said.splitlines()[-1]
    assert not psutil.wait_procs(family, timeout=300)[1]
    assert not list(Path("/tmp").glob(f"ohd-ray-{process.pid}-*"))


def test_another_cluster_in_the_environment_and_a_folder_named_as_ours_are_in_nobodys_way(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    folder = tempfile.mkdtemp(prefix="ohd-ray-mine-", dir="/tmp")
    try:
        said = cli(*PARROT, "--results", tmp_path, "--workers", "2")
        assert said.code == 0, said.err
        assert Path(folder).is_dir()
    finally:
        shutil.rmtree(folder)


def test_errors_of_workers_at_once_are_told_in_one_line(tmp_path):
    """A model that is another in each process: the second worker finds that of every batch it is given."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "other.py").write_text(PLUGIN)
    asked = ["run", "-l", "other", "-t", "pope", "--limit", "10", "--batch-size", "2", "--workers", "2"]
    words = [*asked, "--include", str(tmp_path / "plugins"), "--results", str(tmp_path / "results")]
    done = subprocess.run([sys.executable, "-m", "ohd_bench", *words], capture_output=True, text=True)
    assert done.returncode == 4
    assert "differs from the first worker in lvlm digests" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and "Unhandled" not in done.stderr


def test_what_speaks_http_2_and_is_no_ray_is_told_at_once_and_in_one_line(tmp_path):
    with stranger() as address:
        began = time.monotonic()
        # Were it told by the clock, this would take ten minutes.
        code = "from harness import cli; from harness.compute import cluster; cluster.GREETED = 600; cli.main()"
        command = [sys.executable, "-c", code, *PARROT, "--results", str(tmp_path), "--ray", address]
        # a cache of its own: what questions took before is said as well
        told = {**os.environ, "OHD_BENCH_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, capture_output=True, text=True, env=told)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"--ray {address}: no cluster can be joined there: what listens there does not answer as Ray" in done.stderr
    assert time.monotonic() - began < 300


@contextlib.contextmanager
def stranger():
    """The address of what greets in HTTP/2 and knows of nothing that it is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: [threading.Thread(target=not_found, args=(server.accept()[0],)).start()
                                         for _ in range(50)], daemon=True).start()  # fmt: skip
        yield f"127.0.0.1:{server.getsockname()[1]}"


def not_found(connection: socket.socket) -> None:
    """Status 404, entry 13 of HPACK's static table, to every request of this connection."""
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as heard:
        connection.sendall(b"\0\0\0\4\0\0\0\0\0")
        heard.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
        while len(frame := heard.read(9)) == 9:
            heard.read(int.from_bytes(frame[:3], "big"))
            if frame[3] == 4 and not frame[4] & 1:
                connection.sendall(b"\0\0\0\4\1\0\0\0\0")
            if frame[3] == 1:
                connection.sendall(b"\0\0\1\1\5" + frame[5:] + b"\x8d")
