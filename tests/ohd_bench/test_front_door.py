"""The front door for Python: what it exports, how light it is, and that its verbs say what the commands say."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import ohd_bench
from ohd_bench import UsageError, compare, leaderboard, report, run, score

ROOT = Path(__file__).parents[2]
EXPORTED = """
Answer Asked DataError Encoder Failure LVLM Metric ModelError OhdBenchError Place Reply Sample Spec Task UsageError
compare divide encoder f1 leaderboard lvlm ratio recipe report rows run score task yes_no
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    run(["micro", "micro-ohd"], "micro-llava", task="pope", limit=8, results=folder)
    return folder


def test_what_the_front_door_exports_is_what_users_were_promised():
    assert sorted(ohd_bench.__all__) == sorted(EXPORTED.split())
    assert all(getattr(ohd_bench, name) is not None for name in ohd_bench.__all__)
    assert set(ohd_bench.__all__) <= set(dir(ohd_bench))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = ohd_bench.runn


def test_importing_it_and_writing_a_task_loads_nothing_heavy(tmp_path):
    code = (
        "import sys\n"
        "from ohd_bench import run, compare, score, report, leaderboard, Task, Sample, Answer, task, ratio, rows\n"
        "heavy = [m for m in ('torch', 'transformers', 'pandas', 'scipy', 'rich', 'typer') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=_env())


def test_a_run_comes_back_as_a_table_as_json_and_for_a_notebook(results, cli):
    asked = run(["micro", "micro-ohd"], "micro-llava", task="pope", limit=8, results=results)
    assert asked.complete
    table = asked.table()
    assert set(table["task"]) == {"pope"} and len(set(table["run"])) == 2
    first = table[(table["group"] == "pooled") & (table["metric"] == "accuracy")].iloc[0]
    assert first["low"] <= first["value"] <= first["high"]
    said = cli(
        *("run", "-e", "micro", "-e", "micro-ohd", "-l", "micro-llava", "-t", "pope", "--limit", 8),
        *("--results", results, "--json"),
    ).json()
    assert json.loads(json.dumps(asked.json()))["rows"] == said["rows"]
    html = asked._repr_html_()
    assert "micro-ohd + micro-llava" in html and "<pre" in html


def test_a_run_says_nothing_unless_it_is_asked_to(results, capfd):
    run("micro", "micro-llava", task="pope", limit=8, results=results)
    said = capfd.readouterr()
    assert said.out == said.err == ""
    run("micro", "micro-llava", task="pope", limit=8, results=results, progress=True)
    assert "pope: " in capfd.readouterr().err


def test_compare_and_its_command_give_the_same_numbers(results, cli):
    found = compare("micro", "micro-ohd", results=results)
    said = cli("compare", "micro", "micro-ohd", "--results", results, "--json").json()
    assert json.loads(json.dumps(found.json())) == said
    row = found.table().iloc[0]
    assert row["candidate_value"] - row["base_value"] == pytest.approx(row["difference"])
    assert "→" in found._repr_html_()


def test_the_report_names_the_files_it_wrote(results, tmp_path):
    made = report("micro", "micro-ohd", results=results, out=tmp_path / "r.html", export=tmp_path / "paper")
    assert made.files[0] == tmp_path / "r.html"
    assert all(path.is_file() for path in made.files) and len(made.files) > 1
    assert len(made.table())


def test_score_reads_a_file_of_answers_without_a_model(results, tmp_path):
    records = next(results.glob("micro+*/pope/records.jsonl"))
    found = score("pope", records)
    assert {"accuracy", "f1"} <= set(found.table()["metric"])
    assert found.json()["task"] == "pope"


def test_the_leaderboard_is_the_page_that_the_command_writes_beside_the_results(results, cli):
    out = results.parent / "l.md"
    assert cli("leaderboard", "--results", results, "--out", out).code == 0
    board = leaderboard(results)
    assert board.markdown == out.read_text(encoding="utf-8")
    assert len(set(board.table()["run"])) == 2


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: run("micro", temperature=1), "run has no option 'temperature'"),
        (lambda: run(["micro"], "micro-llava", encoders=["micro"]), "run is told encoder and encoders"),
        (lambda: run("micro", task="pope", tasks=["pope"]), "run is told task and tasks"),
        (lambda: run(encoders=["micro"], limit=-1), "limit is -1"),
        (lambda: run("micro", encoders=None, limit=-1), "limit is -1"),
        (lambda: report("a", "b", colour=1), "report has no option 'colour'; it has .*width"),
        (lambda: report("a", "b", full=True), "report has no option 'full'"),
        (lambda: leaderboard(colour=1), "leaderboard has no option 'colour'; it has results, include"),
        (lambda: run(), "nothing to ask"),
        (lambda: run("micro", limit=-1), "limit is -1"),
        (lambda: run("micro", "micro-llava", verify=1.5), "verify is 1.5"),
        (lambda: compare("a", "b", colour=1), "no option 'colour'"),
        (lambda: score("pope", "x.json", colour=1), "no option 'colour'"),
        (lambda: leaderboard("no-such-folder"), "not a folder of runs"),
        (lambda: run("micro", workers="2"), r"workers is '2' \(str\); right would be a whole number"),
        (lambda: run("micro", limit=True), r"limit is 'True' \(bool\); right would be a whole number"),
        (lambda: run(["micro", 5]), "right would be several, each a text"),
        (lambda: run(5), "encoders is '5'"),
        (lambda: run("micro", results=5), "results is '5'.*a path"),
        (lambda: run("micro", available="yes"), "available is 'yes'.*True or False"),
        (lambda: run("micro", include=[5]), "include is '5'.*a path"),
        (lambda: compare(5, "b"), "a run is '5'"),
        (lambda: compare("a", "b", seeds=3), "seeds is '3'.*a text"),
        (lambda: report("a", "b", metrics=3), "metrics is '3'"),
        (lambda: report("a", "b", out=3), "out is '3'.*a path"),
        (lambda: score("pope", 5), "files is '5'"),
        (lambda: score(5, "x.json"), "task is '5'"),
        (lambda: leaderboard(5), "results is '5'.*a path"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(call, told):
    with pytest.raises(UsageError, match=told) as error:
        call()
    assert "\n" not in str(error.value)


def test_none_is_the_default_and_a_path_may_stand_for_the_data():
    from harness.asking.run_options import RunOptions

    told = RunOptions.of(encoders="micro", lvlm=None, tasks=None, limit=None, data=Path("micro"), results="results")
    assert told == RunOptions(encoders=("micro",))


def test_commands_that_are_printed_can_be_pasted_where_a_path_has_a_space(cli, tmp_path):
    words = ("run", "-e", "micro", "-e", "hashing", "-t", "ohd-caps", "--limit", "2", "--results", tmp_path / "my runs")
    asked = cli(*words)
    (printed,) = [line for line in asked.err.splitlines() if line.startswith("now: ")]
    assert cli(*shlex.split(printed.removeprefix("now: ohd-bench "))).code == 0
    shard = cli(*words, "--limit", "3", "--shard", "1/1", "--data", "micro")
    command = " ".join(shard.out.split()).partition("when all shards are through: ohd-bench ")[2]
    assert cli(*shlex.split(command)).code == 0
    converted = cli("encoder", "convert", "micro", "--to", "hf", "--out", tmp_path / "an eye")
    assert f"now: ohd-bench run --encoder 'clip:{tmp_path / 'an eye'}'" in " ".join(converted.err.split())


@pytest.mark.parametrize("name", ["tasks", "harness", "encoders"])
@pytest.mark.parametrize("words", [["-m", "ohd_bench", "list"], ["-c", "from ohd_bench import Task"]])
def test_another_package_of_our_names_is_named_in_one_line(tmp_path, name, words):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('the decoy was imported')\n")
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=_env(), capture_output=True, text=True)
    assert done.returncode == (2 if words[0] == "-m" else 1)
    last = done.stderr.strip().splitlines()[-1]
    assert f"'{name}' is {tmp_path.resolve() / name}.py, not ohd-bench's own" in last
    assert words[0] != "-m" or len(done.stderr.strip().splitlines()) == 1


def test_the_types_of_every_package_are_for_others_too():
    assert all((ROOT / name / "py.typed").is_file() for name in ("ohd_bench", "harness", "tasks", "encoders"))


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
