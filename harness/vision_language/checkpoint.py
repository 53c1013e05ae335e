"""Load a LLaVA from whatever layout it lies in, as transformers' ``LlavaForConditionalGeneration``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoProcessor, LlavaForConditionalGeneration

from harness import devices, registry
from harness.errors import ModelError, UsageError
from harness.lvlms.llava import DEFAULT
from harness.types import Place, Spec
from harness.vision_language import overlay


@dataclass
class Loaded:
    """A LLaVA in memory, its processor, and what of its making belongs to its identity."""

    model: Any
    processor: Any
    notes: dict[str, Any] = field(default_factory=dict)


def load(spec: Spec, place: Place) -> Loaded:
    """The LVLM this spec names, overlays applied; ModelError where something is missing or does not belong."""
    folder = local(spec.location or DEFAULT)
    how = loading(spec, place, folder)
    loaded = hub_layout(folder, how)
    if "projector" in spec.options:
        overlay.lay_projector(loaded.model, spec.options["projector"])
    if "device_map" not in how and "quantization_config" not in how:
        loaded.model.to(devices.device(place))
    loaded.model.eval()
    return loaded


def local(location: str) -> Path:
    """The folder of this location, fetched from the hub (or its cache) where it is no folder."""
    if Path(location).is_dir():
        return Path(location)
    if location.startswith((".", "/", "~")):
        raise ModelError(f"no folder at {location}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(location, ignore_patterns=["*.gguf", "*.h5", "*.msgpack", "original/*"]))
    except (OSError, ValueError) as error:
        raise ModelError(f"{location} is no folder and cannot be fetched: {first_line(error)}") from error


def loading(spec: Spec, place: Place, folder: Path) -> dict[str, Any]:
    """How to load: dtype, attention, devices, quantisation."""
    name = spec.options.get("dtype", place.dtype)
    stored = torch.float32 if devices.device(place).type == "cpu" else stored_dtype(folder)
    how: dict[str, Any] = {"dtype": devices.dtype(name, stored)}
    how["attn_implementation"] = spec.options.get("attention", "sdpa")
    if "device_map" in spec.options:
        how["device_map"] = spec.options["device_map"]
    if "quantize" in spec.options:
        how["quantization_config"] = quantised(spec.options["quantize"], how["dtype"])
    return how


def stored_dtype(folder: Path) -> torch.dtype:
    """The dtype a folder says it is stored in; half precision where it does not say."""
    config = read_json(folder / "config.json")
    name = config.get("dtype") or config.get("torch_dtype") or "float16"
    return getattr(torch, name)  # type: ignore[no-any-return]


def quantised(bits: str, dtype: torch.dtype) -> Any:
    """What loads the language model in 8 or 4 bits; the tower and the projector stay as they are."""
    from importlib.util import find_spec

    if bits not in ("8bit", "4bit"):
        raise UsageError(f"?quantize={bits}: there is 8bit and 4bit")
    if find_spec("bitsandbytes") is None:
        raise registry.needs("quantize", "bitsandbytes")
    from transformers import BitsAndBytesConfig

    kept = ["vision_tower", "multi_modal_projector", "lm_head"]
    return BitsAndBytesConfig(
        load_in_8bit=bits == "8bit",
        load_in_4bit=bits == "4bit",
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )


def hub_layout(folder: Path, how: dict[str, Any]) -> Loaded:
    """A LLaVA in transformers' layout, in its old key names or its new ones."""
    try:
        model, told = LlavaForConditionalGeneration.from_pretrained(folder, output_loading_info=True, **how)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder} cannot be loaded: {first_line(error)}") from error
    wrong = sorted(n for n in told["missing_keys"] if "position_ids" not in n) or sorted(
        map(str, told["mismatched_keys"])
    )
    if wrong:
        raise ModelError(f"{folder} lacks {len(wrong)} weights of a LLaVA, '{wrong[0]}' the first")
    strange = sorted(name for name in told["unexpected_keys"] if "position_ids" not in name)
    if strange:
        raise ModelError(f"{folder} holds {len(strange)} weights that a LLaVA does not have, '{strange[0]}' the first")
    return Loaded(model, processor_of(folder))


def processor_of(folder: Path) -> Any:
    """Tokenizer, image processor (computing with PIL) and chat template of a folder."""
    try:
        return AutoProcessor.from_pretrained(folder, backend="pil")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} has no processor that can be loaded: {first_line(error)}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A folder's JSON file; ModelError where it is missing or broken."""
    try:
        return json.loads(path.read_text())  # type: ignore[no-any-return]
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} has no {path.name}") from error
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
