"""What an alignment leaves: a LLaVA that every loader knows, its projector and adapter apart, and the loss drawn."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harness import durable, permissions
from harness.vision_language import identity, unusual
from harness.vision_language.align import trained
from harness.vision_language.layouts import lora, merge

ADAPTER = "adapter"
PROJECTOR = "projector.safetensors"


def write(model: Any, processor: Any, asked: merge.Asked, folder: Path, base: str) -> dict[str, str]:
    """Writes the LVLM with what was trained; the digests of its parts come back.

    ``folder`` becomes a LLaVA in the hub's layout, a LoRA folded in. Its ``adapter`` holds what was trained apart, in
    the precision it was trained in: ``projector.safetensors``, and a LoRA in peft's layout, the projector among its
    ``modules_to_save``, to be laid over ``base`` with this tower. Of a quantised LVLM this alone is written.
    """
    apart = folder / ADAPTER
    apart.mkdir(parents=True, exist_ok=True)
    dtype = model.dtype
    projector = trained.projector_of(model)
    # As it was trained, in fp32; in the folder it is in the precision of the rest.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in projector.state_dict().items()}
    save_file(tensors, apart / PROJECTOR, metadata={"format": "pt"})
    projector.to(dtype)
    told = {"projector": unusual.projector_digest(projector, model.config)}
    whole = getattr(model, "hf_quantizer", None) is None
    if hasattr(model, "peft_config"):
        _write_adapter(model, tensors, apart, base)
        told["adapter"] = identity.values(load_file(apart / "adapter_model.safetensors"))
    if hasattr(model, "peft_config") and whole:
        model = model.unload()
        model.model.multi_modal_projector = projector
        lora.lay(model, apart)
    if whole:
        model.to(dtype)
        model.config.use_cache = True
        merge.write(model, processor, asked, folder)
        inner = model.model
        language = torch.nn.ModuleDict({"language_model": inner.language_model, "lm_head": model.lm_head})
        told["language_model"] = unusual.folded(
            identity.part_digest(language), unusual.of_config(model.config.text_config)
        )
    permissions.as_new(folder)
    return told


def _write_adapter(model: Any, projector: Mapping[str, Any], folder: Path, base: str) -> None:
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder)
    path = folder / "adapter_model.safetensors"
    name = f"base_model.model.model.{trained.PROJECTOR}"
    save_file(load_file(path) | {f"{name}.{n}": t for n, t in projector.items()}, path, metadata={"format": "pt"})
    config = json.loads((folder / "adapter_config.json").read_text())
    config["modules_to_save"] = [trained.PROJECTOR]
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card


def curve(log: Sequence[Mapping[str, float]], name: str) -> list[tuple[int, float]]:
    """Update and value of what the log calls ``name``."""
    return [(int(line["step"]), float(line[name])) for line in log if name in line]


def plot(stages: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws each stage's loss and held-out loss by update."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(stages), 3.2), layout="constrained")
    for axis, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        for key, label, style in (("loss", "training", "-"), ("held_out_loss", "held out", "o-")):
            if stage[key]:
                axis.plot(*zip(*stage[key], strict=True), style, label=label, markersize=3, linewidth=1)
        axis.set(title=stage["recipe"]["name"], xlabel="update", ylabel="loss per answer token (nats)")
        axis.legend(frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150)
    durable.output(path, drawn.getvalue())
