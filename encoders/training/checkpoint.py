"""Everything that is needed to go on exactly, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError

from harness import claim
from harness.errors import DataError, OhdBenchError
from harness.rows import object_of
from harness.store import write_json

RECIPE = "recipe.json"
PROGRESS = "progress.json"
_LEFT = ("best-*.safetensors", ".best-*.safetensors", ".checkpoint-*", ".*.tmp")
_DAMAGED = (DataError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError,
            SafetensorError, pickle.UnpicklingError)  # fmt: skip
"""What accelerate, PyTorch and safetensors raise over a file that is not what they wrote."""


@dataclass
class Progress:
    """How far a training is: the next step, and every look at it so far."""

    step: int = 0
    looks: list[dict[str, float]] = field(default_factory=list)
    resumed: list[dict[str, Any]] = field(default_factory=list)
    """Where it went on in other circumstances, and what differed."""

    def looked(self, step: int) -> bool:
        """Whether there is a look at this step."""
        return any(look["step"] == step for look in self.looks)

    def best(self, metric: str) -> dict[str, float] | None:
        """The look with the highest value of this metric, the earliest of equals; the base's own is none of them."""
        scored = [look for look in self.looks if metric in look and look["step"] > 0]
        return max(scored, key=lambda look: look[metric], default=None)


def save(accelerator: Accelerator, folder: Path, progress: Progress, circumstances: dict[str, Any]) -> None:
    """Weights, optimizer, schedule, average, random states and progress; the older checkpoint goes.

    OhdBenchError where they cannot be written; the older checkpoint then stays.
    """
    final = folder / f"checkpoint-{progress.step:06d}"
    draft = folder / f".{final.name}"
    with writing(final):
        if accelerator.is_main_process:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(draft))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_json(draft / PROGRESS, {**asdict(progress), "circumstances": circumstances})
            _flush(draft)
            shutil.rmtree(final, ignore_errors=True)
            draft.rename(final)
            for old in set(checkpoints(folder)) - {final}:
                shutil.rmtree(old)
    accelerator.wait_for_everyone()


def restore(accelerator: Accelerator, folder: Path) -> tuple[Progress, dict[str, Any] | None]:
    """Goes on from the newest checkpoint: how far it is, and the circumstances it was made in.

    From the start, and None, where the folder has none. DataError where it is damaged.
    """
    found = checkpoints(folder)
    if not found:
        return Progress(), None
    try:
        told = object_of(found[-1] / PROGRESS)
        circumstances = told.pop("circumstances", {})
        progress = Progress(**told)
        accelerator.load_state(str(found[-1]))
    except _DAMAGED as error:
        kind = type(error).__name__
        raise DataError(f"{found[-1]} is damaged ({kind}); remove it and the training begins anew") from error
    return progress, circumstances


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a training, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d{6,}", path.name)]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def clear(folder: Path) -> None:
    """Removes what was only needed to go on, and what a kill left half written."""
    for path in [*checkpoints(folder), *(path for kind in _LEFT for path in folder.glob(kind))]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def recipe_of(out: Path) -> dict[str, Any]:
    """What ``recipe.json`` tells of the training in this folder; DataError where it is damaged."""
    return claim.noted(out / RECIPE)


def _flush(folder: Path) -> None:
    """What the files hold is on the disk when this returns, so that a rename never comes before it."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


@contextlib.contextmanager
def writing(what: Path) -> Iterator[None]:
    """Makes one line of what a full or failing disk raises, whichever library was writing."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise _unwritten(what, getattr(error, "strerror", None) or error) from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error):  # what torch.save says when a write fails
            raise
        raise _unwritten(what, "the disk took only a part of it") from error


def _unwritten(what: Path, why: object) -> OhdBenchError:
    return OhdBenchError(f"{what} cannot be written ({why}); once it can be, the same command goes on")
