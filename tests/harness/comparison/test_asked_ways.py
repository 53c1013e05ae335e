"""One task asked in two ways, compared: scorers of OHD-Caps, and labels of POPE."""

from __future__ import annotations

import json
import shutil

import pytest

import ohd_bench
from harness.kept_runs import runs

WAYS = ("ohd-caps", "ohd-caps?scorer=f-clipscore", "pope", "pope?labels=repope")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")
    ohd_bench.run(["micro", "micro-ohd"], "parrot", task=WAYS, limit=20, results=folder)
    return folder


def compared(cli, results, *sides):
    said = cli("compare", *sides, "--results", results, "--json")
    assert said.code == 0, said.err
    return said.json()


def top1(results, encoder: str, task: str) -> float:
    """From the records themselves."""
    (kept,) = [run for run in runs(results) if run.manifest()["encoder"]["spec"] == encoder]
    lines = map(json.loads, (kept.folder / task / "records.jsonl").read_text().splitlines())
    right = [one["counts"]["right"] for one in lines]
    return 100 * sum(right) / len(right)


def test_a_score_without_training_stands_against_training_question_by_question(cli, results):
    sides = ("micro[ohd-caps?scorer=f-clipscore]", "micro-ohd[ohd-caps]", "micro-ohd[ohd-caps?scorer=f-clipscore]")
    plain, both = compared(cli, results, *sides)
    assert plain["candidate"] == "micro-ohd + parrot [ohd-caps]"
    assert plain["about"][0].startswith("One task asked in two ways, paired by question: ")
    for found, task in ((plain, "ohd-caps"), (both, "ohd-caps-scorer=f-clipscore")):
        line = next(one for one in found["lines"] if one["metric"] == "top1" and not one["group"])
        assert line["base"]["value"] == pytest.approx(top1(results, "micro", "ohd-caps-scorer=f-clipscore"))
        assert line["candidate"]["value"] == pytest.approx(top1(results, "micro-ohd", task))
        assert found["tasks"]["ohd-caps"]["samples"] == 20
        assert found["tasks"]["ohd-caps"]["floors"]["text-only"]


def test_a_side_that_names_no_task_has_it_without_options(cli, results):
    named, bare = (
        compared(cli, results, "micro[ohd-caps?scorer=f-clipscore]", f"micro-ohd{way}") for way in ("[ohd-caps]", "")
    )
    assert named == bare


def test_of_several_runs_of_an_encoder_that_is_meant_which_was_asked_so(cli, results, tmp_path):
    """What the docs' two commands print is the same in a folder that holds the main command's runs too."""
    shutil.copytree(results, tmp_path / "both")
    sides = ("micro[ohd-caps?scorer=f-clipscore]", "micro-ohd[ohd-caps]", "micro-ohd")
    before = compared(cli, results, *sides)
    again = {"limit": 20, "results": tmp_path / "both"}
    ohd_bench.run(["micro", "micro-ohd"], task=["ohd-caps", "zero-shot"], **again)
    after = compared(cli, tmp_path / "both", *sides)
    assert [one["lines"] for one in after] == [one["lines"] for one in before]
    ohd_bench.run("micro", "parrot:no", task="pope", **again)
    said = cli("compare", "micro[pope]", "micro-ohd[pope]", "--results", tmp_path / "both")
    assert said.code == 2 and "'micro' has several runs that were asked pope, name one: micro+parrot" in said.err
    ohd_bench.run("micro", task="ohd-caps", limit=7, results=tmp_path / "both")
    said = cli("compare", "micro[ohd-caps]", "micro-ohd[ohd-caps]", "--results", tmp_path / "both")
    assert said.code == 2 and "'micro' has several runs that were asked ohd-caps, name one: " in said.err
    said = cli("compare", "micro[amber]", "micro-ohd[amber]", "--results", tmp_path / "both")
    assert said.code == 2 and "no run of 'micro' was asked amber; there is micro+parrot" in said.err


def test_corrected_labels_stand_beside_the_published_ones(cli, results):
    (found,) = compared(cli, results, "micro[pope]", "micro[pope?labels=repope]")
    floors = found["tasks"]["pope"]["floors"]
    assert floors["always-no"][""]["accuracy"] == 50
    assert floors["always-no of micro + parrot [pope?labels=repope]"][""]["accuracy"] > 50
    (ratio,) = [one for one in found["lines"] if (one["group"], one["metric"]) == ("", "yes_ratio")]
    assert (ratio["base"]["value"], ratio["gap"]["value"]) == (100, 0)


@pytest.mark.parametrize(
    ("sides", "told"),
    [
        (("micro[pope]", "micro[ohd-caps]"), "ohd-caps and pope are several"),
        (("micro[ohd-caps]", "micro[ohd-caps?scorer=f-clipscore-gm]"), "was not asked ohd-caps?scorer=f-clipscore-gm"),
        (("micro[ohd-caps]", "micro[ohd-caps?scorer=best]"), "has the scorers plain, f-clipscore"),
        (("micro[ohd-caps]",), "name a base and at least one more"),
        (("micro[nothing]", "micro"), "no task is called 'nothing'"),
    ],
)  # fmt: skip
def test_what_cannot_stand_side_by_side_is_said_in_one_line(cli, results, sides, told):
    said = cli("compare", *sides, "--results", results)
    assert said.code == 2
    assert told in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_the_report_shows_two_ways_of_asking(cli, results, tmp_path):
    said = cli("report", "micro[ohd-caps?scorer=f-clipscore]", "micro-ohd[ohd-caps]", "--results", results,
               "--out", tmp_path / "page.html")  # fmt: skip
    assert said.code == 0, said.err
    assert "ohd-caps?scorer=f-clipscore" in (tmp_path / "page.html").read_text()


def test_the_mean_over_tasks_leaves_out_those_whose_headline_has_no_value_or_no_direction(cli, tmp_path):
    """MME's sum is not a number where kinds are missing, MMHal's length is neither good nor bad."""
    tasks = [word for name in ("mme", "mmhal", "hallusion", "dash-b") for word in ("-t", name)]
    for lvlm in ("parrot", "parrot:no"):
        assert cli("run", "-l", lvlm, *tasks, "--data", "micro", "--results", tmp_path).code == 0
    (found,) = compared(cli, tmp_path, *sorted(path.name for path in tmp_path.iterdir()))
    gaps = {(one["task"], one["metric"]): one["gap"]["value"] for one in found["lines"] if not one["group"]}
    kept = (gaps["hallusion", "aAcc"], gaps["dash-b", "accuracy"])
    assert found["joint"]["value"] == pytest.approx(sum(kept) / 2)
