"""``--help`` ends with an example that works, options stand in groups, and Tab completes names and runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.main import get_command

from harness.cli import build, completion
from harness.cli.examples import EXAMPLES


@pytest.mark.parametrize("words", EXAMPLES)
def test_every_example_stands_under_its_command_and_is_understood(words: str) -> None:
    command = get_command(build())
    for word in words.split():
        assert word in command.commands, f"there is no command '{words}'"
        command = command.commands[word]
    if not hasattr(command, "commands"):
        assert command.epilog == f"Example: {EXAMPLES[words]}"
    typed = shlex.split(EXAMPLES[words])
    assert typed[: 1 + len(words.split())] == ["ohd-bench", *words.split()]
    if not hasattr(command, "commands"):
        command.make_context(words, typed[1 + len(words.split()) :], resilient_parsing=False)


def test_options_stand_in_groups(cli) -> None:
    said = cli("run", "--help").out
    assert said.index("Options") < said.index("How it is computed") < said.index("What is shown")


def test_tab_completes_tasks_models_and_runs(tmp_path: Path) -> None:
    assert "pope" in completion.registered("tasks")("po")
    assert completion.registered("lvlms")("micro-l") == ["micro-llava"]
    for name in ("micro@1", "micro-ohd@1", "other@1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    assert completion.kept_run(SimpleNamespace(params={"results": tmp_path}), "micro-") == ["micro-ohd@1"]
