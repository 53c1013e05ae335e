"""What of this machine and installation matters to a run: versions, devices, extras and folders, and what is to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness import registry
from harness.asking.engine import versions
from harness.compute.devices import gpus
from harness.data import cache_dir
from harness.errors import OhdBenchError
from harness.result import Result

if TYPE_CHECKING:
    from rich.console import RenderableType

EXTRAS = {
    "serve": "fastapi", "quantize": "bitsandbytes", "tensorboard": "tensorboard", "wandb": "wandb", "xlsx": "openpyxl",
    "readers": "inspect_ai",
}  # fmt: skip
"""A package of each extra by which it is known to be there."""
LITTLE_DISK = 20
"""GB: a LLaVA-1.5-7B in half precision takes 14."""
SWITCHES = ("OHD_BENCH_", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


@dataclass(frozen=True)
class Looked:
    """One thing that was looked at; ``advice`` is empty where nothing is to be done."""

    what: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Examined(Result):
    """Everything that was looked at."""

    looked: Sequence[Looked]

    @property
    def well(self) -> bool:
        """Whether nothing is to be done."""
        return not any(one.advice for one in self.looked)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each thing."""
        return [asdict(one) for one in self.looked]

    def json(self) -> Any:
        """The same, and whether all is well."""
        return {"well": self.well, "looked": self.rows()}

    def parts(self) -> Iterator[RenderableType]:
        """A line for each thing, and what to do about it."""
        for one in self.looked:
            yield Text(f"{one.what}: {one.found}")
            if one.advice:
                yield Text(f"  do: {one.advice}", style="bold")


def examine() -> Examined:
    """Look at everything; nothing is changed, fetched or written."""
    packages = [Looked(name, told) for name, told in versions().items()]
    here = Looked("machine", f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores")
    return Examined([here, *packages, *_devices(), *_extras(), *_plugins(), *_folders(), *_switches()])


def _devices() -> Iterator[Looked]:
    """The GPUs that torch sees, and their memory."""
    found = gpus()
    for n, (name, free, whole) in enumerate(found):
        busy = "" if free > whole / 2 else "something else holds most of its memory: stop it, or use another --device"
        yield Looked(f"cuda:{n}", f"{name}, {free:.0f} of {whole:.0f} GB free", busy)
    if not found:
        blind = Path("/proc/driver/nvidia").exists()
        yield Looked("cuda", "no GPU", "torch sees no GPU though there is a driver: try nvidia-smi" if blind else "")


def _extras() -> Iterator[Looked]:
    there = [name for name, package in EXTRAS.items() if importlib.util.find_spec(package)]
    yield Looked("extras", ", ".join(there) or "none")


def _plugins() -> Iterator[Looked]:
    """Whether everything that entry points name can be imported."""
    for point in sorted(entry_points(group="ohd_bench"), key=lambda one: one.value):
        broken = "" if importlib.util.find_spec(point.value.partition(".")[0]) else "it is not there: install it again"
        yield Looked(f"plugin {point.value}", f"from {point.dist.name if point.dist else '?'}", broken)
    try:
        registry.load()
    except OhdBenchError as error:
        yield Looked("plugins", "one does not import", str(error))
    else:
        found = {kind: len(getattr(registry, kind)) for kind in ("tasks", "encoders", "lvlms", "recipes")}
        yield Looked("registered", ", ".join(f"{count} {kind}" for kind, count in found.items()))


def _folders() -> Iterator[Looked]:
    """Whether the cache can be written, and how much space is left where models and answers go."""
    cache = cache_dir()
    nearest = next(path for path in (cache, *cache.parents) if path.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    denied = "" if writable else "set OHD_BENCH_CACHE to a folder that can be written"
    yield Looked("cache", str(cache), denied)
    for what, place in (("disk of the cache", nearest), ("disk of this folder", Path.cwd())):
        free = shutil.disk_usage(place).free / 1e9
        yield Looked(what, f"{free:.0f} GB free", "" if free > LITTLE_DISK else "little for a 7B: free some")


def _switches() -> Iterator[Looked]:
    """The environment variables that change what a command does; no secret among them is shown."""
    for name in sorted(os.environ):
        if name.startswith(SWITCHES):
            yield Looked(name, "(set)" if any(word in name for word in SECRET) else os.environ[name])
