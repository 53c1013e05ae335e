"""What every test may use: the shared data where it lies beside the repository, one thread, a cache of its own."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# a shell's background job ignores Ctrl-C, and so would every command that a test starts and interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a machine that does other work beside. A commit passes or fails each time;
# `make nightly` draws other examples each night.
hypothesis.settings.register_profile("ohd-bench", deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None)
hypothesis.settings.load_profile(os.environ.get("OHD_BENCH_EXAMPLES", "ohd-bench"))

SHARED = Path(os.environ.get("OHD_BENCH_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and oracle cases; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}: set OHD_BENCH_SHARED to run this test")
    return SHARED


@pytest.fixture
def nltk_data(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NLTK's data from the shared folder: for this process, which reads ``NLTK_DATA`` but once, and its children."""
    import nltk

    monkeypatch.setenv("NLTK_DATA", str(shared / "data" / "nltk_data"))
    monkeypatch.setattr(nltk.data, "path", [str(shared / "data" / "nltk_data")])


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed on stdout, read as JSON."""
        return json.loads(self.out)


@functools.cache
def module(name: str) -> ModuleType:
    """A file beside this one, by its name."""
    spec = importlib.util.spec_from_file_location(f"ohd_bench_{name}", Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="session")
def schemas() -> ModuleType:
    """The JSON schemas of the commands, tests/schemas.py."""
    return module("schemas")


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, schemas: ModuleType) -> Callable[..., Said]:
    """Runs an ``ohd-bench`` command in this process: ``cli("run", "--encoder", "hashing")``.

    What it prints with ``--json`` is held to the command's schema.
    """
    from harness.cli import main

    def run(*words: object) -> Said:
        monkeypatch.setattr("sys.argv", ["ohd-bench", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capfd.readouterr()
        told = Said(int(end.value.code or 0), said.out, said.err)
        if "--json" in words and told.out:
            schemas.require([str(word) for word in words], told.json())
        return told

    return run


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """Builders of tiny random models in the real layouts, tests/tiny.py."""
    return module("tiny")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _every_name_is_known() -> None:
    """Whichever test comes first finds the tasks and models that the package brings."""
    from harness import registry

    registry.load()


@pytest.fixture(scope="session", autouse=True)
def _room_for_pixels() -> Iterator[None]:
    """How full this machine's disk is decides no test."""
    from encoders.towers import shelf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelf, "SPARED", 0)
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_plugins() -> Iterator[None]:
    """What a module's tests include by ``--include`` is known to no other module's."""
    yield
    from harness import registry

    for name in ("tasks", "encoders", "lvlms", "recipes", "encoder_files", "lvlm_files", "served"):
        table = getattr(registry, name)
        for key in [key for key, made in table.items() if made.__module__.startswith("ohd_bench_include_")]:
            del table[key]
    registry.included.clear()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests write to a cache of their own, kept for the session."""
    if "OHD_BENCH_CACHE" in os.environ:
        yield
        return
    os.environ["OHD_BENCH_CACHE"] = str(tmp_path_factory.getbasetemp().parent / "ohd-bench-cache")
    yield
    del os.environ["OHD_BENCH_CACHE"]
