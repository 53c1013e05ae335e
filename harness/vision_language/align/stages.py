"""Align an LVLM with a tower: stage after stage, each going on from the folder that the one before it wrote."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import claim, digest, registry, sweep
from harness.compute import devices
from harness.errors import ModelError, Stopped, UsageError
from harness.types import Encoder, Place, SeesPixels
from harness.vision_language import identity, preprocess, template
from harness.vision_language.align import (
    batches,
    conversation,
    eye,
    micro,
    output,
    recipes,
    rows,
    start,
    trained,
    trainer,
)
from harness.vision_language.align.recipes import Stage
from harness.vision_language.host import Host
from harness.vision_language.layouts import merge

RESULT = "align.json"
PLAN = "plan.json"
CHECKPOINTS = "checkpoints"


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
            "first_loss": stage["loss"][0][1],
            "last_loss": _mean([value for _, value in stage["loss"][-10:]]),
            "held_out_loss": stage["held_out_loss"][-1][1] if stage["held_out_loss"] else None,
            "projector": stage["projector"],
        }
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def align(lvlm: str, encoder: str, plan: Plan, out: Path) -> Path:
    """The folder of an LVLM that was trained to read this encoder's tower; an interrupted training goes on.

    ``lvlm`` and ``encoder`` are specs. The folder is a LLaVA in the hub's layout with ``align.json`` beside; an earlier
    stage's folder lies inside it under the stage's name. Deterministic: the same models, plan and number of processes
    on a CPU give the same weights to the bit. UsageError where ``out`` holds something else, DataError where rows are
    missing or too many cannot be used, ModelError where the tower cannot be carried, DegenerateError where the loss
    is not finite.
    """
    plan = replace(plan, stages=tuple(_resolved(stage, plan.place) for stage in plan.stages))
    asked = registry.make_encoder(encoder, Place(device="cpu"))
    told = {"lvlm": lvlm, "encoder": encoder, "tower": identity.tower_digest(asked.tower()), "stages": _told(plan)}
    main = os.environ.get("RANK", "0") == "0"
    with claim.alone(out) if main else contextlib.nullcontext():
        if main:
            claim.claim(out / PLAN, told)
        if (out / RESULT).is_file():
            return out
        done = _before_the_last(lvlm, asked, plan, out)
        last = _Stage(done[-1]["spec"] if done else lvlm, asked, plan.stages[-1], plan, out)
        done.append(last.run(len(done), out))
        if main:
            result = {"spec": done[-1]["spec"], "lvlm": lvlm, "encoder": encoder, "key": plan.key(), "stages": done}
            claim.write(out / RESULT, result)
            output.plot(done, out / "loss.png")
            shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        if last.late:
            raise Stopped(f"all is done, {out} is whole", last.late)
    return out


def _before_the_last(lvlm: str, encoder: Encoder, plan: Plan, out: Path) -> list[dict[str, Any]]:
    """What each stage but the last came to, trained now or read where it was done before."""
    done: list[dict[str, Any]] = []
    for n, stage in enumerate(plan.stages[:-1]):
        folder = out / stage.name
        if (folder / RESULT).is_file():
            done.append(_read(folder))
        else:
            work = _Stage(lvlm, encoder, stage, plan, out)
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


def _resolved(stage: Stage, place: Place) -> Stage:
    """The stage with its precision decided by what this machine has."""
    if stage.precision != "auto":
        return stage
    gpu = devices.device(place).type == "cuda" and torch.cuda.is_bf16_supported()
    return replace(stage, precision="bf16" if gpu else "fp32")


class _Stage:
    """One stage of one alignment, in one of its processes."""

    def __init__(self, lvlm: str, encoder: Encoder, stage: Stage, plan: Plan, out: Path) -> None:
        self.lvlm, self.encoder, self.stage, self.plan, self.out = lvlm, encoder, stage, plan, out
        self.late: signal.Signals | None = None

    def run(self, n: int, folder: Path) -> dict[str, Any]:
        """Trains, writes the folder, and tells what was done."""
        stage = self.stage
        host, base = self._seeing()
        reader, asked = self._reader(host), merge.asked_like(host)
        path, images = self.plan.rows_of(n)
        found = rows.load(path, images, reader.unusable, self.plan.max_bad, self.plan.allow_outside)
        learn, held = batches.held_out(len(found), stage.validation, stage.seed)
        examples = batches.Examples(found, learn, reader), batches.Examples(found, held, reader)
        model = trained.opened(host.model, stage)
        work = self.out / CHECKPOINTS / stage.name
        grown = trainer.train(model, stage, examples, work)
        log, self.late = grown.log, grown.late
        if trainer.is_sharded(stage):
            host, _ = self._seeing()
            model = trained.opened(host.model, stage)
            trained.restore(model, work)
        told = {
            "recipe": asdict(stage),
            "spec": merge.laid_spec(host.spec, folder) if stage.quantize else merge.spec_of(host.spec, folder),
            "data": {"file": path.name, "rows": found.counts.rows, "used": len(found), "held_out": len(held),
                     "digest": found.digest, "unusable": found.counts.bad, "first": found.counts.first},
            "image_tokens": reader.image_tokens,
            "limit": reader.limit,
            **base,
            "updates": max(int(line["step"]) for line in log),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "loss": output.curve(log, "loss"),
            "held_out_loss": output.curve(log, "eval_loss"),
        }  # fmt: skip
        if os.environ.get("RANK", "0") == "0":
            told |= output.write(model, host.processor, asked, folder, self._base(host))
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        return told

    def _seeing(self) -> tuple[Host, dict[str, Any]]:
        """The LVLM as the stage begins, the encoder's eye put in; and the digests of its parts."""
        host, seed = self._host(), self.stage.seed
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        return host, {"base": host.part_digests["language_model"], **self._look(host)}

    def _host(self) -> Host:
        """The LVLM, loaded; around a bare language model, one whose eye is still to come."""
        spec = registry.parse_spec(self.lvlm)
        decided: dict[str, str] = {}
        if self.stage.quantize:
            decided["quantize"] = self.stage.quantize
        if self.stage.template in template.NAMES:
            decided["template"] = self.stage.template  # whoever reads the folder asks in the words it was trained in
        spec = replace(spec, options={**spec.options, **decided})
        with tempfile.TemporaryDirectory() as folder:
            spec = start.around(spec, Path(folder)) if start.is_bare(spec) else spec
            host = registry.find(registry.lvlms, spec.name, "LVLM")(spec, self._place())
        if not isinstance(host, Host):
            raise ModelError(f"{self.lvlm} cannot be trained; a LLaVA can: llava, llava:FOLDER, micro-llava")
        return host

    def _base(self, host: Host) -> str:
        """What an adapter of this stage is to be laid over."""
        return registry.parse_spec(self.lvlm).location or host.spec.location or self.lvlm

    def _place(self) -> Place:
        device = self.plan.place.device
        if "LOCAL_RANK" in os.environ and devices.device(self.plan.place).type == "cuda":
            device = f"cuda:{os.environ['LOCAL_RANK']}"
        return Place(device=device, dtype=self.stage.precision)

    def _look(self, host: Host) -> dict[str, Any]:
        """Puts the encoder's eye into the host; the tower's digest, and whether its projector is new."""
        stage, tower = self.stage, self.encoder.tower()
        images = host.processor.image_processor
        if isinstance(self.encoder, SeesPixels) and not eye.alike(images, self.encoder.image_processor()):
            images = self.encoder.image_processor()
        found = eye.of(
            self.encoder.spec, tower, images, stage.vision_feature_layer, stage.vision_feature_select_strategy
        )
        wrong = eye.fitted(found, host.model, host.processor)
        if stage.projector == "own" and wrong:
            raise ModelError(
                f"the LVLM's own projector does not read {self.encoder.spec}: {'; '.join(wrong)}. "
                f"--stage pretrain,{stage.name} trains one for it first; --set {stage.name}.projector=new starts anew"
            )
        eye.put(host.model, host.processor, found, stage.projector == "new")
        return {
            "tower": identity.tower_digest(host.model.model.vision_tower),
            "tower_asked": identity.tower_digest(tower),
            "first_projector": identity.part_digest(host.projector),
        }

    def _reader(self, host: Host) -> batches.Reader:
        stage, config = self.stage, host.model.config
        words = host.asked["template"] if stage.template == "own" else stage.template
        pad = host.asked["pad"] if stage.pad == "own" else stage.pad
        image_token = host.processor.tokenizer.convert_ids_to_tokens(config.image_token_id)
        longest = getattr(config.text_config, "max_position_embeddings", stage.max_length)
        return batches.Reader(
            conversation.writing(words, host.processor, image_token),
            preprocess.pipeline(host.processor.image_processor, pad),
            config.image_token_id,
            config.image_seq_length,
            min(stage.max_length, longest),
        )
