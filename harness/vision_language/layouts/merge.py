"""Write an LVLM with its swapped tower as a standard LLaVA folder, in the key names that every loader knows."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from huggingface_hub import save_torch_state_dict
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig

from harness import durable, permissions
from harness.abilities import Engined
from harness.errors import ModelError, UsageError
from harness.types import Spec
from harness.vision_language import fits, identity, template
from harness.vision_language.layouts import chat_template, weight_names
from harness.vision_language.layouts.folder import read_json


@dataclass(frozen=True)
class Asked:
    """How a written LVLM is asked: by anyone, in the folder's chat template; and here, as ``template.asked`` has it."""

    chat: str
    here: Mapping[str, str]


def asked_like(host: Any) -> Asked:
    """What a folder must say so that it is asked as this host is; ModelError where no chat template can."""
    return Asked(chat_template.of_host(host), host.asked)


ASKED_BY = ("template", "pad", "dtype", "attention", "inference", "device_map")
"""The options of ``llava`` that say how it is asked, and not what its weights are."""


def require_new(folder: Path) -> None:
    """UsageError where something lies in this folder already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and nothing is overwritten; name another folder")


def write(model: Any, processor: Any, asked: Asked, folder: Path) -> list[str]:
    """Writes weights, configuration, processor, tokenizer and chat template; gives the tensors' names in the files."""
    kind = model.config.vision_config.model_type
    tensors = {weight_names.on_hub(name, kind): tensor for name, tensor in model.state_dict().items()}
    if model.get_output_embeddings().weight is model.get_input_embeddings().weight:
        # Of two names for one tensor the writer would keep either, and vLLM finds a tied layer under this one alone.
        del tensors["language_model.lm_head.weight"]
    # A copy: the writer takes out of the dict what it does not write.
    save_torch_state_dict(dict(tensors), folder, max_shard_size="5GB", safe_serialization=True)
    _write_config(model, asked, folder)
    model.generation_config.save_pretrained(folder)
    _write_processor(processor, model.config, asked.chat, folder)
    permissions.as_new(folder)
    found = stored_names(folder)
    if set(found) != set(tensors):
        raise ModelError(f"{folder}: {sorted(set(tensors) ^ set(found))[0]} was not written as it is in memory")
    return found


def _write_config(model: Any, asked: Asked, folder: Path) -> None:
    told = model.config.to_dict() | {template.WRITTEN: dict(asked.here)}
    dtype = str(model.dtype).removeprefix("torch.")
    # transformers 4 and vLLM read torch_dtype, transformers 5 reads dtype.
    told |= {"architectures": ["LlavaForConditionalGeneration"], "dtype": dtype, "torch_dtype": dtype}
    told["vision_config"] |= {"model_type": model.config.vision_config.model_type}
    rope = told["text_config"].get("rope_parameters") or {}
    if "rope_theta" in rope:  # transformers 4 has these two instead
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        told["text_config"]["rope_theta"] = rope["rope_theta"]
        told["text_config"]["rope_scaling"] = None if scaling == {"rope_type": "default"} else scaling
    for part in (told, told["text_config"], told["vision_config"]):
        part.pop("_name_or_path", None)
    _write_json(folder / "config.json", told)


def _write_processor(processor: Any, config: Any, chat: str, folder: Path) -> None:
    processor = copy.copy(processor)
    processor.tokenizer = copy.copy(processor.tokenizer)
    processor.chat_template = processor.tokenizer.chat_template = chat
    processor.tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokenizer = read_json(folder / "tokenizer_config.json")
    for key in ("backend", "is_local", "local_files_only"):  # how it was loaded here
        tokenizer.pop(key, None)
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":  # what transformers 5 calls it
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    _write_json(folder / "tokenizer_config.json", tokenizer | {"processor_class": "LlavaProcessor"})
    images = processor.image_processor.to_dict()
    kind = type(processor.image_processor).__name__.removesuffix("Pil").removesuffix("Fast")
    images |= {"image_processor_type": kind, "processor_class": "LlavaProcessor"}
    _write_json(folder / "preprocessor_config.json", images)
    own = {
        "processor_class": "LlavaProcessor",
        "patch_size": config.vision_config.patch_size,
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
        "num_additional_image_tokens": fits.LEADING[config.vision_config.model_type],
        "image_token": processor.tokenizer.convert_ids_to_tokens(config.image_token_id),
    }
    # transformers 5 would nest the image processor here under a class that older versions do not have.
    _write_json(folder / "processor_config.json", own)
    _write_json(folder / "chat_template.json", {"chat_template": processor.chat_template})


def _write_json(path: Path, thing: Any) -> None:
    path.write_text(json.dumps(thing, indent=2, sort_keys=True) + "\n")


def stored_names(folder: Path) -> list[str]:
    """The names of all tensors in a folder's files."""
    found: list[str] = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found += file.keys()
    return sorted(found)


def stored_tower_digest(folder: Path) -> str:
    """The digest of the tower as it lies in a hub-layout folder's files."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors |= {n: file.get_tensor(n) for n in file.keys() if n.startswith("vision_tower.")}  # noqa: SIM118
    told = read_json(folder / "config.json")["vision_config"]
    config = AutoConfig.for_model(**told)
    return identity.computing(identity.canonical(tensors), config)


def merge(host: Any, encoder: Any, folder: Path) -> dict[str, Any]:
    """Puts the encoder's tower into the LVLM and writes the whole; what was written and its tower's digest.

    ``lvlm`` is the spec that asks the folder here. UsageError where something lies in it already.
    """
    if isinstance(host, Engined):
        raise UsageError(f"what is merged is not asked here: leave the engine out of its spec: --into '{host.own}'")
    require_new(folder)
    speaker, told = host(encoder), {}
    durable.new_folder(folder, lambda draft: told.update(written(speaker, draft)))
    return {"folder": str(folder), **told, "lvlm": spec_of(speaker.host.spec, folder)}


def written(speaker: Any, folder: Path) -> dict[str, Any]:
    """Writes an LVLM with the tower that it sees through; what was written and its tower's digest.

    The folder's chat template asks what is asked of the LVLM here.
    """
    host = speaker.host
    if getattr(host.model, "hf_quantizer", None) is not None:
        raise ModelError(f"{host.spec.text} is quantised; a folder is written from whole weights, without ?quantize=")
    asked = asked_like(host)
    speaker.look()
    found = write(host.model, host.processor, asked, folder)
    stored = stored_tower_digest(folder)
    if stored != speaker.digests()["tower"]:
        raise ModelError(f"the tower in {folder} ({stored[:12]}) is not the one in memory")
    return {"tensors": len(found), "tower": stored, "swap": speaker.describe()["tower"]}


def spec_of(spec: Spec, folder: Path) -> str:
    """The written folder as an LVLM that is asked like this one; what was laid over or swapped is in the weights."""
    kept = {name: spec.options[name] for name in ASKED_BY if name in spec.options}
    return f"llava:{folder}" + (f"?{urlencode(kept, safe='/:~')}" if kept else "")


def laid_spec(spec: Spec, folder: Path) -> str:
    """This LVLM, unquantised, with the LoRA and the projector in the folder laid over."""
    kept = {name: value for name, value in spec.options.items() if name != "quantize"}
    location = f":{spec.location}" if spec.location else ""
    return f"{spec.name}{location}?{urlencode({**kept, 'lora': folder, 'projector': folder}, safe='/:~')}"
