"""Rules that matter: what is imported when, and what the command promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "pandas", "open_clip", "scipy", "sklearn", "matplotlib", "nltk")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"], ["list", "tasks"], ["data", "--help"]])
def test_help_and_list_load_neither_torch_nor_transformers_nor_pandas(words):
    code = (
        f"import sys; sys.argv = ['ohd-bench', *{words!r}]\n"
        "from harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "tests")
    assert done.returncode == 0, done.stderr


def test_imports_go_one_way():
    """tasks → harness, encoders → harness; never back, never between the two."""
    from importlinter import cli

    assert cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_the_llava_package_is_never_imported():
    for path in [*ROOT.glob("harness/**/*.py"), *ROOT.glob("tasks/**/*.py"), *ROOT.glob("encoders/**/*.py")]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.strip().startswith(("import llava", "from llava"))], path


def test_the_option_list_of_run_is_what_users_were_promised():
    from typer.main import get_command

    from harness.cli import build

    command = get_command(build())
    options = {name for one in command.commands["run"].params for name in one.opts}
    assert options == {
        *("--encoder", "-e", "--lvlm", "-l", "--align", "--task", "-t", "--data", "--results", "--control"),
        *("--limit", "--seed"),
        *("--batch-size", "--dtype", "--device", "--include", "--full", "--json", "--verbose", "-v"),
        *("--workers", "--verify", "--estimate", "--allow-outside", "--available", "--shard", "--ray"),
        "--log-with",
    }


def test_no_file_names_a_path_of_somebodys_machine():
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT).stdout.split()
    for name in files:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".json", ".sh", ".txt", ".html"} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            assert "/" + "root/" not in text, name
            assert "/" + "work/" not in text, name
