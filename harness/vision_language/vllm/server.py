"""A vLLM server of one folder on this machine: started, waited for, its log kept, and ended with this process."""

from __future__ import annotations

import re
import secrets
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from harness.console import say
from harness.errors import ModelError
from harness.shown import one_line
from harness.vision_language.vllm import install
from harness.vision_language.vllm.install import Install

# ``vllm serve``, run by a Python; vllm.entrypoints.openai.api_server says in 0.32 that it will go.
SERVE = ("-m", "vllm.entrypoints.cli.main", "serve")
# Greedy decoding is asked for with each question; what else a checkpoint's generation_config.json wishes for
# (penalties) is left out as it is here, which "vllm" says (config/model.py, get_diff_sampling_param, 0.32).
ALWAYS = ("--enable-prefix-caching", "--generation-config", "vllm", "--disable-uvicorn-access-log")
GRACE = 20.0
"""Seconds that it has to end by itself."""
LONGEST = 1800.0
"""Seconds that starting may take: a large model is read, and its kernels compiled."""
NAME = "merged"
"""What the model is called by the server."""
CAUSE = re.compile(r"(?:^|[\])] )([\w.]*(?:Error|Exception): .*)")
"""The end of a traceback, also behind vLLM's ``(Worker pid=1) ERROR 11-27 08:31:22 [file.py:953]``."""
LAST = 15
"""Lines of the log that are shown where it fails."""


class Server:
    """It is ended by ``end``, when nothing refers to it any more, and with this process however that ends."""

    def __init__(self, found: Install, folder: Path, words: Sequence[str], settings: Mapping[str, str]) -> None:
        self.folder, self.log = folder, folder.with_suffix(".log")
        self.key = secrets.token_urlsafe(32)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        asked = [found.python, *SERVE, str(folder), "--served-model-name", NAME, "--host", "127.0.0.1"]
        asked += ["--port", str(port), *ALWAYS, *words]
        # The key is told by the environment, for other users of a machine see a program's words. The folder is here:
        # nothing is fetched, and nothing told to vLLM's makers.
        told = {"VLLM_API_KEY": self.key, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        warden = [sys.executable, str(Path(__file__).with_name("warden.py")), str(GRACE)]
        self.log.unlink(missing_ok=True)  # another command's server of this folder goes on writing to its own
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [*warden, *asked],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder.parent,
                env={**install.environment(found.python), **settings, **told},
                start_new_session=True,  # Ctrl-C is heard by this process alone, which ends the server when it is done
            )
        self.died = False
        """Whether it had ended by itself when it was abandoned."""
        self.end = weakref.finalize(self, _end, self.process)

    def wait(self) -> None:
        """Returns when it answers; ModelError, the end of its log shown, where it ends instead."""
        until = time.monotonic() + LONGEST
        while not self._healthy():
            gone = self.gone(0.2)
            if gone or time.monotonic() > until:
                self.end()
                raise self.ended("ended before it answered" if gone else f"did not answer within {LONGEST:g} s")

    def abandon(self) -> None:
        """Ends it, because nobody waits any more for what it is at."""
        self.died = self.gone(1.0)
        self.end()

    def gone(self, patience: float = 0.0) -> bool:
        """Whether the process has ended, or does so within these seconds."""
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ended(self, how: str) -> ModelError:
        """What to raise: the last lines of the log are said, and the one that names an error is part of it."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").replace(self.key, "***").splitlines()
        for line in lines[-LAST:]:
            say(f"vllm: {one_line(line)}")
        causes = (found[1] for line in lines if (found := CAUSE.search(line)))
        cause = next(causes, "")  # later ones are told by those who waited for the one that failed
        return ModelError(f"vLLM {how}{cause and f': {cause[:400]}'}; its log is {self.log}")

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url.removesuffix('/v1')}/health", timeout=5).is_success
        except httpx.TransportError:
            return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closes the input by which the warden knows that the server is still wanted, and waits until all have ended."""
    assert process.stdin
    process.stdin.close()
    try:
        process.wait(GRACE + 10)
    except subprocess.TimeoutExpired:
        process.kill()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
