"""What of this machine and installation matters to a run: everything is looked at and tried, nothing is left behind."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

from harness import extras, registry
from harness.compute.devices import gpus
from harness.doctor import places, spreading
from harness.doctor.looked import Examined, Looked
from harness.doctor.packages import packages
from harness.doctor.settings import Settings
from harness.errors import OhdBenchError


def examine(data: str, results: Path, quick: bool, say: Callable[[str], None], settings: Settings) -> Examined:
    """Look at everything; ``quick`` leaves out what takes time (some 30 s): Ray, kernels, precisions, self-test.

    What takes time is told to ``say`` before it is begun.
    """
    if not quick:
        say("some 30 s; --quick leaves out what is tried: a worker of Ray …")
    looked = [*_machine(), *packages(), *_plugins(), *places.data(data), places.words(), places.browser()]
    looked += [spreading.ray(quick), *places.folders(results), *settings.looked()]
    if not extras.there("torch"):
        looked.append(
            Looked("models", "none can run here; what they said can be scored", extras.command("torch"), False)
        )
        return Examined(looked)
    return Examined(looked if quick else [*looked, *_computed(say)])


def _computed(say: Callable[[str], None]) -> Iterator[Looked]:
    """Whether this machine computes right: attention, answers in every precision, and a run."""
    from harness.doctor.kernels import attention
    from harness.doctor.selftest import micro_run, precisions

    devices = ["cpu", *(f"cuda:{n}" for n in range(len(gpus())))]
    say("attention and answers in every precision …")
    kernels = [one for device in devices for one in attention(device)]
    yield from kernels
    right = sum(not one.advice for one in kernels)
    yield Looked("attention", f"right in {right} of {len(kernels)} precisions on {', '.join(devices)}")
    yield from precisions(devices)
    say("a run of the micro world …")
    yield micro_run()


def _machine() -> Iterator[Looked]:
    """Cores, memory, and the GPUs that torch sees."""
    import psutil

    memory = psutil.virtual_memory()
    cores = f"{os.cpu_count()} cores, {memory.available / 1e9:.0f} of {memory.total / 1e9:.0f} GB free"
    yield Looked("machine", f"{platform.platform()}, {cores}")
    found = gpus()
    for n, (name, free, whole) in enumerate(found):
        busy = "" if free > whole / 2 else "something else holds most of its memory: stop it, or use another --device"
        yield Looked(f"cuda:{n}", f"{name}, {free:.0f} of {whole:.0f} GB free", busy, needed=False)
    if not found:
        blind = Path("/proc/driver/nvidia").exists()
        advice = "torch sees no GPU though there is a driver: try nvidia-smi, and a torch built for this driver"
        yield Looked("cuda", "no GPU", advice if blind else "", needed=False)


def _plugins() -> Iterator[Looked]:
    """Whether everything that entry points name can be imported."""
    for point in sorted(entry_points(group="ohd_bench"), key=lambda one: one.value):
        broken = "" if importlib.util.find_spec(point.value.partition(".")[0]) else "it is not there: install it again"
        whose = point.dist.name if point.dist else "?"
        yield Looked(f"plugin {point.value}", f"from {whose}", broken, listed=whose != "ohd-bench")
    try:
        registry.load()
    except OhdBenchError as error:
        yield Looked("plugins", "one does not import", str(error))
    else:
        kinds = {"tasks": "tasks", "encoders": "encoders", "lvlms": "LVLMs", "recipes": "recipes"}
        found = (f"{len(getattr(registry, name))} {kind}" for name, kind in kinds.items())
        yield Looked("registered", ", ".join(found))
