"""The weights of the look that is best so far, kept beside the checkpoints until the training ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor


def keep(out: Path, step: int, weights: Mapping[str, Tensor]) -> None:
    """Keeps the weights of this step; those of an earlier one stay until a checkpoint knows of the new ones."""
    draft = out / f".{_name(step)}"
    save_file(dict(weights), draft)
    draft.replace(out / _name(step))


def keep_only(out: Path, step: int | None) -> None:
    """Removes the weights of every other step."""
    for path in out.glob("best-*.safetensors"):
        if step is None or path.name != _name(step):
            path.unlink()


def weights(out: Path, step: int) -> dict[str, Tensor]:
    """The kept weights of this step."""
    return load_file(out / _name(step))


def _name(step: int) -> str:
    return f"best-{step:06d}.safetensors"
