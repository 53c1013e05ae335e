"""Time, memory and ceilings of the machine that a benchmark runs on."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from harness.compute import memory
from harness.compute.onednn import fast_linear

Measurement = dict[str, Any]
LONG = 2.0
"""Seconds of work on a GPU above which one try after the warm-up tells enough."""


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype() -> torch.dtype:
    """bf16 on a GPU; fp32 on a CPU, where answers must be equal to the token."""
    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """Median seconds of this work: CUDA events on a GPU (after a warm-up), the clock on a CPU."""
    if not torch.cuda.is_available():
        return statistics.median(_clocked(work) for _ in range(repeats))
    long = _cuda(work) > LONG
    return statistics.median(_cuda(work) for _ in range(1 if long else max(3, repeats)))


def freed() -> None:
    """What nothing holds any more is given back, so that another process on the same card finds room."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _clocked(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _cuda(work: Callable[[], Any]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


@dataclass(frozen=True)
class Beside:
    """Seconds of two ways, and the processor's time each took, which other work on the machine hardly moves."""

    reference: float
    product: float
    reference_cpu: float
    product_cpu: float

    def detail(self) -> dict[str, Any]:
        """The ratio of processor times: on a busy machine the one to believe."""
        if torch.cuda.is_available():
            return {}
        return {"cpu_time_ratio": round(self.reference_cpu / self.product_cpu, 2)}


def beside(reference: Callable[[], Any], product: Callable[[], Any], rounds: int = 1) -> Beside:
    """Both ways timed in one run, the product before and after the reference, so that slow moments meet both.

    Of several rounds the quickest of each is taken: what others do on the machine only ever adds.
    """
    ours, theirs = [_both_clocks(product)], []
    for _ in range(rounds):
        theirs.append(_both_clocks(reference))
        ours.append(_both_clocks(product))
    if rounds > 1:
        return Beside(min(theirs)[0], min(ours)[0], min(cpu for _, cpu in theirs), min(cpu for _, cpu in ours))
    took, cpu = (sum(column) / len(ours) for column in zip(*ours, strict=True))
    return Beside(theirs[0][0], took, theirs[0][1], cpu)


def _both_clocks(work: Callable[[], Any]) -> tuple[float, float]:
    began = time.process_time()
    took = seconds(work)
    return took, time.process_time() - began


@dataclass(frozen=True)
class Ceilings:
    """What this machine reaches at best: multiplying large matrices, and copying memory."""

    flops: float
    bytes: float

    def shares(self, flops: float, read: float, took: float) -> dict[str, float]:
        """Achieved FLOP/s and bytes/s, and both over the ceilings."""
        return {
            "flop_per_s": flops / took,
            "of_peak_flops": round(flops / took / self.flops, 3),
            "bytes_per_s": read / took,
            "of_peak_bandwidth": round(read / took / self.bytes, 3),
        }


def ceilings() -> Ceilings:
    """Measured here and now, in the dtype of the benchmark."""
    n = 8192 if torch.cuda.is_available() else 1536
    left, right = (torch.randn(n, n, device=device(), dtype=dtype()) for _ in range(2))
    source = torch.empty(2**30 if torch.cuda.is_available() else 2**27, device=device(), dtype=torch.uint8)
    target = torch.empty_like(source)
    with fast_linear(device(), dtype()):
        multiply = seconds(lambda: torch.nn.functional.linear(left, right), 5)
    copy = seconds(lambda: target.copy_(source), 5)
    return Ceilings(2 * n**3 / multiply, 2 * source.numel() / copy)


def peak_bytes() -> int:
    """The most memory this process ever had: on the GPU where there is one."""
    return memory.peak_bytes(torch.cuda.is_available())


FAR_ABOVE = 1.25
"""A ratio so far above what the work left out allows is a difference of kernels between the two ways, not our doing."""


def settled(measure: Callable[[], Measurement], tries: int = 3) -> Measurement:
    """The measurement, taken again where it is far above its limit: a neighbour goes by, a difference of kernels stays.

    Of two ways that share a cache with others, the one that moves more memory loses more to them.
    """
    found = measure()
    while not found.get("honest", True) and (tries := tries - 1):
        found = measure()
    return found


def linear_flops(layers: int, width: int, inner: int = 0) -> float:
    """FLOPs of one token in the linear layers of a CLIP tower of this size."""
    return 2.0 * layers * (4 * width**2 + 2 * width * (inner or 4 * width))


def tower_flops(layers: int, width: int, rows: int, length: int, read: int | None = None) -> float:
    """FLOPs of a CLIP tower over rows of this length, where the last layer is computed for ``read`` places alone.

    There keys and values, a sixth of its linear layers, are still computed for all.
    """
    one = linear_flops(1, width) + attention_flops(1, width, length)
    if read is None:
        return layers * rows * length * one
    values = linear_flops(1, width) / 6
    return (layers - 1) * rows * length * one + rows * length * values + read * (one - values)


def attention_flops(layers: int, width: int, length: int) -> float:
    """FLOPs of one token in the attention of a tower of this size, over rows of this length."""
    return 4.0 * layers * width * length


def row(name: str, reference: float, product: float, equal: bool, **detail: Any) -> Measurement:
    """One line of the table: how many times faster, and whether the results are the same.

    ``limit`` is the ratio that the work left out allows: counted, in FLOPs. The row is ``honest`` where the ratio (of
    processor times, where they were taken) is not far above it.
    """
    detail = {"reference_s": round(reference, 3), "product_s": round(product, 3), **detail}
    found = {"name": name, "ratio": round(reference / product, 2), "equal": equal, "detail": detail}
    limit = detail.pop("limit", None)
    if limit is not None:
        measured = detail.get("cpu_time_ratio", found["ratio"])
        found |= {"limit": round(limit, 2), "honest": bool(measured <= FAR_ABOVE * limit)}
    return found
