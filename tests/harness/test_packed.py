"""Compressed records are the same records to every reader, and whatever ends the compressing loses none."""

from __future__ import annotations

import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import packed
from harness.errors import DataError
from harness.journal import Journal
from harness.kept_runs import runs
from harness.records import Record, latest, read_records
from harness.store import Run, records_files
from harness.types import Answer, Failure


class Killed(BaseException):
    """What ends the process at the call that raises it."""


def record(n: int, said: str = "yes") -> Record:
    return Record(str(n), f"image {n}", "group", "key", "rules", Answer(said), {"n": 1})


def journal(path: Path, *records: Record) -> None:
    with Journal(path) as one:
        one.append(list(records))


@settings(max_examples=20)
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=3)), max_size=4), min_size=1, max_size=4))
def test_what_is_added_between_compressions_reads_as_if_none_had_been(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("packed")
    plain, path = folder / "plain" / "records.jsonl", folder / "run" / "records.jsonl"
    for number, batch in enumerate(batches):
        records = [record(n, f"{number} {at} {said}") for at, (n, said) in enumerate(batch)]
        for to in (plain, path):
            journal(to, *records)
        packed.pack(path)
    assert list(read_records(path)) == list(read_records(plain))
    assert latest(path) == latest(plain)
    if any(batches):
        assert [one.name for one in path.parent.iterdir()] == ["records.jsonl.zst"]
        with packed.opened(packed.beside(path)) as file:
            assert file.read() == plain.read_bytes(), "unpacked it is the file that it was"


@pytest.mark.parametrize("name", ["fsync", "replace", "unlink"])
def test_a_kill_amid_it_loses_nothing_and_the_next_command_ends_it(tmp_path, monkeypatch, name):
    real = getattr(os, name)
    for nth in range(6):
        path = tmp_path / f"{name} {nth}" / "records.jsonl"
        journal(path, *map(record, range(5)))
        packed.pack(path)
        journal(path, *map(record, range(5, 9)))
        before, left = dict(latest(path)), iter([None] * nth)

        def dies(*args, left=left, **more):
            if next(left, Killed) is Killed:
                raise Killed
            return real(*args, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, dies)
            try:
                packed.pack(path)
                ended = True
            except Killed:
                ended = False
        assert latest(path) == before
        packed.pack(path)
        assert latest(path) == before
        assert [one.id for one in read_records(path)] == [str(n) for n in range(9)], "nor does any line come twice"
        if ended:
            return
    raise AssertionError("it is over after so many calls")


def test_one_who_reads_meanwhile_misses_no_record(tmp_path):
    path = tmp_path / "records.jsonl"
    journal(path, *map(record, range(20)))

    def compress_and_go_on():
        for n in range(20, 80):
            packed.pack(path)
            journal(path, record(n))

    with ThreadPoolExecutor() as other:
        writing = other.submit(compress_and_go_on)
        while not writing.done():
            assert latest(path).keys() >= {str(n) for n in range(20)}
        writing.result()
    assert len(latest(path)) == 80


def test_a_torn_last_line_is_not_kept_and_is_asked_again(tmp_path):
    path = tmp_path / "records.jsonl"
    journal(path, record(1), record(2))
    path.write_bytes(path.read_bytes()[:-4])
    packed.pack(path)
    assert list(latest(path)) == ["1"]
    journal(path, record(2, "no"))
    assert latest(path)["2"].reply == Answer("no")


def test_a_damaged_file_is_named_and_no_record_is_read_otherwise_than_it_was_kept(tmp_path):
    path = tmp_path / "records.jsonl"
    journal(path, record(1), Record("2", "i", "", "k", "", Failure("down")))
    whole = dict(latest(path))
    packed.pack(path)
    kept = packed.beside(path)
    made = kept.read_bytes()
    for cut in (b"", made[:3], made[: len(made) // 2], made[:-1]):
        kept.write_bytes(cut)
        with pytest.raises(DataError, match=r"records\.jsonl\.zst is damaged"):
            list(read_records(path))
    for at in range(len(made)):
        kept.write_bytes(made[:at] + bytes([made[at] ^ 0x10]) + made[at + 1 :])
        try:
            assert {one.id: one for one in read_records(path)} == whole
        except DataError:
            continue


def test_a_damaged_file_is_named_by_the_command_that_compresses_and_nothing_is_lost(cli, tmp_path):
    run = Run(tmp_path / "run")
    run.update(status="complete", tasks={"pope": {}})
    path = run.records_path("pope")
    journal(path, record(1), record(2))
    packed.pack(path)
    kept = packed.beside(path)
    for damaged in (kept.read_bytes()[:-3], b"no such thing", b""):
        kept.write_bytes(damaged)
        for more in (False, True):
            if more:
                journal(path, record(3))
            words = ["results", "compress", "--results", tmp_path]
            said = cli(*words)
            assert (said.code, kept.read_bytes()) == (3, damaged), said
            assert "records.jsonl.zst is damaged" in " ".join(said.err.split())
        path.unlink()


def test_a_small_file_that_unpacks_to_a_line_without_end_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"x" * 5000 + b"\n")
    packed.pack(path)
    monkeypatch.setattr(packed, "LONGEST", 4000)
    with pytest.raises(DataError, match="a line of more than 4,000 bytes"):
        list(read_records(path))


def test_a_line_changed_by_hand_is_named_with_the_way_to_remove_it(tmp_path):
    path = tmp_path / "records.jsonl"
    journal(path, record(1), record(2))
    path.write_text(path.read_text().replace('"yes"', '"no"', 1))
    packed.pack(path)
    with pytest.raises(DataError, match=r"zst, line 1: .* unpack it \(zstd -d --rm records.jsonl.zst\) and remove"):
        list(read_records(path))


def test_without_the_library_one_line_says_what_to_install(cli, bench, monkeypatch):
    assert cli(*bench.words()).code == 0
    assert cli("results", "compress", "--results", bench.results).code == 0
    latest(bench.results / runs(bench.results)[0].id / "red" / "records.jsonl")
    monkeypatch.setitem(sys.modules, packed.LIBRARY, None)
    said = cli("show", "run", "eye", "--results", bench.results, "--include", bench.plugin)
    assert said.code in (0, 2)
    (path,) = records_files(runs(bench.results)[0].folder)
    shutil.copytree(path.parent.parent, bench.results.parent / "elsewhere" / "run")
    said = cli("show", "run", "run", "--results", bench.results.parent / "elsewhere", "--include", bench.plugin)
    assert said.code == 2
    assert said.err.strip() == f"error: this needs the package '{packed.LIBRARY}': pip install {packed.LIBRARY}"


def test_a_compressed_run_goes_on_where_it_stopped_and_asks_nothing_twice(cli, bench):
    assert cli(*bench.words()).code == 0
    bench.asked()
    path = bench.records()
    whole = path.read_bytes()
    asked = []
    for compress in (False, True):
        packed.beside(path).unlink(missing_ok=True)
        path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-5]))
        if compress:
            assert cli("results", "compress", "eye", "--results", bench.results).code == 0
            assert not path.exists()
        assert cli(*bench.words()).code == 0
        asked.append(bench.asked())
    assert asked[0] == asked[1] != []
    assert cli(*bench.words()).code == 0
    assert bench.asked() == []
    assert latest(path).keys() == {json.loads(line)["id"] for line in whole.splitlines()}


@pytest.fixture(scope="module")
def kept(runs_in, tmp_path_factory) -> tuple[Path, Path]:
    """The same two runs in two folders of results, compressed in the second."""
    folder = tmp_path_factory.mktemp("kept")
    make = runs_in(folder)
    make("base@1", tasks=("amber", "pope"))
    make("better@2", sight=3.0, tasks=("amber", "pope"))
    compressed = folder / "compressed" / "results"
    shutil.copytree(folder / "results", compressed)
    for run in runs(compressed):
        for path in records_files(run.folder):
            assert packed.pack(path)
            assert not path.exists()
    return folder / "results", compressed


READERS = {
    "show": ("show", "run", "base", "--json"),
    "compare": ("compare", "base", "better", "--json"),
    "leaderboard": ("leaderboard", "--out", "OUT/page.md", "--csv"),
    "csv": ("export", "better", "--to", "csv", "-o", "OUT"),
    "lm-eval": ("export", "better", "--to", "lm-eval", "-o", "OUT"),
    "push": ("results", "push", "me/runs", "--dry-run", "OUT"),
    "merge": ("results", "merge", "FROM", "--results", "OUT"),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_command_that_reads_runs_says_the_same_of_compressed_ones(cli, kept, tmp_path, reader, world):
    told = []
    for n, from_ in enumerate(kept):
        out, results = (tmp_path / str(n) / name for name in ("out", "results"))
        out.mkdir(parents=True)
        shutil.copytree(from_, results)
        words = [word.replace("OUT", str(out)).replace("FROM", str(results)) for word in READERS[reader]]
        words += [] if "--results" in words else ["--results", str(results)]
        words += ["--data", str(world)] if reader in ("csv", "lm-eval") else []
        said = cli(*words)
        assert said.code == 0, said.err
        told.append((said.out.replace(str(results), "RESULTS").replace(str(out), "OUT"), _written(out)))
    assert told[0] == told[1]


def _written(out: Path) -> dict[str, object]:
    """What lies in a folder (or file) that was written: of runs what they hold, of all else the bytes."""
    found: dict[str, object] = {}
    for path in sorted([out, *out.rglob("*")] if out.exists() else []):
        if path.name.startswith("records.jsonl"):
            found[str(path.parent.relative_to(out))] = dict(latest(path.with_name("records.jsonl")))
        elif path.is_file() and path.name != ".lock":
            found[str(path.relative_to(out))] = path.read_bytes()
    return found


def test_score_reads_compressed_records_and_any_compressed_answers(cli, kept, tmp_path, world):
    said = []
    for results in kept:
        (path,) = packed.files(results / "better@2" / "pope" / "records.jsonl")
        said.append(cli("score", "pope", path, "--data", world, "--json"))
        assert said[-1].code == 0, said[-1].err
    plain, compressed = (one.json() for one in said)
    assert compressed["metrics"] == plain["metrics"]
    (path,) = packed.files(kept[1] / "better@2" / "pope" / "records.jsonl")
    (tmp_path / "answers.jsonl.zst").write_bytes(path.read_bytes()[:100])
    broken = cli("score", "pope", tmp_path / "answers.jsonl.zst", "--data", world)
    assert broken.code == 2 and "answers.jsonl.zst is damaged" in broken.err


def test_the_command_says_what_it_compressed_and_leaves_runs_alone_that_have_not_ended(cli, runs_in, tmp_path):
    make = runs_in(tmp_path)
    make("done@1", tasks=("pope",))
    make("asking@2", tasks=("pope",)).update(status="running")
    results = tmp_path / "results"
    said = cli("results", "compress", "--results", results, "--json").json()
    (row,) = said["tasks"]
    assert (row["run"], row["task"]) == ("done@1", "pope")
    assert row["compressed"] == packed.beside(Run(results / "done@1").records_path("pope")).stat().st_size
    assert 2 * row["compressed"] < row["bytes"]
    assert Run(results / "asking@2").records_path("pope").is_file()
    again = cli("results", "compress", "--results", results)
    assert (again.code, again.out.strip()) == (0, "nothing came since it was last compressed")
    with Run(results / "done@1").writing():
        held = cli("results", "compress", "done", "--results", results)
    assert held.code == 2 and "another process is writing" in held.err


def test_a_run_added_to_since_merges_pushes_and_compresses_with_all_its_records(cli, runs_in, tmp_path):
    run = runs_in(tmp_path)("a@1", tasks=("pope",))
    path, results = run.records_path("pope"), tmp_path / "results"
    packed.pack(path)
    one = run.records("pope")[0]
    journal(path, Record(one.id, one.image, one.group, one.key, one.rules, Answer("Perhaps"), one.counts))
    whole = run.records("pope")
    assert cli("results", "merge", results, "--results", tmp_path / "all").code == 0
    assert cli("results", "push", "me/runs", "--dry-run", tmp_path / "out", "--results", results).code == 0
    for copied in (tmp_path / "all" / "a@1", tmp_path / "out" / "results" / "a@1"):
        assert Run(copied).records("pope") == whole
    packed.pack(path)
    assert run.records("pope") == whole
