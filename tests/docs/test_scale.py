"""docs/scale.md: its scripts parse, and SECURITY.md promises what the code does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs/scale.md").read_text(encoding="utf-8"), re.M | re.S)
CODE = [*ROOT.glob("harness/**/*.py"), *ROOT.glob("encoders/**/*.py"), *ROOT.glob("tasks/**/*.py")]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash parses the scripts")
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_of_the_page_parse(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_slurms_script_has_its_directives_before_its_first_command():
    lines = SCRIPTS[0].splitlines()
    assert lines[0] == "#!/bin/bash"
    assert [line for line in lines if line.startswith("#SBATCH")] == lines[1 : 1 + SCRIPTS[0].count("#SBATCH")]


def test_no_model_runs_code_of_its_own_and_no_pickle_is_executed():
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in text, path
        for call in re.findall(r"torch\.load\((.*)", text):
            assert "weights_only=True" in call, path


def test_nothing_of_ours_listens():
    for path in CODE:
        assert not re.search(r"\.listen\(|HTTPServer|socketserver|create_server", path.read_text(encoding="utf-8")), (
            path
        )
