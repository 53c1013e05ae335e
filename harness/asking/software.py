"""What software answered: the versions that a result hangs on, and the commit of the code that ran."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()}-{platform.machine()}"}
    for package in ("ohd-bench", "torch", "transformers", "open_clip_torch", "numpy", "Pillow", "nltk"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


CODE = (":/harness", ":/tasks", ":/encoders", ":/ohd_bench", ":/pyproject.toml")
"""What an answer may hang on; kept results lie in the same checkout and change with every run."""


def git_state(folder: Path) -> dict[str, Any]:
    """The commit of the code that ran and whether it had changes; empty outside a checkout."""
    try:
        here = ["git", "--no-optional-locks", "-C", str(folder)]  # a kill leaves no lock in the user's checkout
        subprocess.run([*here, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)  # noqa: S603
        commit = subprocess.run([*here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S603
        asked = [*here, "status", "--porcelain", "-uno", "--", *CODE]
        dirt = subprocess.run(asked, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit.stdout.strip(), "dirty": bool(dirt.stdout.strip())}
