"""What a process computes on, and the most memory it has taken there."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path
from typing import Any

from harness import extras
from harness.compute.devices import device
from harness.types import Place


def peak_bytes(gpu: bool) -> int:
    """The most memory this process ever had: of the GPU's what torch took, or of the machine's."""
    if gpu:
        import torch

        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss would count the parent's memory as well
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def begin() -> None:
    """What the process has taken so far counts no more in ``peak_bytes``, where the system can forget it.

    Linux and GPUs can. What is still held counts on.
    """
    gc.collect()
    with contextlib.suppress(OSError):  # Linux: proc(5), clear_refs
        Path("/proc/self/clear_refs").write_text("5")
    if extras.there("torch"):
        import torch

        let_go()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()


def let_go() -> None:
    """Gives back to a GPU what torch keeps of it for later, so that another process may have it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def spent(place: Place) -> dict[str, Any]:
    """``device`` by name, how many ``chips`` of it (threads of a CPU) are busy, and ``peak_bytes`` so far."""
    if not extras.there("torch"):  # what is asked computes elsewhere, or not at all
        return {"device": "cpu", "chips": 1, "peak_bytes": peak_bytes(False)}
    import torch

    where = device(place)
    if where.type == "cuda":
        return {"device": torch.cuda.get_device_name(where), "chips": 1, "peak_bytes": peak_bytes(True)}
    chips = torch.get_num_threads() if where.type == "cpu" else 1
    return {"device": where.type, "chips": chips, "peak_bytes": peak_bytes(False)}
