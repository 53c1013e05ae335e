"""What a study file names is looked for before anything is trained, and refused in one line where it is not there."""

from __future__ import annotations

import pytest

from harness.study import schema

TEXT = schema.text("paper", True)


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ('name = "paper"', 'name = "../../x"', "'../../x' is no name"),
        ('name = "paper"', 'name = "\\u001b[31mx"', "is no name"),
        ("[arms.l0]", '[arms."../x"]', "'../x' is no name"),
        ('base = "micro"', 'base = "nosuch"', "no encoder is called 'nosuch'"),
        ('lvlm = "micro-llava"', 'lvlm = "nosuch"', "no LVLM is called 'nosuch'"),
        ('"amber", "pope"]', '"amber", "amber"]', "amber twice"),
        ('tasks = ["ohd-caps", "zero-shot", "amber", "pope"]', "tasks = []", "tasks is empty"),
        ("seeds = 5", "seeds = 1000000000", "at most 10000"),
        ("seeds = 5", 'seeds = 5\ncontrols = ["blank"]', "no control is called 'blank'"),
        ('how = "ridge"', 'how = "rigde"', "no stage is called 'rigde'"),
        ('how = "pretrain,lora"', 'how = "pretrain,pretrain"', "a stage is named twice"),
        ('images = "web/images"', "", "names no 'images'"),
        ('images = "web/images"', 'images = "/etc"', "right would be a place below the data folder"),
        ('data = "micro,micro"', 'data = "micro,../x.json"', "right would be a place below the data folder"),
        ('data = "micro,micro"', 'data = "micro,micro,micro"', "2 stages and 3 places of data"),
        ('data = "micro,micro"', 'set = {rate = nan}', "rate=nan: right would be a number above 0"),
        ('data = "micro,micro"', 'set = {nosuch = 1}', "no field 'nosuch'"),
        ("fractions = [0.01, 0.1, 1.0]", "fractions = [1.0, 1.0]", "name one share twice"),
        ('title = "L0: no margins"', "set = {seed = 3}", "sets a seed"),
        ('task = "zero-shot"', 'task = "pairs"', "is of pairs; the tasks are"),
        ('candidate = "full"', 'candidate = "base"', "against itself"),
        ("limit = 24", "limit = -1", "limit is -1"),
        ('"flickr:top1"', '"foo"', "ohd-caps has no metric 'foo'; there is top1, vs_random"),
        ('"flickr:top1"', '"flickr:foo"', "ohd-caps has no metric 'foo' in flickr; there is top1"),
        ('"flickr:top1"', '"nonsense:top1"', "no group 'nonsense'; there is average, coco, flickr, nocaps"),
        ('"generative:Hal"', '"generative:f1"', "amber has no metric 'f1' in generative"),
    ],
)  # fmt: skip
def test_what_a_study_cannot_do_is_said_before_anything_is_trained(cli, tmp_path, was, becomes, says):
    assert was in TEXT
    path = tmp_path / "study.toml"
    path.write_text(TEXT.replace(was, becomes, 1), encoding="utf-8")
    said = cli("study", "plan", path, "--data", "micro", "--out", tmp_path / "out")
    assert said.code == 2, said.err
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


TWINS = """
name = "twins"
title = "Arms that are one"
base = "micro"
tasks = ["ohd-caps", "retrieval"]
seeds = 2

[arms.a]
recipe = "micro-ohd"

[arms.b]
recipe = "micro-ohd"
set = { steps = 100 }

[[contrasts]]
base = "a"
candidate = "b"
says = "nothing"
over = "nothing"

[quick.set]
steps = 5
"""


def planned(cli, tmp_path, text, *more):
    (tmp_path / "twins.toml").write_text(text, encoding="utf-8")
    return cli("study", "plan", tmp_path / "twins.toml", "--data", "micro", "--out", tmp_path / "out", *more)


@pytest.mark.parametrize("settings", ["", "set = { LIKE }", "set = { LIKE }\nfractions = [0.5, 1.0]"])
def test_two_arms_that_are_one_training_are_planned_under_both_names_and_not_set_against_each_other(
    cli, tmp_path, settings
):
    text = TWINS.replace("set = { steps = 100 }", settings.replace("LIKE", "lambda1 = 1e-1"))
    said = planned(cli, tmp_path, text)
    assert said.code == 2
    assert "a contrast sets 'b' against 'a': by recipe and settings they are one training under two names" in said.err
    plan = planned(cli, tmp_path, text.replace('base = "a"\n', 'base = "base"\n'), "--json").json()
    assert [job["job"] for job in plan["jobs"] if job["job"].startswith("train a,")] == [
        "train a, seed 0 = train b, seed 0", "train a, seed 1 = train b, seed 1",
    ]  # fmt: skip


@pytest.mark.parametrize("swapped", [False, True])
def test_a_contrast_that_stands_twice_is_refused(cli, tmp_path, swapped):
    again = TWINS[TWINS.index("[[contrasts]]") : TWINS.index("[quick.set]")]
    again = again.replace('"a"', '"x"').replace('"b"', '"a"').replace('"x"', '"b"') if swapped else again
    said = planned(cli, tmp_path, TWINS.replace("[quick.set]", f"{again}[quick.set]"))
    assert said.code == 2 and "twice: p-values are adjusted for every line" in said.err


def test_arms_that_only_quick_makes_alike_are_two(cli, tmp_path):
    text = TWINS.replace("steps = 100", "steps = 90")
    assert planned(cli, tmp_path, text, "--quick").code == 0


@pytest.mark.parametrize(
    "grown", ["", 'lvlm = "micro-llava"\n', 'lvlm = "micro-llava"\n[alignments.n]\nhow = "none"\n']
)
def test_a_task_that_no_model_of_the_study_would_be_asked_is_refused(cli, tmp_path, grown):
    head, arms = TWINS.replace('"retrieval"]', '"pope"]').split("[arms.a]")
    said = planned(cli, tmp_path, f"{head}{grown}[arms.a]{arms}")
    assert said.code == 2
    assert "pope asks the LVLM, and no arm is grown into one: that takes an lvlm" in said.err


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a = " + b"[" * 5000, b"seeds = " + b"9" * 5000, b"[[["])
def test_a_file_that_is_no_toml_is_named(cli, tmp_path, data):
    (tmp_path / "study.toml").write_bytes(data)
    said = cli("study", "plan", tmp_path / "study.toml", "--data", "micro", "--out", tmp_path / "out")
    assert said.code == 2, said.err
    assert "study.toml is no TOML" in said.err


def test_a_byte_order_mark_before_a_study_is_passed_over(cli, tmp_path):
    (tmp_path / "study.toml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert cli("study", "plan", tmp_path / "study.toml", "--data", "micro", "--out", tmp_path / "out").code == 0
