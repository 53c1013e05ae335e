"""What the last bits of a training depend on besides its recipe and data: versions, threads, processes, device."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch
from accelerate import Accelerator

PACKAGES = ("ohd-bench", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy", "Pillow")


def now(accelerator: Accelerator) -> dict[str, Any]:
    """The circumstances of this process and its companions."""
    device = accelerator.device
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "threads": torch.get_num_threads(),
        "processes": accelerator.num_processes,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def differences(then: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """What was otherwise then, in words; where there is nothing, a training goes on to the bit."""
    before, after = _flat(then), _flat(here)
    return [
        f"{name} {before.get(name, 'unknown')} then, {after.get(name, 'unknown')} now"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _flat(told: dict[str, Any]) -> dict[str, Any]:
    return {**told.get("versions", {}), **{name: value for name, value in told.items() if name != "versions"}}
