"""What shards come to is never called whole while a question lacks its answer, or was another question."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from pathlib import Path

import pytest

STEPS = [*itertools.product(["pope", "amber"], ["", "1/2", "2/2", "1/3", "3/3"]), "merge", "merge"]


@pytest.fixture
def data(world: Path, tmp_path: Path) -> Path:
    """A data folder of a test's own."""
    shutil.copytree(world, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def ask(cli, data, tmp_path):
    """Ask a parrot some of a task: all, or a share."""

    def asked(task: str, shard: str = "", results: Path = tmp_path / "results"):
        words = ["run", "--lvlm", "parrot", "-t", task, "--data", data, "--limit", "6", "--batch-size", "1"]
        said = cli(*words, "--results", results, *(["--shard", shard] if shard else []))
        assert said.code == 0, said.err
        return said

    return asked


def stands(folder: Path) -> dict[str, tuple[int, int]]:
    """How many samples of each task are expected and scored, as the only run's manifest says."""
    (path,) = folder.glob("*/run.json")
    return {name: (one["expected"], one["scored"]) for name, one in json.loads(path.read_text())["tasks"].items()}


@pytest.mark.parametrize("seed", range(16))
def test_a_run_is_whole_when_every_task_that_was_begun_has_all_its_answers(ask, cli, tmp_path, seed):
    results, whole = tmp_path / "results", tmp_path / "whole"
    begun: dict[str, set[str]] = {}
    for step in random.Random(seed).choices(STEPS, k=1 + seed % 5):
        if step == "merge":
            cli("merge", "--results", results)
        else:
            ask(*step, results=results)
            begun.setdefault(step[0], set()).add(step[1])
    if not begun:
        return
    for task in begun:
        ask(task, results=whole)
    due = {name: expected for name, (expected, _) in stands(whole).items()}
    ended = all("" in shares or {"1/2", "2/2"} <= shares for shares in begun.values())
    for _ in range(2):  # also to one who asks again
        said = cli("merge", "--results", results)
        found = stands(results)
        assert {name: expected for name, (expected, _) in found.items()} == due
        assert said.code == (0 if all(scored == expected for expected, scored in found.values()) else 1)
        assert said.code == 0 or not ended


def test_results_merge_calls_no_part_of_a_task_whole(ask, cli, tmp_path):
    ask("amber", "1/2", tmp_path / "one")
    assert cli("merge", "--results", tmp_path / "one").code == 1
    ask("pope", "", tmp_path / "two")
    assert cli("results", "merge", tmp_path / "one", "--results", tmp_path / "two").code == 0
    expected, scored = stands(tmp_path / "two")["amber"]
    assert scored < expected == stands(tmp_path / "one")["amber"][0]
    assert cli("merge", "--results", tmp_path / "two").code == 1


def relabelled(data: Path) -> None:
    """Every right answer of POPE is now the other."""
    for path in data.glob("pope/*.json"):
        text = path.read_text().replace('"label": "no"', '"label": "?"').replace('"label": "yes"', '"label": "no"')
        path.write_text(text.replace('"label": "?"', '"label": "yes"'))


def fewer(data: Path) -> None:
    """POPE asks some questions less."""
    for path in data.glob("pope/*.json"):
        path.write_text("\n".join(path.read_text().splitlines()[:-7]) + "\n")


@pytest.mark.parametrize("change", [relabelled, fewer])
def test_shards_of_other_questions_are_refused_and_the_run_itself_counts_anew(ask, cli, data, tmp_path, change):
    results, right = tmp_path / "results", tmp_path / "right"
    ask("pope", "1/2")
    change(data)
    ask("pope", "2/2")
    said = cli("merge", "--results", results)
    assert said.code == 2 and "answers of 'pope' to other questions" in " ".join(said.err.split())
    assert len(list(results.glob("*/shards/*"))) == 2, "nothing is lost"
    ask("pope"), ask("pope", results=right)
    assert cli("merge", "--results", results).code == 0
    assert stands(results) == stands(right)
    told = [cli("show", "run", "parrot", "--results", folder, "--json").json()["rows"] for folder in (results, right)]
    assert told[0] == told[1]


@pytest.mark.parametrize("change", [relabelled, fewer])
def test_shards_asked_again_after_the_data_changed_are_those_of_one_process(ask, cli, data, tmp_path, change):
    results, right = tmp_path / "results", tmp_path / "right"
    ask("pope", "1/2"), ask("pope", "2/2")
    change(data)
    ask("pope", "2/2"), ask("pope", "1/2"), ask("pope", results=right)
    assert cli("merge", "--results", results).code == 0
    assert stands(results) == stands(right)
    told = [cli("show", "run", "parrot", "--results", folder, "--json").json()["rows"] for folder in (results, right)]
    assert told[0] == told[1]


def test_people_whose_data_differ_are_told_so_before_anything_comes(ask, cli, data, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    ask("pope", results=one)
    relabelled(data)
    ask("pope", results=two)
    for into in (two, tmp_path / "new"):
        said = cli("results", "merge", *([one] if into == two else [one, two]), "--results", into)
        assert said.code == 2 and "to other questions" in " ".join(said.err.split())
    assert not (tmp_path / "new").exists()


def test_a_shard_behind_a_link_is_read_back_and_only_the_link_goes(ask, cli, tmp_path):
    ask("pope", "1/2"), ask("pope", "2/2")
    (shards,) = (tmp_path / "results").glob("*/shards")
    (shards / "1-of-2").rename(tmp_path / "there")
    (shards / "1-of-2").symlink_to(tmp_path / "there")
    assert cli("merge", "--results", tmp_path / "results").code == 0
    assert not shards.exists() and (tmp_path / "there" / "run.json").is_file()


def test_what_reads_a_run_says_that_it_has_shards_and_a_folder_that_is_none_is_named(ask, cli, tmp_path):
    results = tmp_path / "results"
    ask("pope", "1/2")
    readers = (["show", "run", "parrot"], ["results", "push", "a/b", "--dry-run", tmp_path / "out"])
    for words in readers:
        said = cli(*words, "--results", results)
        assert "shards whose answers are not counted yet: ohd-bench merge" in " ".join(said.err.split()), said
    (part,) = results.glob("*/shards/*")
    (part / "run.json").unlink()
    said = cli("merge", "--results", results)
    assert said.code == 2 and "1-of-2 has no run.json" in " ".join(said.err.split())
