"""Linear layers in fp32 on a CPU that is not Intel's, by oneDNN instead of MKL.

MKL, torch's default, takes a slow path on other makers' CPUs: on an AMD EPYC under load oneDNN multiplied 630 tokens
1.6-2.4 times as fast, equal to rounding; what it gains on a few tokens varies. The choice hangs on the maker and on
what this torch holds, never on a clock, so that the same machine gives the same bits.
"""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# oneDNN's kernels take 9 to 15 rows longer than 16, and from 16 on their time goes by the rows (measured on an EPYC:
# 2,048 to 5,504 features took 5.7 ms for 8 rows, 10.8 for 14, 6.8 for 16 and 8.6 for 32).
SLOW_ROWS, QUICK_ROWS = 9, 16


def fast_linear(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """A context in which linear layers are computed the fast way, where this machine has one."""
    suits = device.type == "cpu" and dtype == torch.float32 and _has_slow_mkl() and has_onednn_linear()
    return OneDnnLinear() if suits else nullcontext()


def has_onednn_linear() -> bool:
    """Whether this torch has oneDNN's linear layer: an operator of its own that no release promises to keep."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]


@cache
def _has_slow_mkl() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    cpus = Path("/proc/cpuinfo")
    return cpus.is_file() and "GenuineIntel" not in cpus.read_text()


class OneDnnLinear(TorchFunctionMode):
    """Linear layers of two rows and more by oneDNN; a single row is bound by reading weights either way."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The function's result, by oneDNN where it is such a linear layer."""
        if func is torch.nn.functional.linear and not kwargs and _suits(args[0], args[1]):
            return _linear(*args)
        return func(*args, **(kwargs or {}))


def _suits(rows: Tensor, weight: Tensor) -> bool:
    return (
        rows.dtype == weight.dtype == torch.float32
        and rows.device.type == weight.device.type == "cpu"
        and rows.numel() > rows.shape[-1]
        and not (torch.is_grad_enabled() and (rows.requires_grad or weight.requires_grad))
    )


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    flat = rows.reshape(-1, rows.shape[-1])
    missing = QUICK_ROWS - len(flat) if SLOW_ROWS <= len(flat) < QUICK_ROWS else 0
    padded = torch.cat([flat, flat.new_zeros(missing, flat.shape[1])]) if missing else flat
    product = torch.ops.mkldnn._linear_pointwise(padded, weight, bias, "none", [], "")
    return product[: len(flat)].reshape(*rows.shape[:-1], len(weight))  # type: ignore[no-any-return]
