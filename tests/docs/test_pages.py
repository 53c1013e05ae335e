"""What README and docs say to type is what the product understands: Python runs, commands parse, the tour is walked."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from harness.cli import build

ROOT = Path(__file__).parents[2]
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
PAGES = sorted([*READMES, *ROOT.glob("docs/*.md"), *ROOT.glob("CONTRIBUTING.md")])
BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONAL = re.compile(r"\[--[^\]]*\]")
"""``[--quick]`` in a usage line."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    return ((kind, text) for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")))


def commands() -> Iterator[Any]:
    """Every line of every code block that begins with ``ohd-bench``, its continuations joined."""
    for page in PAGES:
        for _, text in blocks(page):
            for line in text.replace("\\\n", " ").splitlines():
                if line.startswith("ohd-bench "):
                    words = [word for word in shlex.split(OPTIONAL.sub("", line), comments=True)[1:] if word != "…"]
                    yield pytest.param(words, id=f"{page.name}: {' '.join(words)[:70]}")


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_on_a_page_is_one_that_the_product_understands(words: list[str]):
    command, name = get_command(build()), "ohd-bench"
    while True:
        context = command.make_context(name, list(words), resilient_parsing=False)
        if not hasattr(command, "commands"):
            return
        name, command, words = command.resolve_command(
            context, [*getattr(context, "_protected_args", []), *context.args]
        )
        assert command is not None


@pytest.mark.parametrize("page", [page for page in PAGES if any(kind == "python" for kind, _ in blocks(page))])
def test_every_python_block_runs_one_after_another(page: Path, tmp_path: Path):
    code = "\n".join(text for kind, text in blocks(page) if kind == "python")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tour_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert sum("text/html" in out.get("data", {}) for out in shown) >= 5
    assert (tmp_path / "tour" / "report.html").is_file()


def test_no_block_is_left_unchecked():
    """Python is run, commands and bash are parsed; the rest are sessions of make and pip, folders, printed tables."""
    known = {"python", "", "sh", "toml", "json", "bash", "yaml"}  # bash and yaml: test_scale.py
    assert {kind for page in PAGES for kind, _ in blocks(page)} <= known


def test_both_readmes_have_the_same_commands():
    found = []
    for page in READMES:
        rows = [row for row in page.read_text(encoding="utf-8").splitlines() if row.startswith("| ") and "`" in row]
        offered = [re.findall(r"`[^`]+`|\(docs/[^)]+\)", row.split("|", 2)[2]) for row in rows]
        found.append(([text for kind, text in blocks(page) if kind == "sh"], offered))
    assert found[0] == found[1]
