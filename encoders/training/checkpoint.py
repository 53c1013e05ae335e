"""Everything that is needed to go on exactly, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from harness.errors import UsageError

LOCK = ".lock"


@dataclass
class Progress:
    """How far a training is: the next step, and every look at it so far."""

    step: int = 0
    looks: list[dict[str, float]] = field(default_factory=list)

    def best(self, metric: str) -> dict[str, float] | None:
        """The look with the highest value of this metric, the earliest of equals; the base's own is none of them."""
        scored = [look for look in self.looks if metric in look and look["step"] > 0]
        return max(scored, key=lambda look: look[metric], default=None)


def save(accelerator: Accelerator, folder: Path, progress: Progress) -> None:
    """Weights, optimizer, schedule, average, random states and progress; the older checkpoint goes."""
    final = folder / f"checkpoint-{progress.step:06d}"
    draft = folder / f".{final.name}"
    if accelerator.is_main_process:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(draft))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (draft / "progress.json").write_text(json.dumps({"step": progress.step, "looks": progress.looks}))
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
        for old in set(checkpoints(folder)) - {final}:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def restore(accelerator: Accelerator, folder: Path) -> Progress:
    """Goes on from the newest checkpoint of the folder; from the start where it has none."""
    found = checkpoints(folder)
    if not found:
        return Progress()
    accelerator.load_state(str(found[-1]))
    return Progress(**json.loads((found[-1] / "progress.json").read_text()))


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a training, oldest first."""
    return sorted(folder.glob("checkpoint-*"))


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Holds the folder while it is trained in; UsageError where another command holds it. A killed one lets go."""
    import fcntl

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror}") from error
    with (out / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"{out} is being trained in by another command") from error
        yield


def claim(out: Path, identity: dict[str, Any]) -> None:
    """Notes in the folder what is trained there; UsageError where it is another training's."""
    path = out / "recipe.json"
    told = json.loads(json.dumps(identity))
    if not path.is_file():
        if any(path.name != LOCK for path in out.iterdir()):
            raise UsageError(f"{out} holds something else than a training; give another --out")
        write(path, told)
        return
    there = json.loads(path.read_text())
    for part, value in told.items():
        if there.get(part) != value:
            raise UsageError(f"{out} holds a training with another {_where(part, there.get(part), value)}")


def _where(part: str, there: Any, asked: Any) -> str:
    if isinstance(there, dict) and isinstance(asked, dict):
        key = next(key for key in {**there, **asked} if there.get(key) != asked.get(key))
        return f"{part}: {key} is {there.get(key)!r} there, {asked.get(key)!r} here; give another --out"
    return f"{part}; give another --out"


def write(path: Path, thing: Any) -> None:
    """The object as a JSON file, whole or not at all."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(thing, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
