"""Linear layers in fp32 on a CPU: by oneDNN where MKL, torch's default, is slow.

MKL is slow for a few rows through a wide layer on every maker's CPU, and for any number of rows on one that is not
Intel's: on an AMD EPYC under load oneDNN multiplied 630 tokens 1.6-2.4 times as fast, equal to rounding. The choice
hangs on the maker, on what this torch holds and on the shapes, never on a clock, so that the same machine gives the
same bits.
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

# Of a few rows through a wide layer the weights are taken as the rows: 2,048 to 5,504 features took 3.1 ms for 14 rows
# so, 7.7 by MKL and 8.2 by oneDNN the usual way; 7.2, 10.4 and 8.8 for 48 (one thread of a Xeon with AVX-512). Up to
# four rows MKL is as fast, from some 64 on all are, and so they are for narrow layers.
FEW_ROWS = range(5, 65)
WIDE = 2**20
"""Weights of a layer that is wide in this sense."""


def fast_linear(device: torch.device, dtype: torch.dtype, width: int = 4096) -> AbstractContextManager[Any]:
    """A context in which linear layers are computed the fast way, where this machine has one.

    ``width`` is the model's: a context costs each operator some microseconds, which narrow models would not win back.
    """
    suits = device.type == "cpu" and dtype == torch.float32 and has_onednn_linear()
    every, widest = _has_slow_mkl(), 4 * width * width
    return OneDnnLinear(every) if suits and (every or widest >= WIDE) else nullcontext()


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
    """Linear layers of a few rows by oneDNN, or of ``every`` number from two on.

    A single row is bound by reading weights either way.
    """

    def __init__(self, every: bool = True) -> None:
        super().__init__()
        self.every = every

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The function's result, by oneDNN where it is such a linear layer."""
        if func is torch.nn.functional.linear and not kwargs and _suits(args[0], args[1]):
            if args[0].numel() // args[0].shape[-1] in FEW_ROWS and args[1].numel() >= WIDE:
                return _of_few_rows(*args)
            if self.every:
                return _onednn(*args)
        return func(*args, **(kwargs or {}))


def _suits(rows: Tensor, weight: Tensor) -> bool:
    return (
        rows.dtype == weight.dtype == torch.float32
        and rows.device.type == weight.device.type == "cpu"
        and rows.numel() > rows.shape[-1]
        and not (torch.is_grad_enabled() and (rows.requires_grad or weight.requires_grad))
    )


def _of_few_rows(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product = _onednn(weight, rows.reshape(-1, rows.shape[-1])).T.contiguous()
    product = product if bias is None else product.add_(bias)
    return product.reshape(*rows.shape[:-1], len(weight))


def _onednn(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")  # type: ignore[no-any-return]
