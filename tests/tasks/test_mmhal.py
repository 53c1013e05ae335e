"""MMHal-Bench: asked and kept here, written for the judge of its authors."""

from __future__ import annotations

import json

import pytest

from harness.errors import UsageError
from tasks.mmhal import MmHal


def test_open_answers_are_written_as_the_authors_judge_reads_them(cli, tmp_path):
    words = ("run", "-l", "parrot", "-t", "mmhal", "--data", "micro", "--results", tmp_path / "r")
    said = cli(*words, "--json")
    assert said.code == 0, said.err
    assert {row["metric"]: row["values"][0]["value"] for row in said.json()["rows"] if row["group"] == "all"} == {
        "words": 1
    }
    (run,) = (tmp_path / "r").iterdir()
    assert cli("export", run.name, "--to", "judge", "--results", tmp_path / "r", "--out", tmp_path / "out").code == 0
    (path,) = (tmp_path / "out").iterdir()
    told = json.loads(path.read_text())
    from harness.data import micro

    theirs = json.loads((micro() / "mmhal" / "response_template.json").read_text())
    assert told == [row | {"model_answer": "Yes"} for row in theirs]
    assert {"image_content", "question", "gt_answer", "model_answer"} <= set(told[0])


def test_a_run_without_open_answers_has_nothing_for_a_judge(cli, tmp_path):
    assert cli("run", "-l", "parrot", "-t", "mme", "--data", "micro", "--results", tmp_path / "r").code == 0
    (run,) = (tmp_path / "r").iterdir()
    said = cli("export", run.name, "--to", "judge", "--results", tmp_path / "r", "--out", tmp_path / "out")
    assert said.code == 2 and "no task whose answers a judge rates" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tokens", ["0", "-1", "many", "²"])
def test_a_budget_that_is_none_is_refused(tmp_path, tokens):
    with pytest.raises(UsageError, match="a number of tokens"):
        MmHal(tmp_path, tokens=tokens)
