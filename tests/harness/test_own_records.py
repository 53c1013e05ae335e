"""Records are read under the name of the run that was given them, and under no other's."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import packed
from harness.errors import DataError
from harness.records import Record, latest
from harness.store import Run
from harness.types import Answer, Failure

READERS = {
    "show": ["show", "run", "{run}"],
    "compare": ["compare", "{other}", "{run}"],
    "objects": ["objects", "{run}"],
    "report": ["report", "{other}", "{run}", "--out", "{out}"],
    "export": ["export", "{run}", "--to", "csv", "-o", "{out}"],
    "compress": ["results", "compress", "{run}"],
}


def two_runs(cli, bench) -> list[Run]:
    """The same questions asked of two models."""
    for weights in ("one", "two"):
        assert cli(*bench.words(weights=weights)).code == 0
    return sorted(map(Run, {path.parent for path in bench.results.glob("*/run.json")}), key=lambda run: run.id)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("reader", READERS)
def test_another_run_s_records_are_named_and_never_shown(cli, bench, reader, compressed):
    run, other = two_runs(cli, bench)
    before = cli("show", "run", run.id, "--results", bench.results, "--include", bench.plugin)
    shutil.copyfile(other.records_path("red"), run.records_path("red"))
    if compressed:
        packed.pack(run.records_path("red"))
    told = {"run": run.id, "other": other.id, "out": str(bench.root / "out")}
    words = [word.format(**told) for word in READERS[reader]]
    include = [] if reader == "compress" else ["--include", bench.plugin]
    said = cli(*words, "--results", bench.results, *include)
    assert said.code == 3, said
    assert f"holds other answers than {run.id} was given" in " ".join(said.err.split())
    assert cli(*bench.words(weights="one")).code == 0
    assert cli("show", "run", run.id, "--results", bench.results, "--include", bench.plugin) == before


def test_the_leaderboard_names_the_run_and_leaves_it_out(cli, bench):
    run, other = two_runs(cli, bench)
    shutil.copyfile(other.records_path("red"), run.records_path("red"))
    words = ["leaderboard", "--results", bench.results, "--include", bench.plugin, "--out", bench.root / "l.md"]
    said = cli(*words)
    assert said.code != 0
    assert "holds other answers" in " ".join(said.err.split())


@pytest.mark.parametrize("name", ["records.jsonl", "records.jsonl.zst"])
def test_records_that_are_no_file_stop_nothing_but_their_run(cli, bench, name):
    run, _ = two_runs(cli, bench)
    run.records_path("red").unlink()
    run.records_path("red").with_name(name).mkdir()
    common = ["--results", bench.results, "--include", bench.plugin]
    said = cli("show", "run", run.id, *common)
    assert said.code == 3 and "cannot be read" in said.err
    page = bench.root / "l.md"
    said = cli("leaderboard", *common, "--out", page)
    assert said.code == 1 and f"left out: {run.id}" in " ".join(said.err.split())
    assert page.read_text().count("| `eye") == 1


def test_a_merge_brings_nothing_where_a_run_holds_another_s_records(cli, bench):
    run, other = two_runs(cli, bench)
    shutil.copyfile(other.records_path("red"), run.records_path("red"))
    said = cli("results", "merge", bench.results, "--results", bench.root / "all")
    assert said.code == 3
    assert not list(bench.root.glob("all/*/*"))


def test_a_control_s_records_are_not_those_of_the_run_itself(cli, bench):
    assert cli(*bench.words(), "--control", "blank-image").code == 0
    assert cli(*bench.words()).code == 0
    control, run = sorted(map(Run, bench.results.glob("*@*")), key=lambda run: run.manifest()["control"] == "none")
    shutil.copyfile(control.records_path("red"), run.records_path("red"))
    assert cli("show", "run", run.id, "--results", bench.results, "--include", bench.plugin).code == 3


def test_manifests_of_before_that_tell_of_no_answers_are_read_as_before(cli, bench):
    run, _ = two_runs(cli, bench)
    path = run.folder / "run.json"
    before = cli("show", "run", run.id, "--results", bench.results, "--include", bench.plugin)
    manifest = json.loads(path.read_text())
    del manifest["answers"]
    path.write_text(json.dumps(manifest))
    assert cli("show", "run", run.id, "--results", bench.results, "--include", bench.plugin) == before


def test_a_finished_run_is_not_written_again_where_nothing_is_asked(cli, bench, monkeypatch):
    """A cache that knows of no model has them loaded; what is found is the same, to the byte."""
    assert cli(*bench.words()).code == 0
    kept = {path: path.read_bytes() for path in bench.results.glob("**/*") if path.is_file()}
    bench.asked()
    for n, spelling in enumerate((bench.words(), bench.words(fail="nothing"))):
        monkeypatch.setenv("OHD_BENCH_CACHE", str(bench.root / f"cache{n}"))
        assert cli(*spelling).code == 0
        assert bench.asked() == []
        assert {path: path.read_bytes() for path in bench.results.glob("**/*") if path.is_file()} == kept


RECORDS = st.lists(
    st.builds(
        Record,
        st.sampled_from("abcd"),
        st.just("image"),
        st.just(""),
        st.sampled_from(["key 1", "key 2"]),
        st.just("rules"),
        st.one_of(st.just(Failure("down")), st.builds(Answer, st.sampled_from(["yes", "no"]))),
    ),
    min_size=1,
    max_size=6,
)


def asked(folder: Path, batches: list[list[Record]]) -> Run:
    """A run that was given these records in these batches."""
    run = Run(folder)
    run.update(status="complete", tasks={"red": {}})
    for batch in batches:
        with run.adding("red") as journal:
            journal.append(batch)
    return run


def answers(run: Run) -> set[tuple[str, str]]:
    return {(record.id, record.key) for record in latest(run.records_path("red")).values() if record.scored}


@settings(max_examples=40)
@given(st.lists(RECORDS, min_size=1, max_size=3), RECORDS, st.randoms(use_true_random=False))
def test_answers_are_a_run_s_own_in_any_order_and_in_any_number_of_batches(tmp_path_factory, batches, others, chance):
    root = tmp_path_factory.mktemp("own")
    run, other = asked(root / "a", batches), asked(root / "b", [others])
    last = run.records("red")
    chance.shuffle(last)
    path = run.records_path("red")
    path.write_text("".join(record.line() for record in last))
    assert run.records("red") == sorted(last, key=lambda record: record.id)
    shutil.copyfile(other.records_path("red"), path)
    if answers(run) and answers(run) != answers(asked(root / "c", batches)):
        with pytest.raises(DataError, match="holds other answers"):
            run.records("red")


@settings(max_examples=20)
@given(RECORDS, RECORDS, st.integers(0, 3))
def test_whatever_ends_the_adding_the_manifest_tells_nothing_wrong(tmp_path_factory, first, then, at):
    run = asked(tmp_path_factory.mktemp("own") / "a", [first])
    with contextlib.suppress(KeyboardInterrupt), run.adding("red") as journal:
        for record in then[:at]:
            journal.append([record])
            assert "red" not in run.manifest()["answers"], "as a kill would leave it"
        raise KeyboardInterrupt
    assert run.records("red") == sorted(latest(run.records_path("red")).values(), key=lambda record: record.id)
    assert "red" in run.manifest()["answers"]
