"""Names and specs: how things are found."""

from __future__ import annotations

import os
import sys

import pytest

from harness import registry
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "location", "options"),
    [
        ("micro", "micro", "", {}),
        ("clip:openai/clip-vit-large-patch14-336", "clip", "openai/clip-vit-large-patch14-336", {}),
        ("open-clip:ViT-L-14?weights=epoch_3.pt", "open-clip", "ViT-L-14", {"weights": "epoch_3.pt"}),
        (
            "openai:http://host:8000/v1?model=a/b&key_env=K",
            "openai",
            "http://host:8000/v1",
            {"model": "a/b", "key_env": "K"},
        ),
        ("clip:/a folder/with:colon", "clip", "/a folder/with:colon", {}),
    ],
)
def test_a_spec_is_name_location_and_options(text, name, location, options):
    spec = registry.parse_spec(text)
    assert (spec.name, spec.location, dict(spec.options)) == (name, location, options)


@pytest.mark.parametrize("text", ["", ":x", "clip?a", "?a=b"])
def test_a_spec_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        registry.parse_spec(text)


def test_everything_installed_is_found():
    registry.load()
    assert {"amber", "ohd-caps", "pope", "zero-shot"} <= set(registry.tasks)
    assert {"clip", "open-clip", "hashing"} <= set(registry.encoders)
    assert {"llava", "parrot"} <= set(registry.lvlms)


@pytest.mark.parametrize("body", ["import no_such_package", "def (", "raise SystemExit(0)", "1 / 0"])
def test_a_broken_plugin_fails_with_its_name(cli, tmp_path, body):
    (tmp_path / "mine.py").write_text(body + "\n")
    said = cli("list", "--include", tmp_path)
    assert said.code == 2
    assert "mine.py cannot be imported" in said.err


def test_a_name_taken_twice_is_refused(cli, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from harness.registry import task\nfrom harness.types import Task\n\n\n@task('pope')\nclass Pope(Task): ...\n"
    )
    said = cli("list", "--include", tmp_path)
    assert said.code == 2
    assert "'pope' is registered twice" in said.err


def test_a_plugin_that_is_changed_within_a_second_is_read_as_it_is_now(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for name in ("first", "other"):
        plugin = tmp_path / "of_mine.py"
        plugin.write_text(f"from harness.registry import lvlm\n\n\n@lvlm('{name}')\ndef made(spec, place): ...\n")
        os.utime(plugin, (1e9, 1e9))
        assert name in cli("list", "lvlms", "--include", tmp_path).out
    assert [path.name for path in tmp_path.iterdir()] == ["of_mine.py"]


def test_a_plugin_with_an_error_of_its_own_is_named(cli, tmp_path):
    (tmp_path / "mine.py").write_text("1 / 0\n")
    said = cli("list", "--include", tmp_path)
    assert said.code == 2
    assert "mine.py" in said.err


ODD_TASK = """
from harness.metrics import ratio
from harness.registry import task
from harness.types import Sample, Task


@task("odd")
class Odd(Task):
    \"\"\"Odd in one way.\"\"\"

    mode, metrics, headline = {mode}, {{"right": ratio("right", "n")}}, {headline}

    def samples(self):
        {samples}

    def count(self, sample, answer):
        {count}
"""
SOUND = {
    "mode": '"generate"', "headline": '"right"', "samples": 'yield Sample("1", None, "yes", prompt="?")',
    "count": 'return {"n": 1, "right": 1}',
}  # fmt: skip


@pytest.mark.parametrize(
    ("odd", "says", "codes"),
    [
        ({"mode": '"nope"'}, "has the mode 'nope'; there is rank, retrieve, generate", (2, 2)),
        ({"samples": "return None"}, "samples() gives no samples but a NoneType", (2, 2)),
        ({"samples": 'yield "a question"'}, "samples() gives 'a question'", (2, 2)),
        ({"samples": 'yield Sample("", None, "yes", prompt="?")'}, "right would be a Sample with an id", (2, 2)),
        ({"count": 'return {"n": 1, "right": float("nan")}'}, "count() gives 'right' = nan", (2, 2)),
        ({"count": 'return {"n": 1e30}'}, "count() gives 'n' = 1e+30", (2, 2)),
        ({"count": 'return {"n": "1"}'}, "count() gives 'n' = '1'", (2, 2)),
        ({"count": "raise SystemExit(0)"}, "not foreseen: SystemExit", (1, 1)),
        ({"headline": '"nothing"'}, "the headline is a metric", (0, 5)),
        ({}, "", (0, 0)),
    ],
)
def test_a_task_that_is_odd_is_told_so_in_a_line_and_is_never_a_silent_end(cli, tmp_path, odd, says, codes):
    (tmp_path / "mine.py").write_text(ODD_TASK.format(**{**SOUND, **odd}))
    run = cli("run", "--lvlm", "parrot", "-t", "odd", "--include", tmp_path, "--results", tmp_path / "results")
    check = cli("check", "task", "odd", "--include", tmp_path)
    assert (run.code, check.code) == codes, (run, check)
    assert says in check.out + check.err and (says in run.err or run.code == 0)
    if run.code == 0:
        assert "kept in" in run.err
