"""Load a LLaVA from whatever layout it lies in, as transformers' ``LlavaForConditionalGeneration``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoProcessor, LlavaForConditionalGeneration

from harness import extras
from harness.compute import devices, weights
from harness.errors import ModelError, UsageError
from harness.types import Place, Spec
from harness.vision_language.layouts import floats, lora, original, overlay
from harness.vision_language.layouts.folder import Loaded, first_line, local, read_json, require_in_memory

# transformers holds these against the beginning of a module's whole name (or against its end).
NOT_QUANTISED = ("model.vision_tower", "model.multi_modal_projector", "lm_head")


def load(spec: Spec, place: Place) -> Loaded:
    """The LVLM this spec names, overlays applied; ModelError where something is missing or does not belong."""
    weights.quietly()
    folder = local(spec.location)
    base = local(spec.options["base"]) if "base" in spec.options else None
    _refuse_quantised_lora(spec, folder)
    how = loading(spec, place, folder)
    loaded = of_folder(folder, base, spec.options.get("tower", ""), how)
    require_in_memory(loaded.model, spec.text)
    for kind, where in overlays(spec):
        if kind == "lora":
            lora.lay(loaded.model, local(where))
        else:
            overlay.lay_projector(loaded.model, where)
    if "device_map" not in how and "quantization_config" not in how:
        loaded.model.to(devices.device(place))
    loaded.model.eval()
    return loaded


def _refuse_quantised_lora(spec: Spec, folder: Path) -> None:
    adapted = (folder / "adapter_config.json").is_file() or any(kind == "lora" for kind, _ in overlays(spec))
    if adapted and "quantize" in spec.options:
        raise ModelError(f"{spec.text}: {lora.FOLD_FIRST}")


def overlays(spec: Spec) -> list[tuple[str, str]]:
    """What is laid over the LVLM, in order: ``?lora=``, ``?projector=``, and what ``?align=`` names."""
    found = [(kind, spec.options[kind]) for kind in ("lora", "projector") if kind in spec.options]
    how, _, where = spec.options.get("align", "none").partition(":")
    if how in ("lora", "projector") and where:
        return [*found, (how, where)]
    if how not in ("none", "stats", "ridge"):
        raise UsageError(f"?align={spec.options['align']}: there is none, stats, ridge, projector:DIR and lora:DIR")
    return found


def of_folder(folder: Path, base: Path | None, tower: str, how: dict[str, Any]) -> Loaded:
    """The LLaVA in this folder, by the layout the folder has."""
    if (folder / "adapter_config.json").is_file():
        return _adapted(folder, base, tower, how)
    config = read_json(folder / "config.json")
    if original.is_original(config):
        return original.load(folder, base, tower, how)
    if config.get("model_type") == "llava":
        return hub_layout(folder, how)
    raise ModelError(f"{folder} is a '{config.get('model_type')}', no LLaVA")


def _adapted(folder: Path, base: Path | None, tower: str, how: dict[str, Any]) -> Loaded:
    """A LoRA folder laid over its base: a LLaVA, or the bare language model under LLaVA's own LoRA layout."""
    named = base or read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not named:
        raise ModelError(f"{folder} is a LoRA that names no base; say which with ?base=FOLDER")
    under = local(str(named))
    config = read_json(under / "config.json")
    if original.is_original(config) or config.get("model_type") == "llava":
        loaded = of_folder(under, None, tower, how)
    elif (folder / "config.json").is_file():
        loaded = original.load(folder, under, tower, how)
    else:
        raise ModelError(f"{folder} is a LoRA over '{named}', which is a '{config.get('model_type')}' and no LLaVA")
    lora.lay(loaded.model, folder)
    return loaded


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
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    name = config.get("dtype") or config.get("torch_dtype") or "float16"
    return getattr(torch, name)  # type: ignore[no-any-return]


def quantised(bits: str, dtype: torch.dtype) -> Any:
    """What loads the language model in 8 or 4 bits; the tower and the projector stay as they are."""
    if bits not in ("8bit", "4bit"):
        raise UsageError(f"?quantize={bits}: there is 8bit and 4bit")
    if not extras.there("bitsandbytes"):
        raise extras.needs("bitsandbytes")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_8bit=bits == "8bit",
        load_in_4bit=bits == "4bit",
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(NOT_QUANTISED),
    )


def hub_layout(folder: Path, how: dict[str, Any]) -> Loaded:
    """A LLaVA in transformers' layout, in its old key names or its new ones."""
    try:
        model, told = LlavaForConditionalGeneration.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, **how
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder} cannot be loaded: {first_line(error)}") from error
    missing = {name for name in told["missing_keys"] if "position_ids" not in name}
    strange = {name for name in told["unexpected_keys"] if "position_ids" not in name}
    weights.require_shapes(str(folder), told)
    floats.require_loaded(str(folder), model)
    original.check_names(str(folder), missing, set())
    original.check_names(str(folder), set(), strange)
    return Loaded(model, processor_of(folder))


def processor_of(folder: Path) -> Any:
    """Tokenizer, image processor (computing with PIL) and chat template of a folder."""
    try:
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        # not by the first call: it would hand the word on to video processors, which have no such choice
        processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
        return processor
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} has no processor that can be loaded: {first_line(error)}") from error
