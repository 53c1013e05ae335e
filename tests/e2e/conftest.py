"""``two_raylets``: a Ray cluster of two raylets in processes of their own, for as long as a test has it open."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 300


class TwoRaylets:
    """Called with CPUs a raylet, and a folder that the second one is not to see (then it alone has CPUs)."""

    @contextlib.contextmanager
    def __call__(self, cpus: int, *hidden: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
        """The process of the cluster, whose first line is its address; a line to it takes the second raylet away."""
        script = Path(__file__).with_name("two_raylets.py")
        command = [sys.executable, str(script), str(cpus), *map(str, hidden)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | env
        )
        try:
            yield process
        finally:
            process.communicate(timeout=PATIENCE)

    def require_hiding(self) -> None:
        """Skips where no process can be given a file system of its own."""
        tried = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
        if shutil.which("unshare") is None or subprocess.run(tried, capture_output=True).returncode:
            pytest.skip("no mount namespace can be made here (unshare --mount, as root on Linux)")


@pytest.fixture
def two_raylets() -> TwoRaylets:
    """Opens such a cluster."""
    if not sys.platform.startswith("linux"):
        pytest.skip("Ray's local clusters of several raylets are Linux's")
    return TwoRaylets()
