"""Workers of a Ray cluster: what one does is done once, whoever dies, and nothing of Ray is open to others."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import psutil
import pytest

from harness.compute import cluster
from harness.compute.crew import IN_HAND, TRIES, Crew, Lost
from harness.errors import ModelError, OhdBenchError


class Hands:
    """What a worker of these tests holds: it does as it is told."""

    def __init__(self, fatal: Path | None = None) -> None:
        self.fatal = fatal

    def ready(self) -> int:
        return os.getpid()

    def do(self, work):
        if work == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if work == "die once" and self.fatal.exists():
            self.fatal.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if work == "fail":
            raise ModelError("there is no such model")
        if work == "look":
            return Path.cwd(), os.environ["OMP_NUM_THREADS"], _imported()
        return work, os.getpid()


def _imported() -> str:
    import tasks

    return tasks.__file__


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A cluster that was started from a folder with a ``tasks.py`` of somebody else's in it."""
    folder = tmp_path_factory.mktemp("decoy")
    (folder / "tasks.py").write_text("raise ImportError('this is not ours')\n")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with cluster.opened(2) as here:
            from ray import cloudpickle

            cloudpickle.register_pickle_by_value(sys.modules[__name__])
            yield here
    finally:
        os.chdir(before)
    assert not [one for one in psutil.Process().children(recursive=True) if "ray" in one.name()]


@pytest.fixture
def crew(here, tmp_path):
    said: list[str] = []
    crew = Crew(here, 2, partial(Hands, tmp_path / "fatal"), 0, said.append)
    crew.said = said
    yield crew
    crew.close()


def test_every_piece_of_work_is_done_once_and_no_more_is_taken_than_is_in_hand(crew):
    taken = []

    def work():
        for n in range(60):
            taken.append(n)
            yield n

    done = []
    for n, (_, pid) in crew.results(work()):
        done.append((n, pid))
        assert len(taken) - len(done) <= 2 * IN_HAND + 2
    assert sorted(n for n, _ in done) == list(range(60))
    assert len({pid for _, pid in done}) <= 2
    assert any("the first of 2 workers was there after" in line for line in crew.said)
    assert crew.start_s > 0


def test_a_worker_that_is_killed_is_replaced_and_its_work_done_by_another(crew, tmp_path):
    (tmp_path / "fatal").touch()
    work = [1, 2, "die once", *range(3, 9)]
    done = Counter(str(piece) for piece, _ in crew.results(work))
    assert done == Counter(map(str, work))
    assert not (tmp_path / "fatal").exists()


def test_work_that_kills_every_worker_is_lost_and_nothing_else_is(crew):
    found = dict(crew.results([1, "die", 2, 3, 4]))
    assert isinstance(found.pop("die"), Lost)
    assert sorted(found) == [1, 2, 3, 4]
    assert not [one for one in found.values() if isinstance(one, Lost)]


def test_workers_that_do_nothing_but_die_end_it_all(here):
    alone = Crew(here, 1, Hands, 0, print)
    with pytest.raises(OhdBenchError, match=f"{TRIES + 1} workers died one after another.*the same command goes on"):
        list(alone.results(["die", "die"]))
    alone.close()


def test_an_error_of_a_worker_is_raised_with_its_own_class_and_the_worker_goes_on(crew):
    with pytest.raises(ModelError, match="there is no such model"):
        list(crew.results(["fail"]))
    assert [piece for piece, _ in crew.results(["next"])] == ["next"]


def test_an_error_of_who_gives_the_work_is_raised(crew):
    def work():
        yield 1
        raise OhdBenchError("the disk is gone")

    with pytest.raises(OhdBenchError, match="the disk is gone"):
        list(crew.results(work()))


def test_a_worker_is_in_the_drivers_folder_with_its_threads_and_takes_nobodys_modules_for_ours(crew):
    [(_, (folder, threads, module))] = crew.results(["look"])
    assert (folder, threads) == (Path.cwd(), os.environ["OMP_NUM_THREADS"])
    assert (folder / "tasks.py").is_file()
    assert Path(module).name == "__init__.py"


def test_nothing_of_ray_is_open_to_another_machine_or_another_user(crew):
    list(crew.results([1]))
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        line.laddr.ip
        for process in processes
        for line in process.net_connections(kind="inet")
        if line.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    folders = list(Path("/tmp").glob(f"ohd-ray-{os.getpid()}-*"))
    assert [oct(folder.stat().st_mode & 0o777) for folder in folders] == ["0o700"]
