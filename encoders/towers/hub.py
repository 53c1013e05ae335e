"""Load a dual encoder that lies in transformers' layout, on the hub, in a folder or as a bare weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedConfig,
)

from encoders.towers import bare, pixels
from encoders.towers.clip_encoder import ClipEncoder
from encoders.towers.foreign import HubForeign
from encoders.towers.tokens import HubWords
from encoders.towers.vision_only import VisionTower
from harness import digest
from harness.compute import weights
from harness.errors import ModelError, UsageError
from harness.types import Encoder, Place, Spec
from harness.vision_language import tokenizing, unusual
from harness.vision_language.fits import LEADING
from harness.vision_language.layouts import floats, original
from harness.vision_language.layouts.folder import local
from harness.vision_language.layouts.weight_names import in_memory, is_computed

ACTIVATIONS = ("quick_gelu", "gelu")


def load(spec: Spec, place: Place) -> Encoder:
    """The encoder at this location; ModelError where it is none or is incomplete."""
    check_activation(spec)
    weights.quietly()
    location = spec.location
    if Path(location).is_file():
        return bare.load(spec, weights.read(Path(location)), place)
    where = {"revision": spec.options["revision"]} if "revision" in spec.options else {}
    told = _told(location, where)
    if original.is_original(told):
        return _inside(spec, location, _named_tower(location, told, where), place, where)
    config = _config(location, where)
    if config.model_type == "clip":
        encoder = _clip(spec, location, config, place, where)
        if "activation" not in spec.options and not _says_activation(told):
            encoder.origin["activation_from"] = (
                "assumed: quick_gelu, transformers' default, for config.json names none; ?activation=gelu is the other"
            )
        return encoder
    if config.model_type in LEADING:
        make = _tower_only if config.model_type == "clip_vision_model" else _vision_only
        return make(spec, location, config, place, where)
    if config.model_type in ("llava", "llava_next"):
        return _inside(spec, location, config.vision_config, place, where)
    if not (hasattr(config, "text_config") and hasattr(config, "vision_config")):
        raise ModelError(f"{location} is a '{config.model_type}', which is no dual encoder of images and texts")
    return _foreign(spec, location, config, place, where)


def check_activation(spec: Spec) -> None:
    """UsageError where ?activation= names none that CLIP was trained with."""
    if spec.options.get("activation", "gelu") not in ACTIVATIONS:
        raise UsageError(
            f"?activation={spec.options['activation']}: CLIPs were trained with {' or '.join(ACTIVATIONS)}"
        )
    if spec.options.get("text", "trie") not in ("trie", "padded"):
        raise UsageError(f"?text={spec.options['text']}: there is trie and padded")


def _told(location: str, where: dict[str, Any]) -> dict[str, Any]:
    """A model's config.json as it is; ModelError where there is none."""
    folder = Path(location)
    if not folder.is_dir() and (location.startswith((".", "/", "~")) or location.count("/") > 1):
        raise ModelError(f"no folder and no file at {location}")
    if folder.is_dir() and not (folder / "config.json").is_file():
        other = (folder / "open_clip_config.json").is_file()
        hint = f"it is open_clip's layout: write open-clip:{location}" if other else "transformers' layout has one"
        raise ModelError(f"{location} has no config.json; {hint}")
    try:
        told: dict[str, Any] = PreTrainedConfig.get_config_dict(location, **where)[0]
    except (OSError, ValueError) as error:
        raise _none(location, error) from error
    return told


def _config(location: str, where: dict[str, Any]) -> Any:
    try:
        return AutoConfig.from_pretrained(location, trust_remote_code=False, **where)
    except (OSError, ValueError) as error:
        raise _none(location, error) from error


def _says_activation(told: dict[str, Any]) -> bool:
    """Whether a CLIP's config.json names an activation for its vision tower."""
    parts = (told.get("vision_config"), told.get("vision_config_dict"))
    return any("hidden_act" in part for part in parts if part)


def _named_tower(location: str, told: dict[str, Any], where: dict[str, Any]) -> Any:
    """The configuration of the tower in a folder of LLaVA's own layout; ModelError where it only names one."""
    folder, named = local(location, **where), told.get("mm_vision_tower") or "none"
    if not weights.read_folder(folder, "vision_tower."):
        raise ModelError(f"{location} is in LLaVA's own layout and holds no tower; the one it names is clip:{named}")
    return original.vision_config(named, folder)


def _none(location: str, error: Exception) -> ModelError:
    """What to raise where a folder holds no model, or there is none and the hub has, or gives, none either."""
    sought = "" if Path(location).is_dir() else "there is no such folder here, and on the hub: "
    return ModelError(f"no model at {location}: {sought}{_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def from_pretrained(kind: Any, location: str, config: Any, where: dict[str, Any]) -> Any:
    """The whole model in fp32; ModelError where weights are missing, instead of random numbers in their place."""
    try:
        model, told = kind.from_pretrained(
            location, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True,
            trust_remote_code=False, **where,
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ModelError(f"{location} cannot be loaded: {_first_line(error)}") from error
    missing, strange = (
        sorted(n for n in told[key] if not is_computed(n)) for key in ("missing_keys", "unexpected_keys")
    )
    weights.require_shapes(location, told)
    floats.require_loaded(location, model, **where)
    if missing:
        raise ModelError(f"{location} lacks {len(missing)} weights of its architecture, '{missing[0]}' the first")
    if strange:
        raise ModelError(
            f"{location} holds {len(strange)} weights that its config.json has no place for, '{strange[0]}' the first: "
            "the configuration is of another model"
        )
    return model


def _clip(spec: Spec, location: str, config: CLIPConfig, place: Place, where: dict[str, Any]) -> ClipEncoder:
    if "activation" in spec.options:
        config.vision_config.hidden_act = config.text_config.hidden_act = spec.options["activation"]
    model = from_pretrained(CLIPModel, location, config, where)
    words = _words(location, config.text_config.max_position_embeddings, where)
    _require_known(words, config.text_config.vocab_size, location)
    return ClipEncoder(spec, model, words, pixels.of_folder(location, config.vision_config.image_size, **where), place)


def _words(location: str, length: int, where: dict[str, Any]) -> HubWords:
    try:
        words = HubWords(AutoTokenizer.from_pretrained(location, trust_remote_code=False, **where), length)
    except (OSError, ValueError) as error:
        raise ModelError(f"{location} has no tokenizer that can be loaded: {_first_line(error)}") from error
    _require_words(words, location)
    return words


def _require_known(words: HubWords, size: int, location: str) -> None:
    """ModelError where the tokenizer gives ids that the text tower has no row for."""
    greatest = max(words(["a photo of a dog"])[0])
    if greatest >= size:
        raise ModelError(
            f"{location}: its tokenizer gives the id {greatest} and its text tower knows {size}: they are of two models"
        )


def _require_words(words: HubWords, location: str) -> None:
    """ModelError where a tokenizer knows no words: transformers makes an empty one for a folder without its files."""
    if len(set(words(["a photo"])[0])) <= len(set(words([""])[0])) + 1:
        raise ModelError(
            f"{location} has no tokenizer files (tokenizer.json, or vocab.json and merges.txt): copy those of the "
            "model that it was made from"
        )


def _tower_only(
    spec: Spec, location: str, config: CLIPVisionConfig, place: Place, where: dict[str, Any]
) -> ClipEncoder:
    if "activation" in spec.options:
        config.hidden_act = spec.options["activation"]
    tower = from_pretrained(CLIPVisionModel, location, config, where)
    return ClipEncoder(spec, bare.around(tower), None, pixels.of_folder(location, config.image_size, **where), place)


def _inside(spec: Spec, location: str, config: Any, place: Place, where: dict[str, Any]) -> ClipEncoder:
    """The vision tower that a LLaVA folder carries, in the hub's layout or in LLaVA's own."""
    if "activation" in spec.options:
        raise UsageError(f"{spec.text}: the tower inside a LLaVA computes what its config.json says; no ?activation=")
    if not isinstance(config, CLIPVisionConfig):
        raise ModelError(f"{location} carries a '{config.model_type}', no CLIP ViT")
    folder = local(location, **where)
    tensors = {in_memory(n): t for n, t in weights.read_folder(folder, "vision_tower.").items()}
    tower = weights.hollow(CLIPVisionModel, config)
    own = {n.removeprefix("model.vision_tower."): t for n, t in tensors.items() if not is_computed(n)}
    bare.fill(tower, own, spec)
    return ClipEncoder(
        spec, bare.around(tower), None, pixels.of_folder(location, tower.config.image_size, **where), place
    )


def _vision_only(spec: Spec, location: str, config: Any, place: Place, where: dict[str, Any]) -> VisionTower:
    tower = from_pretrained(AutoModel, location, config, where)
    return VisionTower(spec.text, tower, pixels.of_folder(location, config.image_size, **where), place)


def _foreign(spec: Spec, location: str, config: Any, place: Place, where: dict[str, Any]) -> HubForeign:
    model = from_pretrained(AutoModel, location, config, where)
    if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
        raise ModelError(f"{location} is a '{config.model_type}', which gives no features of images and of texts")
    about = {"activation": getattr(config.vision_config, "hidden_act", "unknown")}
    computes = unusual.of_family(config)
    encoder = HubForeign(spec.text, model, place, f"transformers' {config.model_type}", about, computes)
    try:
        encoder.processor = AutoProcessor.from_pretrained(location, backend="pil", trust_remote_code=False, **where)
    except (OSError, ValueError) as error:
        raise ModelError(f"{location} has no processor that can be loaded: {_first_line(error)}") from error
    encoder.about |= pixels.HubPixels(encoder.processor.image_processor).describe()
    words = encoder.processor.tokenizer
    encoder.about["tokenizer"] = digest.of_json([tokenizing.content(words), words.padding_side, words.pad_token_id])
    return encoder
