"""One stage of one alignment: the LVLM with the eye put in, the rows it reads, its training, and what it leaves."""

from __future__ import annotations

import os
import random
import signal
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness import registry
from harness.abilities import SeesPixels
from harness.compute import devices
from harness.errors import ModelError
from harness.types import Encoder, Place
from harness.vision_language import identity, preprocess, template, unusual
from harness.vision_language.align import batches, conversation, eye, output, rows, start, trained, trainer
from harness.vision_language.align.batches import Examples
from harness.vision_language.align.recipes import Stage
from harness.vision_language.host import Host
from harness.vision_language.layouts import merge

if TYPE_CHECKING:
    from harness.vision_language.align.stages import Plan

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Opened:
    """A stage before its first update: the LVLM, what it reads, the rows to train on and those held out."""

    host: Host
    base: dict[str, Any]
    asked: merge.Asked
    reader: batches.Reader
    found: rows.Rows
    learn: Examples
    held: Examples
    model: Any
    """The host's model, with what this stage trains open to change."""


class OneStage:
    """One stage of one alignment, in one of its processes."""

    def __init__(self, lvlm: str, encoder: Encoder, stage: Stage, plan: Plan, out: Path) -> None:
        self.lvlm, self.encoder, self.stage, self.plan, self.out = lvlm, encoder, stage, plan, out
        self.late: signal.Signals | None = None

    def run(self, n: int, folder: Path) -> dict[str, Any]:
        """Trains, writes the folder, and tells what was done."""
        stage, opened = self.stage, self.opened(n)
        work = self.out / CHECKPOINTS / stage.name
        grown = trainer.train(opened.model, stage, (opened.learn, opened.held), work)
        log, self.late = grown.log, grown.late
        if trainer.is_sharded(stage):
            host, _ = self._seeing()
            opened = replace(opened, host=host, model=trained.opened(host.model, stage))
            trained.restore(opened.model, work)
        host, found = opened.host, opened.found
        told = {
            "recipe": asdict(stage),
            "spec": merge.laid_spec(host.spec, folder) if stage.quantize else merge.spec_of(host.spec, folder),
            "data": {"file": found.source.path.name, "rows": found.counts.rows, "used": len(found),
                     "held_out": len(opened.held), "digest": found.digest, "unusable": found.counts.bad,
                     "first": found.counts.first},
            "image_tokens": opened.reader.image_tokens,
            "limit": opened.reader.limit,
            **opened.base,
            "updates": max(int(line["step"]) for line in log),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "loss": output.curve(log, "loss"),
            "held_out_loss": output.curve(log, "eval_loss"),
        }  # fmt: skip
        if os.environ.get("RANK", "0") == "0":
            told |= output.write(opened.model, host.processor, opened.asked, folder, self._base(host))
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        return told

    def opened(self, n: int) -> Opened:
        """Everything that the nth stage begins with; DataError where too many of its rows cannot be used."""
        stage = self.stage
        host, base = self._seeing()
        reader, asked = self._reader(host), merge.asked_like(host)
        path, images = self.plan.rows_of(n)
        found = rows.load(path, images, reader.unusable, self.plan.max_bad, self.plan.allow_outside)
        drawn = batches.held_out(len(found), stage.validation, stage.seed)
        learn, held = (Examples(found, some, reader) for some in drawn)
        return Opened(host, base, asked, reader, found, learn, held, trained.opened(host.model, stage))

    def _seeing(self) -> tuple[Host, dict[str, Any]]:
        """The LVLM as the stage begins, the encoder's eye put in; and the digests of its parts."""
        host, seed = self._host(), self.stage.seed
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        base = host.part_digests["language_model"]
        host.confirm()
        return host, {"base": base, **self._look(host)}

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
            "first_projector": unusual.projector_digest(host.projector, host.model.config),
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
