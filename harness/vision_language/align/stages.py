"""Align an LVLM with a tower: stage after stage, each going on from the folder that the one before it wrote."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from harness import claim, digest, registry, sweep
from harness.compute import devices
from harness.errors import Stopped, UsageError
from harness.types import Encoder, Place
from harness.vision_language import identity
from harness.vision_language.align import micro, output, recipes
from harness.vision_language.align.one_stage import CHECKPOINTS, OneStage
from harness.vision_language.align.recipes import Stage

RESULT = "align.json"
LOSS = "loss.png"
PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """How an eye is grown in: the stages, the rows of each, and where it is computed.

    ``data`` and ``images`` hold one path for each stage, or one for all; no ``images`` means beside the data.
    """

    stages: tuple[Stage, ...]
    data: tuple[Path, ...]
    images: tuple[Path, ...] = ()
    max_bad: float = 0.01
    allow_outside: bool = False
    place: Place = field(default_factory=Place)

    def rows_of(self, n: int) -> tuple[Path, Path | None]:
        """The data file of the nth stage, and the folder of its images."""
        return _nth(self.data, n, len(self.stages), "--data"), (
            _nth(self.images, n, len(self.stages), "--images") if self.images else None
        )

    def key(self) -> str:
        """SHA-256 of everything that decides the result but the models: stages and the bytes of the data files."""
        return digest.of_json(_told(self))


def _nth(paths: Sequence[Path], n: int, stages: int, option: str) -> Path:
    if len(paths) not in (1, stages):
        raise UsageError(f"{option}: {len(paths)} are given for {stages} stages; give one, or one for each")
    return paths[n if len(paths) > 1 else 0]


def _told(plan: Plan) -> list[dict[str, Any]]:
    found = []
    for n, stage in enumerate(plan.stages):
        path, _ = plan.rows_of(n)
        content = digest.of_file(path) if path.is_file() else digest.of_json(sorted(p.name for p in path.rglob("*")))
        found.append({"recipe": asdict(stage), "data": content, "max_bad": plan.max_bad})
    return found


def planned(lvlm: str, names: str, data: Sequence[str], settings: Sequence[str], seed: int | None = None) -> Plan:
    """The plan of stages named with commas, on files or ``micro``, with ``FIELD=VALUE`` settings."""
    stages = names.split(",")
    words = sweep.assignments(settings) | ({} if seed is None else {"seed": str(seed)})
    found = recipes.chosen(stages, words, micro.SETTINGS if registry.parse_spec(lvlm).name == "micro-llava" else None)
    named = list(data) * len(stages) if len(data) == 1 else list(data)
    if len(named) != len(stages):
        raise UsageError(f"--data: {len(data)} are given for {len(stages)} stages; give one, or one for each")
    paths = [micro.rows() if name == "micro" else Path(name) for name in named]
    return Plan(found, tuple(paths))


def summary(told: Mapping[str, Any]) -> dict[str, Any]:
    """What an alignment came to, in a few lines."""
    found: dict[str, Any] = {"spec": told["spec"]}
    for stage in told["stages"]:
        data = stage["data"]
        found[stage["recipe"]["name"]] = {
            "rows": f"{data['used']} of {data['rows']}",
            "unusable": data["unusable"],
            "updates": stage["updates"],
            **_ends([value for _, value in stage["loss"]]),
            "held_out_loss": stage["held_out_loss"][-1][1] if stage["held_out_loss"] else None,
            "projector": stage["projector"],
        }
    return found


def _ends(losses: Sequence[float]) -> dict[str, float]:
    """The mean loss of the first and of the last ten updates, of so many fewer that none is in both."""
    number = min(10, max(1, len(losses) // 2))
    return {"first_loss": sum(losses[:number]) / number, "last_loss": sum(losses[-number:]) / number}


def align(lvlm: str, encoder: str, plan: Plan, out: Path) -> Path:
    """The folder of an LVLM that was trained to read this encoder's tower; an interrupted training goes on.

    ``lvlm`` and ``encoder`` are specs. The folder is a LLaVA in the hub's layout with ``align.json`` beside; an earlier
    stage's folder lies inside it under the stage's name. Deterministic: the same models, plan and number of processes
    on a CPU give the same weights to the bit. UsageError where ``out`` holds something else, DataError where rows are
    missing or too many cannot be used, ModelError where the tower cannot be carried, DegenerateError where the loss
    is not finite.
    """
    plan = replace(plan, stages=tuple(resolved(stage, plan.place) for stage in plan.stages))
    asked = registry.make_encoder(encoder, Place(device="cpu"))
    told = {"lvlm": lvlm, "encoder": encoder, "tower": identity.tower_digest(asked.tower()), "stages": _told(plan)}
    main = os.environ.get("RANK", "0") == "0"
    with claim.alone(out) if main else contextlib.nullcontext():
        if main:
            claim.claim(out / PLAN, told)
        late = None if (out / RESULT).is_file() else _trained(lvlm, encoder, asked, plan, out)
        if main:
            if not (out / LOSS).is_file():
                output.plot(_read(out)["stages"], out / LOSS)
            shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        if late:
            raise Stopped(f"all is done, {out} is whole", late)
    return out


def _trained(lvlm: str, encoder: str, asked: Encoder, plan: Plan, out: Path) -> signal.Signals | None:
    """Trains what is left of the stages and writes the result; the signal that came when it was too late to stop."""
    done = _before_the_last(lvlm, asked, plan, out)
    last = OneStage(done[-1]["spec"] if done else lvlm, asked, plan.stages[-1], plan, out)
    done.append(last.run(len(done), out))
    if os.environ.get("RANK", "0") == "0":
        result = {"spec": done[-1]["spec"], "lvlm": lvlm, "encoder": encoder, "key": plan.key(), "stages": done}
        claim.write(out / RESULT, result)
    return last.late


def _before_the_last(lvlm: str, encoder: Encoder, plan: Plan, out: Path) -> list[dict[str, Any]]:
    """What each stage but the last came to, trained now or read where it was done before."""
    done: list[dict[str, Any]] = []
    for n, stage in enumerate(plan.stages[:-1]):
        folder = out / stage.name
        if (folder / RESULT).is_file():
            done.append(_read(folder))
        else:
            work = OneStage(lvlm, encoder, stage, plan, out)
            done.append(work.run(n, folder))
            if os.environ.get("RANK", "0") == "0":
                claim.write(folder / RESULT, done[-1])
            if work.late:
                raise Stopped(f"{stage.name} is done; the same command goes on from there", work.late)
        lvlm = done[-1]["spec"]
    return done


def _read(folder: Path) -> dict[str, Any]:
    import json

    return json.loads((folder / RESULT).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def resolved(stage: Stage, place: Place) -> Stage:
    """The stage with its precision decided by what this machine has."""
    if stage.precision != "auto":
        return stage
    gpu = devices.device(place).type == "cuda" and torch.cuda.is_bf16_supported()
    return replace(stage, precision="bf16" if gpu else "fp32")
