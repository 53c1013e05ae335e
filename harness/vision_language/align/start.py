"""A LLaVA around a bare language model, such as the Vicuna that LLaVA-1.5's first stage starts from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from harness.types import Spec
from harness.vision_language.layouts import original
from harness.vision_language.layouts.folder import local, read_json

WIDTH = 8
"""Of the tower and the projector that stand in until the eye is put in: as small as they can be."""


def is_bare(spec: Spec) -> bool:
    """Whether a ``llava:`` spec names a Llama without an eye."""
    if spec.name != "llava" or not spec.location:
        return False
    folder = local(spec.location)
    if not (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        return False
    config = read_json(folder / "config.json")
    return config.get("model_type") == "llama" and not original.is_original(config)


def around(spec: Spec, folder: Path) -> Spec:
    """The spec of a LLaVA in LLaVA's own layout, written to ``folder``, whose language model is this spec's."""
    base = local(spec.location)
    told = read_json(base / "config.json")
    eye = CLIPVisionConfig(hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=2, num_attention_heads=1,
                           image_size=2 * WIDTH, patch_size=WIDTH, projection_dim=WIDTH)  # fmt: skip
    CLIPVisionModel(eye).save_pretrained(folder / "tower")
    wide = told["hidden_size"]
    shapes = {"0.weight": (wide, WIDTH), "0.bias": (wide,), "2.weight": (wide, wide), "2.bias": (wide,)}
    projector = {f"model.mm_projector.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    torch.save(projector, folder / "mm_projector.bin")
    told |= {"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama", "mm_hidden_size": WIDTH,
             "mm_projector_type": "mlp2x_gelu", "mm_vision_tower": "tower", "mm_vision_select_layer": -2}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(told))
    return replace(spec, location=str(folder), options={**spec.options, "base": str(base)})
