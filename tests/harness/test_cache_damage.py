"""Whatever befalls a file of the cache, the same command gives the same records, and ends with 0."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import cached, kept_rows, record_cache
from harness.kept_rows import KeptRows
from harness.records import _latest

RANKED = ["-e", "micro", "-t", "ohd-caps", "-t", "retrieval", "--limit", "5", "--batch-size", "2"]
CLASSED = ["-e", "micro", "-t", "zero-shot"]
SPOKEN = ["-l", "micro-llava", "-t", "pope", "--limit", "2"]
FILLED = {"classifiers", "estimates", "features", "models", "pixels", "records", "text-only"}


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_at_the_end(path: Path) -> None:
    os.truncate(path, max(0, path.stat().st_size - 1))


def flipped(path: Path, seed: int = 0) -> None:
    data, chance = bytearray(path.read_bytes()), random.Random(f"{seed}/{path.name}")
    for _ in range(1 + len(data) // 3000 if data else 0):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def flipped_elsewhere(path: Path) -> None:
    flipped(path, 1)


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(path.name).randbytes(max(100, path.stat().st_size)))


def a_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def removed(path: Path) -> None:
    path.unlink()


def of_another_schema(path: Path) -> None:
    """A whole file of its kind that holds something else."""
    if path.suffix == ".sqlite":
        with contextlib.closing(sqlite3.connect(path)) as file:
            names = [name for (name,) in file.execute("select name from sqlite_master where type = 'table'")]
            for name in names:
                file.execute(f"drop table {name}")
                file.execute(f"create table {name} (a, b)")
            file.commit()
    elif path.suffix == ".npy":
        np.save(path, np.zeros((1, 64), np.float32))
    elif path.suffix == ".npz":
        np.savez(path, format=np.array(2))
    else:
        path.write_text("{}")


def of_other_values(path: Path) -> None:
    """What it held, changed in every value that a command may believe."""
    if path.suffix == ".sqlite":
        with contextlib.closing(sqlite3.connect(path)) as file:
            names = {name for (name,) in file.execute("select name from sqlite_master where type = 'table'")}
            if "kept" in names:
                for name, row in file.execute("select name, row from kept").fetchall():
                    file.execute("update kept set row = ? where name = ?", (bytes(len(row)), name))
            if "pieces" in names:
                file.execute("update pieces set place = case when rowid % 2 then -1 else 'x' end")
            file.commit()
    elif path.suffix == ".json":
        path.write_text(path.read_text().replace("0.", "1."))
    elif path.suffix == ".npz":  # one bit: each part is said to be encrypted
        data = bytearray(path.read_bytes())
        data[data.find(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(data)


DAMAGES = [emptied, cut, cut_at_the_end, flipped, flipped_elsewhere, garbage, a_folder, removed]
DAMAGES += [of_another_schema, of_other_values]


@pytest.fixture(scope="module")
def filled(tmp_path_factory, world) -> Path:
    """A place with a data folder of classes, for a cache that is filled once."""
    folder = tmp_path_factory.mktemp("filled")
    classes = folder / "classes" / "zero_shot" / "set"
    for name, colour in {"red circle": "red", "blue square": "blue"}.items():
        (classes / name).mkdir(parents=True)
        Image.new("RGB", (70, 64), colour).save(classes / name / f"{colour}.png")
    (classes / "templates.txt").write_text("a photo of a {}.\n{}\n")
    return folder


def records(results: Path) -> list[tuple[str, str, bytes]]:
    """What is kept there: run, task, bytes."""
    found = sorted(results.glob("*/*/records.jsonl"))
    return [(path.parents[1].name, path.parent.name, path.read_bytes()) for path in found]


class Place:
    """Commands in a cache of their own."""

    def __init__(self, cli, folder: Path, filled: Path, world) -> None:
        self.cli, self.folder, self.cache = cli, folder, folder / "cache"
        self.asked = [(RANKED, world), (CLASSED, filled / "classes"), (SPOKEN, world)]

    def run(self, results: str, *more: str) -> list[tuple[str, str, bytes]]:
        """The records of these commands: run, task, bytes."""
        for words, data in self.asked:
            said = self.cli("run", *words, "--data", data, "--results", self.folder / results, *more)
            assert said.code == 0, said.err
            assert said.err.count("not kept") <= 2, said.err
        found = records(self.folder / results)
        for run in {run for run, *_ in found}:
            assert self.cli("show", "run", run, "--results", self.folder / results).code == 0
        return found

    def files(self) -> list[Path]:
        return [path for path in sorted(self.cache.rglob("*")) if path.is_file()]


@pytest.fixture
def place(cli, filled, tmp_path, world, monkeypatch) -> Place:
    """A copy of the filled cache, made once."""
    monkeypatch.setattr(record_cache, "SMALL", 0)
    monkeypatch.setattr(kept_rows, "PATIENCE", 0.2)
    if not (filled / "plain").exists():
        first = Place(cli, filled, filled, world)
        monkeypatch.setenv("OHD_BENCH_CACHE", str(filled / "cache"))
        first.run("kept", "--estimate")
        assert first.run("kept") == first.run("plain")
        first.run("kept", "--estimate")
    made = Place(cli, tmp_path, filled, world)
    shutil.copytree(filled / "cache", made.cache)
    shutil.copytree(filled / "kept", tmp_path / "kept")
    monkeypatch.setenv("OHD_BENCH_CACHE", str(made.cache))
    return made


def test_these_commands_fill_the_cache(place):
    assert {one.kind for one in cached.held()} >= FILLED


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_whatever_is_done_to_the_files_the_records_are_the_same(place, filled, damage):
    expected = records(filled / "plain")
    assert place.run("kept") == expected  # now its records are kept as columns
    for results in ("kept", "new"):
        for path in place.files():
            damage(path)
        _latest.cache_clear()
        assert place.run(results) == expected


def test_a_kind_that_is_a_file_is_done_without(place, filled):
    for folder in sorted(place.cache.iterdir()):
        if folder.name in cached.KINDS:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
            folder.write_bytes(b"in the way")
    assert place.run("new") == records(filled / "plain")


def test_what_is_cleared_while_a_run_goes_on_is_made_again(place, filled, monkeypatch):
    keep = KeptRows.keep

    def cleared(self, rows):
        cached.clear(["all"])
        keep(self, rows)
        cached.clear(["all"])

    monkeypatch.setattr(cached, "KINDS", {kind: "" for kind in cached.KINDS if kind != "micro"})
    monkeypatch.setattr(KeptRows, "keep", cleared)
    cached.clear(["features"])
    assert place.run("new") == records(filled / "plain")


SEALED_OFF: list[tuple[Path, int]] = []
"""A folder that cannot be written, and why."""


def _refuse(event: str, args: tuple[object, ...]) -> None:
    if not SEALED_OFF or event not in ("open", "os.mkdir", "os.rename", "os.remove"):
        return
    folder, why = SEALED_OFF[0]
    writes = event != "open" or (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if writes and isinstance(args[0], str | Path) and Path(args[0]).is_relative_to(folder):
        raise OSError(why, os.strerror(why), str(args[0]))


sys.addaudithook(_refuse)  # root heeds no permissions


@pytest.fixture
def unwritable(place, monkeypatch) -> Iterator[Callable[[int], None]]:
    """Makes the cache such that nothing can be written to it, for this reason."""
    connect = sqlite3.connect

    def read_only(path, **more):
        return connect(f"file:{path}?mode=ro", uri=True, **more)

    def full(path, **more):
        file = connect(path, **more)
        file.execute("pragma max_page_count = 1")  # it is at least what is there
        return file

    def make(why: int) -> None:
        SEALED_OFF.append((place.cache, why))
        monkeypatch.setattr(sqlite3, "connect", read_only if why == errno.EROFS else full)

    yield make
    SEALED_OFF.clear()


@pytest.mark.parametrize("why", [errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("begun", [True, False])
def test_a_cache_that_cannot_be_written_costs_a_remark(place, filled, world, unwritable, cli, why, begun):
    for path in place.files() if not begun else ():
        path.unlink()
    unwritable(why)
    assert place.run("new") == records(filled / "plain")
    assert place.run("kept", "--estimate")
    said = cli("show", "sample", "pope", "--data", world)
    assert said.code == 0 and "no small copy" in said.err


def test_clearing_twice_at_once_and_looking_meanwhile_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path))

    def again(use: Callable[[], object]) -> None:
        while (tmp_path / "features").exists():
            use()

    for _ in range(5):
        for n in range(300):
            place = tmp_path / "features" / str(n % 20) / f"{n}.npy"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        with ThreadPoolExecutor(3) as at_once:
            uses = [lambda: cached.clear(["all"]), lambda: cached.clear(["features"]), cached.held]
            assert [made.result() for made in [at_once.submit(again, use) for use in uses]] == [None] * 3
