"""Whether attention is computed right here: each kernel of torch in each precision, under a mask such as trees need."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from harness.doctor.looked import Looked

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 5e-3}
"""The most that values of size 1 may be off: some ten steps of each precision (fp32's are taken by TF32 at worst)."""
KERNELS = {
    "math": SDPBackend.MATH, "flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}  # fmt: skip


def attention(device: str) -> Iterator[Looked]:
    """A line for each precision: how far torch's own choice and each of its kernels are off the exact result."""
    for dtype in TOLERANCE:
        off = {"torch's choice": _off(device, dtype, list(KERNELS.values()))}
        off |= {name: _off(device, dtype, [kernel]) for name, kernel in KERNELS.items()}
        yield judged(device, dtype, off)


def judged(device: str, dtype: torch.dtype, off: dict[str, float | None]) -> Looked:
    """What these differences (None: not here) mean for a run."""
    shown = ", ".join(f"{name} off by {by:.0e}" for name, by in off.items() if by is not None)
    absent = ", ".join(name for name, by in off.items() if by is None)
    wrong = [name for name, by in off.items() if by is not None and not by <= TOLERANCE[dtype]]
    chosen = "torch's choice" in wrong or off["torch's choice"] is None
    advice = f"{', '.join(wrong) or 'attention'} is wrong here: llava:…?attention=eager, or another --dtype"
    found = (shown or "none computes") + (f"; not here: {absent}" if absent else "")
    what = f"attention {device} {str(dtype).removeprefix('torch.')}"
    return Looked(what, found, advice if wrong or chosen else "", needed=chosen, listed=False)


def _off(device: str, dtype: torch.dtype, kernels: list[SDPBackend]) -> float | None:
    """The largest difference from the result in fp64, None where no such kernel takes this."""
    query, key, value, mask = (tensor.to(device) for tensor in _case())
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    exact = _exact(query.double().cpu(), key.double().cpu(), value.double().cpu(), mask.cpu())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns for each kernel that does not take this, and why
        try:
            with sdpa_kernel(kernels), torch.inference_mode():
                found = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        except RuntimeError:  # "No available kernel"
            return None
    return float((found.double().cpu() - exact).abs().max())


def _case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four heads, 40 tokens of which 32 are shared and the rest are eight branches: each sees the shared and itself."""
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 4, 40, 64, generator=draw) for _ in range(3))
    mask = torch.ones(40, 40, dtype=torch.bool).tril()
    mask[32:, 32:] = torch.eye(8, dtype=torch.bool)
    return query, key, value, mask[None, None]


def _exact(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    scores: Tensor = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    found: Tensor = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ value
    return found
