"""What is kept is read as it was kept: a record changed by hand is named, an odd run stops nobody else."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import kept_runs, manifest
from harness.asking import provenance
from harness.errors import DataError, ModelError, UsageError
from harness.journal import Journal
from harness.records import Record, latest, read_records
from harness.store import Run, write_json
from harness.types import Answer, Failure

numbers = st.integers(-5, 5) | st.floats(-5, 5)
replies = st.one_of(
    st.builds(Failure, st.text()),
    st.builds(Answer, st.text(), st.none() | st.floats(0, 1)),
    st.builds(Answer, scores=st.lists(st.floats(-1, 1), min_size=1, max_size=4).map(tuple)),
)
plain = st.none() | st.booleans() | numbers | st.text(max_size=4)
anything = st.recursive(plain, lambda x: st.lists(x, max_size=2) | st.dictionaries(st.text(max_size=6), x, max_size=3))


def kept(reply: Answer | Failure, counts: dict[str, float]) -> Record:
    answered = isinstance(reply, Answer)
    return Record("7", "7.jpg", "ask/1", "key", "rules" if answered else "", reply, counts if answered else {})


def changes(row: dict, value: object) -> list[dict]:
    """The row with each value in it changed to this one, one at a time; left out where that changes nothing."""
    found = []
    for key in row.keys() - {"seal"}:
        inner = [row[key] | {name: value} for name in row[key]] if isinstance(row[key], dict) else [value]
        found += [row | {key: one} for one in inner if one != row[key] or type(one) is not type(row[key])]
    return found


@given(replies, st.dictionaries(st.sampled_from(["n", "right", "margin"]), numbers, min_size=1), anything)
def test_a_record_changed_in_any_place_is_named_with_its_line(tmp_path_factory, reply, counts, value):
    path = tmp_path_factory.mktemp("kept") / "records.jsonl"
    before = kept(reply, counts)
    row = json.loads(before.line())
    path.write_text(before.line())
    assert list(read_records(path)) == [before]
    for changed in changes(row, value):
        path.write_text(before.line() + json.dumps(changed) + "\n")
        try:
            same = list(read_records(path))[1] == before  # 1 for 1.0 is no change
        except (DataError, UsageError) as error:
            same = f"{path}, line 2" in str(error)
        assert same


def test_a_line_that_lost_its_seal_is_named_and_older_lines_without_one_are_read(tmp_path):
    path = tmp_path / "records.jsonl"
    row = json.loads(kept(Answer("Yes"), {"n": 1, "right": 0}).line())
    del row["seal"]
    path.write_text(json.dumps(row) + "\n")
    with Journal(path) as journal:
        journal.append([kept(Answer("Yes"), {"n": 1, "right": 0})])
    assert [record.sealed for record in read_records(path)] == [False, True]
    path.write_text(path.read_text() + json.dumps(row | {"counts": {"n": 1, "right": 1}}) + "\n")
    with pytest.raises(DataError, match="line 3: the record of '7' has lost its seal"):
        latest(path)


def test_a_tool_that_writes_numbers_and_keys_its_own_way_breaks_no_seal(tmp_path):
    path = tmp_path / "records.jsonl"
    row = json.loads(kept(Answer("Yes", p_yes=1.0), {"n": 1, "margin": 0.25}).line())
    row["answer"]["p_yes"], row["counts"] = 1, {"margin": 0.25, "n": 1.0}
    path.write_text(json.dumps(dict(reversed(row.items())), indent=None, ensure_ascii=True) + "\n")
    assert latest(path)["7"].reply == Answer("Yes", p_yes=1.0)


@pytest.mark.parametrize("command", ["run", "show", "compare", "leaderboard", "export"])
def test_edited_counts_survive_no_command(cli, bench, command):
    cli(*bench.words())
    cli(*bench.words(decoding="beam"))
    first, second = sorted(path.parent.name for path in bench.results.glob("*/run.json"))
    path = bench.results / first / "red" / "records.jsonl"
    path.write_text(path.read_text().replace('"right":1', '"right":9', 1))
    more = ["--results", str(bench.results), "--include", str(bench.plugin)]
    page = bench.root / "page.md"
    said = {
        "run": lambda: (
            cli(*bench.words())
            if "greedy" in (bench.results / first / "run.json").read_text()
            else cli(*bench.words(decoding="beam"))
        ),
        "show": lambda: cli("show", "run", first, *more),
        "compare": lambda: cli("compare", first, second, *more),
        "export": lambda: cli("export", first, "--to", "lm-eval", "--out", bench.root / "out", *more),
        "leaderboard": lambda: cli("leaderboard", "--out", page, *more),
    }[command]()
    assert said.code == (1 if command == "leaderboard" else 3)
    assert "line 1" in said.err and "was changed after it was kept" in said.err
    if command == "leaderboard":
        assert page.read_text().count("| `eye") == 1


def test_edited_counts_of_an_older_record_are_counted_anew_when_the_run_goes_on(cli, bench):
    right = cli(*bench.words(), "--json").json()["rows"]
    rows = [json.loads(line) for line in bench.records().read_text().splitlines()]
    for row in rows:
        del row["seal"]
        row["counts"]["right"] = 0
    bench.records().write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench.asked()
    assert cli(*bench.words(), "--json").json()["rows"] == right
    assert bench.asked() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=20),
        anything.map(json.dumps).map(str.encode),
        st.sampled_from(
            [b"", b"[]", b"{", b'{"tasks": {"../x": {}}}', b"[" * 100_000, b'{"limit": ' + b"9" * 5000 + b"}"]
        ),
        st.builds(
            lambda key, value: json.dumps(
                {"encoder": {"spec": "e"}, "world": "real", "data": "d", key: value}
            ).encode(),
            st.sampled_from(
                [
                    "encoder",
                    "lvlm",
                    "training",
                    "alignment",
                    "tasks",
                    "limit",
                    "seed",
                    "control",
                    "status",
                    "world",
                    "format",
                    "data",
                ]
            ),
            anything,
        ),
        st.builds(
            lambda key, value: json.dumps({"world": "real", "tasks": {"red": {"spec": "red", key: value}}}).encode(),
            st.sampled_from(["spec", "rules", "floors", "expected", "seconds", "verify"]),
            anything,
        ),
    )
)
def test_an_odd_run_stops_neither_the_leaderboard_nor_the_other_runs(tmp_path_factory, content):
    from harness.report import leaderboard

    results = tmp_path_factory.mktemp("results")
    write_json(
        results / "sound" / "run.json",
        {"encoder": {"spec": "sound", "digest": "1"}, "world": "real", "data": "d", "tasks": {}},
    )
    (results / "odd").mkdir()
    (results / "odd" / "run.json").write_bytes(content)
    left_out = leaderboard.unreadable(results)
    assert "`sound`" in leaderboard.render(results, "results", left_out)
    assert kept_runs.pick(results, "sound").manifest()["encoder"]["spec"] == "sound"


@pytest.mark.parametrize("entry", [{}, {"expected": 24}, {"spec": "squares"}])
def test_a_run_whose_manifest_says_less_of_a_task_goes_on(cli, bench, entry):
    right = cli(*bench.words(), "--json").json()["rows"]
    path = bench.records().parents[1] / "run.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"status": "partial", "tasks": {name: entry for name in kept["tasks"]}}))
    bench.asked()
    said = cli(*bench.words(), "--json")
    assert (said.code, said.json()["rows"], bench.asked()) == (0, right, [])
    assert json.loads(path.read_text())["status"] == "complete"


@given(anything, anything, anything)
def test_files_beside_a_model_that_no_training_wrote_are_refused_in_a_line_or_tell_nothing(
    tmp_path_factory, one, other, last
):
    folder = tmp_path_factory.mktemp("model")
    lvlm = SimpleNamespace(spec=f"micro?projector={folder}", digests=lambda: {"projector": "d"})
    for stages in (one, [other], [{"projector": "d", "recipe": one, "data": other}], [last, {"projector": "d"}]):
        (folder / "align.json").write_text(json.dumps({"stages": stages}))
        with contextlib.suppress(ModelError):
            assert provenance.alignment(lvlm) is None


def test_a_wrong_name_is_answered_with_the_runs_most_like_it_and_not_with_all(tmp_path):
    for name in [*(f"tower-{n}@real" for n in range(20)), "micro-ohd@micro", "nothing-alike@micro"]:
        Run(tmp_path / name).update(data="d")
    with pytest.raises(UsageError, match=r"no run 'micro-odh'; there is micro-ohd@micro, .* and 16 more$"):
        kept_runs.pick(tmp_path, "micro-odh")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"there is none yet$"):
        kept_runs.pick(tmp_path / "empty", "micro")


@pytest.mark.parametrize("words", [
    ["show", "run", "a"], ["compare", "a", "b"], ["merge"], ["merge", "a"], ["results", "compress"], ["leaderboard"],
    ["results", "push", "a/b", "--dry-run", "out"], ["export", "a", "--to", "csv", "--out", "out"],
], ids=" ".join)  # fmt: skip
def test_a_folder_of_runs_that_is_not_there_is_named_by_every_command(cli, tmp_path, words):
    said = cli(*words, "--results", tmp_path / "nowhere")
    assert said.code == 2 and "nowhere is not a folder of runs; 'ohd-bench run' makes one" in " ".join(said.err.split())


def test_the_leaderboard_names_what_it_leaves_out_and_writes_the_rest(cli, bench):
    cli(*bench.words())
    (bench.results / "odd").mkdir()
    (bench.results / "odd" / "run.json").write_text('{"tasks": {"nowhere": {"spec": "nowhere"}}, "world": "real"}')
    page = bench.root / "page.md"
    words = ["leaderboard", "--results", bench.results, "--include", bench.plugin, "--out", page]
    said = cli(*words)
    assert (said.code, "left out: odd: no task is called 'nowhere'" in said.err) == (1, True)
    assert "| `eye" in page.read_text()
    assert cli(*words, "--check").code == 1
    shutil.rmtree(bench.results / "odd")
    assert cli(*words).code == 0


def test_a_task_under_another_name_than_its_spec_gives_is_odd(cli, bench):
    cli(*bench.words())
    cli(*bench.words(decoding="beam"))
    path = next(bench.results.glob("*/run.json"))
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"tasks": {"red ": told["tasks"]["red"]}}))
    page = bench.root / "page.md"
    said = cli("leaderboard", "--results", bench.results, "--include", bench.plugin, "--out", page)
    assert (said.code, "calls a task 'red '" in said.err) == (1, True)
    assert page.read_text().count("| `eye") == 1


def test_a_newer_manifest_and_an_odd_one_are_told_apart(tmp_path):
    write_json(tmp_path / "run.json", {"format": manifest.FORMAT + 1})
    with pytest.raises(UsageError, match="newer ohd-bench"):
        Run(tmp_path).manifest()
    write_json(tmp_path / "run.json", {"lvlm": {"digest": "x"}})
    with pytest.raises(UsageError, match="its lvlm has no spec"):
        Run(tmp_path).manifest()


def test_a_full_disk_leaves_no_draft_behind(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path; from harness.store import write_json\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "write_json(Path(sys.argv[1]), {'a': 'x' * 1000})\n"
    )
    path = tmp_path / "run.json"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "OSError" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["inspect", "lm-eval"])
@pytest.mark.parametrize("created", ["../../up", "/tmp/abs", "a\nb", "x" * 500, ""])
def test_nothing_that_is_written_takes_a_path_from_a_record(cli, bench, to, created):
    if to == "inspect":
        pytest.importorskip("inspect_ai", reason="its logs are written by inspect_ai: pip install 'ohd-bench[inspect]'")
    cli(*bench.words())
    path = next(bench.results.glob("*/run.json"))
    told = json.loads(path.read_text()) | {"created": created}
    told["lvlm"]["spec"] = "../../" + told["lvlm"]["spec"]
    path.write_text(json.dumps(told))
    before = {p for p in bench.root.rglob("*") if "out" not in p.parts}
    out = bench.root / "out"
    said = cli(
        "export", path.parent.name, "--to", to, "--out", out, "--results", bench.results, "--include", bench.plugin
    )
    assert said.code == 0, said.err
    assert all(Path(line).resolve().is_relative_to(out) and Path(line).is_file() for line in said.out.split())
    assert {p for p in bench.root.rglob("*") if "out" not in p.relative_to(bench.root).parts[:1]} == before


def test_answers_that_are_gone_are_missed(cli, bench):
    cli(*bench.words())
    lines = bench.records().read_text().splitlines(keepends=True)
    bench.records().write_text("".join(lines[:-4]))
    more = ["--results", bench.results, "--include", bench.plugin]
    said = cli("show", "run", "eye", *more)
    assert (said.code, "holds 14 of 18 answers" in said.err) == (3, True)
    assert cli(*bench.words()).code == 0
    assert cli("show", "run", "eye", *more).code == 0
