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


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a = " + b"[" * 5000, b"seeds = " + b"9" * 5000, b"[[["])
def test_a_file_that_is_no_toml_is_named(cli, tmp_path, data):
    (tmp_path / "study.toml").write_bytes(data)
    said = cli("study", "plan", tmp_path / "study.toml", "--data", "micro", "--out", tmp_path / "out")
    assert said.code == 2, said.err
    assert "study.toml is no TOML" in said.err


def test_a_byte_order_mark_before_a_study_is_passed_over(cli, tmp_path):
    (tmp_path / "study.toml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert cli("study", "plan", tmp_path / "study.toml", "--data", "micro", "--out", tmp_path / "out").code == 0
