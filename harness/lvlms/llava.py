"""``llava``: LLaVA-1.5 and its kin, as they came or with another tower, projector or adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness import model_places, registry
from harness.types import LvlmHost, Place, Spec
from harness.vision_language.vllm import install

OPTIONS = (
    "template", "pad", "dtype", "attention", "inference", "device_map", "quantize", "projector", "lora", "base",
    "tower", "align", "images",
)  # fmt: skip


DEFAULT = "llava-hf/llava-1.5-7b-hf"


def served(spec: Spec) -> bool:
    """Whether a server of vLLM is to answer."""
    return "engine" in spec.options


def files(spec: Spec, default: str = DEFAULT) -> Iterator[Path]:
    """Every place that decides what this LVLM is; where vLLM answers, also what tells its version."""
    yield from model_places.named(spec, default)
    yield from install.marks() if served(spec) else ()


@registry.lvlm("llava", files=files, elsewhere=served)
def llava(spec: Spec, place: Place) -> LvlmHost:
    """LLaVA-1.5 in any layout, as it came or with another tower, projector or adapter.

    ``llava[:HUB_ID|FOLDER][?template=vicuna-v1|chat&pad=pad|crop&projector=FILE&lora=DIR&base=DIR…]``;
    ``engine=vllm[&concurrency=64&tensor_parallel=N&gpu_memory_utilization=0.9]`` lets a vLLM beside the command answer
    ($OHD_BENCH_VLLM is the Python that has it).
    """
    spec = replace(spec, location=spec.location or DEFAULT)
    if served(spec):
        from harness.vision_language.vllm.engine import Engine

        return Engine(spec, place, llava)
    from harness.vision_language.host import Host

    registry.no_more_options(spec, *OPTIONS)
    return Host(spec, place)
