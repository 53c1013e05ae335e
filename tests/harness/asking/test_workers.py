"""``run --workers``: other processes ask, with the records of one process; each loads models once, the command none."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness import registry
from harness.asking.models import Models
from harness.asking.worker import Batch, Holder, Introduce, Pair, identity, versions
from harness.compute import cluster
from harness.digest import of_file
from harness.errors import DataError, ModelError
from harness.images import image_digest
from harness.types import Failure, Place, Sample

PLUGIN = """
from pathlib import Path
import os
from harness import registry

def noted(what):
    with Path({log!r}).open("a") as file:
        file.write(f"{{what}} {{os.getpid()}}\\n")

@registry.encoder("counted", files=lambda spec: ())
def counted(spec, place):
    noted("encoder")
    made = registry.make_encoder("micro", place)
    made.spec = spec.text
    return made

@registry.lvlm("counted-llava", files=lambda spec: ())
def counted_llava(spec, place):
    noted("lvlm")
    host = registry.make_lvlm("micro-llava", place)

    def named(encoder):
        made = host(encoder)
        made.spec = spec.text
        return made

    return named
"""
FOUR = ("-t", "amber", "-t", "ohd-caps", "-t", "pope", "-t", "zero-shot", "--limit", "4", "--batch-size", "1")


def records(results: Path) -> dict[str, object]:
    found = {}
    for path in results.glob("*/*/records.jsonl"):
        rows = list(map(json.loads, path.read_text().splitlines()))
        assert len({row["id"] for row in rows}) == len(rows), "a sample was kept twice"
        found |= {f"{path.parent.name}/{row['id']}": row for row in rows}
    return found


def test_four_tasks_and_two_workers_load_each_model_twice_in_all_and_answer_as_one_process_does(cli, tmp_path):
    log = tmp_path / "loaded"
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counted.py").write_text(PLUGIN.format(log=str(log)))
    words = ("run", "--include", tmp_path / "plugins", "-e", "counted", "-l", "counted-llava", *FOUR, "--json")
    began = time.monotonic()
    two = cli(*words, "--results", tmp_path / "two", "--workers", "2")
    took = time.monotonic() - began
    assert two.code == 0, two.err
    loaded = [line.split() for line in log.read_text().splitlines()]
    assert Counter(what for what, _ in loaded) == {"encoder": 2, "lvlm": 2}
    assert str(os.getpid()) not in {who for _, who in loaded}, "the command needs no model"
    assert "the first of 2 workers was there after" in two.err
    assert took > 30 or "below a minute of work one process is the faster way" in two.err  # two workers' time is added
    one = cli(*words, "--results", tmp_path / "one")
    assert records(tmp_path / "two") == records(tmp_path / "one")
    assert two.json()["rows"] == one.json()["rows"]
    runs = [json.loads(next((tmp_path / name).glob("*/run.json")).read_text()) for name in ("one", "two")]
    for made in runs:
        cost = made.pop("cost")
        assert cost["peak_bytes"] > 1e8 and cost["device"] == "cpu"
        del made["created"], made["finished"]
        for entry in made["tasks"].values():
            del entry["seconds"]
    assert runs[0] == runs[1]
    again = cli(*words, "--results", tmp_path / "two", "--workers", "2")
    assert (again.code, "workers" in again.err) == (0, False), "workers were started with nothing to ask"


def test_ctrl_c_amid_it_ends_with_130_and_leaves_answers_and_no_process(tmp_path):
    words = ["run", "-e", "micro", "-l", "micro-llava", "-t", "amber", "--batch-size", "1"]
    command = [sys.executable, "-m", "ohd_bench", *words, "--results", str(tmp_path), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not records_there(tmp_path):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
        assert process.poll() is None, process.communicate()
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 130, said
    assert "s until there was a worker" not in said, "what was broken off says nothing of what it would have taken"
    assert "interrupted; what was answered is kept" in said
    assert not psutil.wait_procs(family, timeout=300)[1]
    assert not list(Path("/tmp").glob(f"ohd-ray-{process.pid}-*"))
    assert records(tmp_path)


def records_there(results: Path) -> bool:
    return any(path.stat().st_size for path in results.glob("*/*/records.jsonl"))


def test_without_ray_it_is_said_how_to_get_it_before_anything_is_loaded(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for asked in (("--workers", "2"), ("--ray", "auto")):
        said = cli("run", "--lvlm", "parrot", "--results", tmp_path, *asked)
        assert said.code == 2
        assert said.err.strip().count("\n") == 0
        assert "pip install 'ohd-bench[ray]'" in said.err
    assert (
        cli("run", "--lvlm", "parrot", "-t", "pope", "--limit", "1", "--results", tmp_path, "--workers", "1").code == 0
    )


@pytest.mark.parametrize("address", ["no address", "127.0.0.1:1", "127.0.0.1:99999999", "ray://nowhere", "auto"])
def test_an_address_where_no_cluster_is_says_so(cli, tmp_path, monkeypatch, address):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where `ray start` notes what `auto` joins
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said = cli("run", "-l", "parrot", "-t", "pope", "--limit", "1", "--results", tmp_path, "--ray", address)
    assert said.code == 2
    assert f"--ray {address}: no cluster can be joined there" in said.err


def test_what_listens_and_is_no_ray_is_told_so(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "GREETED", 3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        said = cli("run", "-l", "parrot", "-t", "pope", "--limit", "1", "--results", tmp_path, "--ray", address)
    assert said.code == 2
    assert f"--ray {address}: no cluster can be joined there: what listens there does not answer as Ray" in said.err


@pytest.fixture
def batch(tiny, tmp_path):
    """A batch of two images asked of a parrot, as the driver makes it."""
    place, samples = tmp_path / "there", []
    place.mkdir()
    for n, image in enumerate(tiny.pictures(2)):
        image.save(place / f"{n}.png")
        samples.append((Sample(f"{n}", place / f"{n}.png", "yes", prompt="Is it?"),))
    (place / "1.png").write_bytes(b"no image")
    shown = {one.image: image_digest(one.image) for [one] in samples}
    return Batch(Pair("", "parrot"), identity(models()), "generate", "none", tuple(samples), shown)


def models():
    registry.load()
    return Models(None, registry.make_lvlm("parrot", Place("cpu"))(None), Place("cpu"))


def holder(probe=None):
    return Holder(Place("cpu"), (), probe)


def test_a_worker_that_sees_the_first_image_of_the_run_reads_files_and_another_is_sent_their_bytes(batch, tmp_path):
    path, digest = next(iter(batch.digests.items()))
    assert holder((path, digest)).ready()
    assert not holder((path, "0" * 64)).ready()
    assert not holder((tmp_path / "elsewhere.png", digest)).ready()
    assert batch.sent(True).bytes == {}
    told = batch.sent(False)
    here, spent = holder().do(batch)
    assert spent["peak_bytes"] > 0
    for gone in batch.digests:
        gone.unlink()
    assert holder().do(told)[0] == here
    assert [type(reply) for _, reply in here][1] is Failure


def test_a_worker_that_sees_another_image_under_the_same_name_answers_nothing(batch):
    path = next(iter(batch.digests))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"does not see the .*0\.png that the driver sees"):
        holder().do(replace(batch, digests={**batch.digests, path: of_file(batch.images[1][0].image)}))


@pytest.mark.parametrize(
    ("part", "other", "said"),
    [
        ("digests", {"language_model": "0"}, "differs from the first worker in lvlm digests: language_model is"),
        ("describe", {"says": "No", "dtype": "bfloat16"}, "give all one --dtype"),
        ("digests", "0", "loads other weights than the first worker"),
    ],
)
def test_a_worker_that_holds_another_model_than_the_first_answers_nothing(batch, part, other, said):
    told = {**batch.identity["lvlm"], part: other}
    with pytest.raises(ModelError, match=said):
        holder().do(replace(batch, identity={"encoder": None, "lvlm": told}))


def test_a_worker_with_other_packages_than_the_command_says_which(batch):
    asked = Introduce(batch.pair, versions(), ("Is it?",), ("generate",))
    told = holder().do(asked)
    assert told.identity == batch.identity and told.batch == {"generate": 0}
    with pytest.raises(ModelError, match=r"differs from the driver in versions: torch is .*, not 1\.0"):
        holder().do(replace(asked, versions={**versions(), "torch": "1.0"}))
