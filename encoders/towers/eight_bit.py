"""Pixels in eight bits until they are where the tower is, and there the processor's own numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

LEVELS = 256


class EightBit:
    """Pictures of one size as [N, 3, H, W] bytes; ``to`` gives what the processor makes of them, to the bit.

    Rescaling and normalising look at nothing but a pixel's level and its channel, so all they ever give are 3 × 256
    numbers, which the processor itself is asked for once. A quarter of the bytes is copied to a GPU.
    """

    def __init__(self, levels: Tensor, table: Tensor) -> None:
        self.levels, self.table = levels, table

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, some: slice) -> EightBit:
        return EightBit(self.levels[some], self.table)

    def to(self, device: Any, dtype: torch.dtype = torch.float32, non_blocking: bool = False) -> Tensor:
        """Pixels [N, 3, H, W] on this device, looked up there."""
        levels = self.levels.pin_memory() if non_blocking and torch.cuda.is_available() else self.levels
        moved = levels.to(device, non_blocking=non_blocking)
        first = LEVELS * torch.arange(3, dtype=torch.int32, device=device).view(1, 3, 1, 1)
        return self.table.to(device).flatten()[moved + first].to(dtype)


def table(processor: Any) -> Tensor:
    """What this processor makes of each level of each channel [3, 256]."""
    every = np.broadcast_to(np.arange(LEVELS, dtype=np.uint8), (3, 1, LEVELS)).copy()
    more: dict[str, Any] = {"do_resize": False, "do_center_crop": False, "input_data_format": "channels_first"}
    return torch.as_tensor(processor(images=[every], return_tensors="pt", **more)["pixel_values"])[0, :, 0]
