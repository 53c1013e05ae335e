"""What vLLM is started with: the user's own options, checked, and what the device that it computes on needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness import registry
from harness.errors import ModelError, UsageError
from harness.types import Place, Spec
from harness.vision_language.vllm import install
from harness.vision_language.vllm.install import Install

FLAGS = {"tensor_parallel": "--tensor-parallel-size", "gpu_memory_utilization": "--gpu-memory-utilization"}
SHARE = re.compile(r"1|1\.0*|0?\.[0-9]{1,6}")
# On a CPU vLLM's blocks are of 128 tokens, and only whole blocks are shared: most of a question's way to its picture
# would be computed again. Multiples of 32 are as fast (platforms/cpu.py, 0.32). Compiling takes minutes. Of the
# machine's memory it would take 92 %, and end where less is free; 4 GB of keys and values were its default before.
ON_CPU = ("--enforce-eager", "--block-size", "32")
SPACE = {"VLLM_CPU_KVCACHE_SPACE": "4"}


@dataclass(frozen=True)
class Launch:
    """Words of ``vllm serve``, and variables of its environment."""

    words: tuple[str, ...]
    settings: Mapping[str, str]


def launch(spec: Spec, place: Place, found: Install, settings: Mapping[str, str]) -> Launch:
    """How to start this vLLM; ``settings`` are variables that count where the user has set none.

    UsageError where an option is none that vLLM takes, ModelError where it does not compute on this device.
    """
    kind = place.device.partition(":")[0]
    if kind != "auto" and (kind == "cpu") != found.on_cpu:
        here = "on the CPU" if found.on_cpu else "on GPUs"
        raise ModelError(f"--device {place.device}: vLLM {found.version} computes {here}")
    known = install.environment(found.python)
    if found.on_cpu and "gpu_memory_utilization" not in spec.options:
        settings = {**SPACE, **settings}
    ours = {key: told for key, told in settings.items() if key not in known}
    return Launch(_words(spec, found), ours | _gpu(spec, place, known))


def _words(spec: Spec, found: Install) -> tuple[str, ...]:
    registry.whole_number(spec, "tensor_parallel")
    share = spec.options.get("gpu_memory_utilization", "1")
    if not SHARE.fullmatch(share) or not float(share):
        raise UsageError(f"?gpu_memory_utilization={share}: it is a share of the memory, above 0 and at most 1")
    told = [word for name, flag in FLAGS.items() if name in spec.options for word in (flag, spec.options[name])]
    return (*(ON_CPU if found.on_cpu else ()), *told)


def _gpu(spec: Spec, place: Place, known: Mapping[str, str]) -> dict[str, str]:
    """The one GPU that vLLM is to see, where one is named: that number among those which this process sees."""
    number = place.device.partition(":")[2]
    if not number:
        return {}
    if "tensor_parallel" in spec.options:
        raise UsageError(f"--device {place.device} is one GPU, ?tensor_parallel= are several: leave one of them out")
    visible = [one for one in known.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    if visible and int(number) >= len(visible):
        raise ModelError(f"there is no {place.device} among CUDA_VISIBLE_DEVICES={','.join(visible)}")
    return {"CUDA_VISIBLE_DEVICES": visible[int(number)] if visible else number}
