"""Where a model computes, and in what precision: ``auto`` turned into what this machine has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness import extras
from harness.errors import ModelError, UsageError

if TYPE_CHECKING:
    import torch

    from harness.types import Place

NAMES = {"fp32": "float32", "float32": "float32", "bf16": "bfloat16", "bfloat16": "bfloat16", "fp16": "float16"}
NAMES["float16"] = "float16"


def device(place: Place) -> torch.device:
    """The device to compute on: the first GPU where there is one, unless the user says which."""
    import torch

    if place.device != "auto":
        return _named(place.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _named(name: str) -> torch.device:
    import torch

    try:
        found = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"no device is called '{name}'; there is auto, cpu, cuda, cuda:N, mps") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if found.type not in count:
        raise UsageError(f"nothing computes on '{name}' here; there is auto, cpu, cuda, cuda:N, mps")
    if (found.index or 0) >= count[found.type]:
        raise ModelError(f"this machine has no {name}")
    return found


def gpus() -> list[tuple[str, float, float]]:
    """The name of each CUDA device that torch sees, and its free and whole memory in GB."""
    if not extras.there("torch"):
        return []
    import torch

    count = torch.cuda.device_count()
    sizes = [torch.cuda.mem_get_info(n) for n in range(count)]
    return [(torch.cuda.get_device_name(n), free / 1e9, whole / 1e9) for n, (free, whole) in enumerate(sizes)]


def one_thread() -> None:
    """One thread for models so small that sharing a step among threads costs more than the step.

    Measured with the micro models: ten times the speed of two threads on two busy cores. ``OMP_NUM_THREADS`` overrides.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def dtype(name: str, otherwise: torch.dtype) -> torch.dtype:
    """The torch dtype of this name (fp32, bf16, fp16); ``auto`` gives ``otherwise``."""
    import torch

    if name == "auto":
        return otherwise
    if name not in NAMES:
        raise UsageError(f"no dtype is called '{name}'; there is auto, fp32, bf16, fp16")
    return getattr(torch, NAMES[name])  # type: ignore[no-any-return]


def require(place: Place) -> None:
    """UsageError where there is no such device here, or no such dtype."""
    import torch

    device(place)
    dtype(place.dtype, torch.float32)


def batch_size(place: Place, gpu: int, cpu: int) -> int:
    """How many items go through the model at once."""
    return place.batch_size or (gpu if device(place).type == "cuda" else cpu)
