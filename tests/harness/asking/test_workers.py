"""``run --workers``: other processes ask, and every record is that of one process; a model is loaded once in each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness import registry
from harness.asking.models import Models
from harness.asking.run_options import RunOptions
from harness.asking.workers import Batch, Holder, Pair, Workers, identity
from harness.digest import of_file
from harness.errors import DataError, ModelError
from harness.images import image_digest, open_image
from harness.types import Answer, Asked, Failure, Place, Sample

PLUGIN = """
from pathlib import Path
import os
from harness import registry

def noted(what):
    with Path({log!r}).open("a") as file:
        file.write(f"{{what}} {{os.getpid()}}\\n")

@registry.encoder("counted")
def counted(spec, place):
    noted("encoder")
    made = registry.make_encoder("micro", place)
    made.spec = spec.text
    return made

@registry.lvlm("counted-llava")
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


def test_four_tasks_and_two_workers_load_each_model_twice_and_answer_as_one_process_does(cli, tmp_path):
    log = tmp_path / "loaded"
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counted.py").write_text(PLUGIN.format(log=str(log)))
    words = ("run", "--include", tmp_path / "plugins", "-e", "counted", "-l", "counted-llava", *FOUR, "--json")
    two = cli(*words, "--results", tmp_path / "two", "--workers", "2")
    assert two.code == 0, two.err
    loaded = Counter(line.split()[0] for line in log.read_text().splitlines() if int(line.split()[1]) != os.getpid())
    assert loaded == {"encoder": 2, "lvlm": 2}
    assert "the first of 2 workers was there after" in two.err
    assert "below a minute of work one process is the faster way" in two.err
    one = cli(*words, "--results", tmp_path / "one")
    assert records(tmp_path / "two") == records(tmp_path / "one")
    assert two.json()["rows"] == one.json()["rows"]
    again = cli(*words, "--results", tmp_path / "two", "--workers", "2")
    assert (again.code, "workers" in again.err) == (0, False), "workers were started with nothing to ask"


def test_ctrl_c_amid_it_ends_with_130_and_leaves_answers_and_no_process(tmp_path):
    words = ["run", "-e", "micro", "-l", "micro-llava", "-t", "amber", "--limit", "64", "--batch-size", "1"]
    command = [sys.executable, "-m", "ohd_bench", *words, "--results", str(tmp_path), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not records_there(tmp_path):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
        assert process.poll() is None, process.communicate()
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130, said
    assert "the faster way" not in said, "what was broken off says nothing of what it would have taken"
    assert "interrupted; what was answered is kept" in said
    assert not psutil.wait_procs(family, timeout=10)[1]
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
def test_an_address_where_no_cluster_is_says_so(cli, tmp_path, address):
    said = cli("run", "-l", "parrot", "-t", "pope", "--limit", "1", "--results", tmp_path, "--ray", address)
    assert said.code == 2
    assert f"--ray {address}: no cluster can be joined there" in said.err


@pytest.fixture
def batch(tiny, tmp_path):
    """A batch of two images asked of a parrot, as the driver makes it."""
    place, samples = tmp_path / "there", []
    place.mkdir()
    for n, image in enumerate(tiny.pictures(2)):
        image.save(place / f"{n}.png")
        samples.append((Sample(f"{n}", place / f"{n}.png", "yes", prompt="Is it?"),))
    (place / "1.png").write_bytes(b"no image")
    pair = Pair("generate", "", "parrot", identity(models(), "generate"))
    return Batch(pair, "none", tuple(samples), {one.image: image_digest(one.image) for [one] in samples})


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
    here = holder().do(batch)
    for gone in batch.digests:
        gone.unlink()
    assert holder().do(told) == here
    assert [type(reply) for _, reply in here][1] is Failure


def test_a_worker_that_sees_another_image_under_the_same_name_answers_nothing(batch):
    path = next(iter(batch.digests))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"does not see the .*0\.png that the driver sees"):
        holder().do(replace(batch, digests={**batch.digests, path: of_file(batch.images[1][0].image)}))


@pytest.mark.parametrize(
    ("part", "other", "said"),
    [
        ("digests", {"language_model": "0"}, "differs from the driver in digests: language_model is"),
        ("describe", {"says": "No", "dtype": "bfloat16"}, "give both one --dtype"),
        ("versions", {"torch": "1.0"}, "differs from the driver in versions: torch is"),
    ],
)
def test_a_worker_that_holds_another_model_than_the_driver_answers_nothing(batch, part, other, said):
    pair = replace(batch.pair, identity={**batch.pair.identity, part: other})
    with pytest.raises(ModelError, match=said):
        holder().do(replace(batch, pair=pair))


class Server:
    """An LVLM that answers elsewhere with the size of the picture."""

    spec = "openai:elsewhere"

    def answers(self, asked):
        for one in asked:
            for sample in one.samples:
                yield sample, Answer(str(one.image.size))

    def prompt_ids(self, one):
        raise NotImplementedError

    def differs(self, one, ids):
        raise NotImplementedError


def test_a_server_is_asked_by_the_driver_and_starts_no_worker(batch):
    said: list[str] = []
    workers = Workers(RunOptions(lvlm="openai:elsewhere", workers=2), said.append)
    ask = workers.asker(replace(models(), lvlm=Server()), "generate", "none")
    shown, broken = (one for one in ask([Asked(None, samples) for samples in batch.images]))
    assert shown[1] == Answer(str(open_image(batch.images[0][0].image).size))
    assert isinstance(broken[1], Failure)
    assert workers.crew is None
    assert "?concurrency=N" in said[0]
