"""Load what open_clip trains: a standard CLIP becomes a ``CLIPModel``, everything else stays open_clip's."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip import factory, pretrained
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from torch import Tensor
from transformers import CLIPModel

from encoders.towers import bare, convert, pixels
from encoders.towers.clip_encoder import ClipEncoder
from encoders.towers.foreign import OpenClipForeign
from encoders.towers.hub import check_activation
from encoders.towers.tokens import OpenClipWords, of_open_clip
from harness.compute.weights import hollow, read
from harness.errors import ModelError, UsageError
from harness.types import Encoder, Place, Spec
from harness.vision_language.layouts import floats

FOLDER_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_pytorch_model.safetensors")


@dataclass(frozen=True)
class Found:
    """An architecture, how its images are prepared, and where its weights lie."""

    config: dict[str, Any]
    preprocess: dict[str, Any]
    weights: Path
    tokenizer: str
    assumed: str = ""


def load(spec: Spec, place: Place) -> Encoder:
    """The encoder this spec names; ModelError where architecture and weights do not go together."""
    check_activation(spec)
    if Path(spec.location).is_file() and "weights" not in spec.options:
        return bare.load(spec, read(Path(spec.location)), place)
    found = _found(spec)
    own = "quick_gelu" if found.config.get("quick_gelu") else "gelu"
    assumed = "" if "activation" in spec.options else _assumed_activation(spec, own)
    activation = spec.options.get("activation", own)
    found.config["quick_gelu"] = activation == "quick_gelu"
    why = convert.why_not_standard(found.config)
    encoder = _foreign(spec, found, why, place) if why else _standard(spec, found, activation, place)
    encoder.origin |= {"activation_from": assumed} if assumed else {}
    return encoder


def _assumed_activation(spec: Spec, own: str) -> str:
    """Why an architecture's activation is taken for bare weights that do not say theirs; empty where none is.

    ModelError where the file has the name of published weights that were trained with the other one
    (mlfoundations/open_clip#771: QuickGELU weights load as GELU without a word).
    """
    if "weights" not in spec.options or Path(spec.location).is_dir():
        return ""
    published = _published(spec.location, Path(spec.options["weights"]).name)
    if published and own not in published:
        (trained,) = published
        raise ModelError(
            f"{spec.text}: a file of this name was trained with {trained}, {spec.location} computes {own}; "
            f"add ?activation={trained} (or ?activation={own}, if the file only shares the name)"
        )
    if published or own == "quick_gelu":  # an architecture with -quickgelu in its name was asked for as such
        return ""
    return (
        f"assumed: gelu, as open_clip's {spec.location} computes it, for the weights do not say; if they were trained "
        "with QuickGELU (OpenAI's, MetaCLIP's, DFN's), add ?activation=quick_gelu"
    )


def _published(architecture: str, file: str) -> set[str]:
    """The activation of an architecture's published weights in a file of this name; empty where it is not known."""
    plain = architecture.replace("/", "-").removesuffix("-quickgelu")
    tags = [
        (name, tag) for name in (plain, f"{plain}-quickgelu") for tag in open_clip.list_pretrained_tags_by_model(name)
    ]
    known = [pretrained.get_pretrained_cfg(name, tag) for name, tag in tags]
    found = {
        "quick_gelu" if one.get("quick_gelu") else "gelu" for one in known if Path(str(one.get("url", ""))).name == file
    }
    return found if len(found) == 1 else set()


def _found(spec: Spec) -> Found:
    location = spec.location
    if not location:
        raise UsageError("open-clip needs an architecture: open-clip:ViT-B-32?pretrained=openai")
    if Path(location).is_dir() or location.startswith(("local-dir:", "hf-hub:")):
        return _in_folder(spec, _folder(location))
    config = open_clip.get_model_config(location.replace("/", "-"))
    if config is None:
        near = difflib.get_close_matches(location, open_clip.list_models(), n=3, cutoff=0.5)
        told = f"near it are {', '.join(near)}" if near else "open_clip.list_models() names them"
        raise UsageError(f"open_clip has no architecture '{location}'; {told}")
    preprocess = asdict(PreprocessCfg())
    if "weights" in spec.options:
        known, assumed = _usual(location.replace("/", "-"))
        preprocess = merge_preprocess_dict(preprocess, known)
        return Found(config, preprocess, Path(spec.options["weights"]), location, assumed)
    return _tagged(spec, config, preprocess)


def _usual(architecture: str) -> tuple[dict[str, Any], str]:
    """How all published weights of an architecture have their images; nothing, and why, where they do not agree."""
    keys = ("mean", "std", "interpolation", "resize_mode")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    known = [pretrained.get_pretrained_cfg(architecture, tag) for tag in tags]
    told = [{key: one[key] for key in keys if key in one} for one in known]
    if told and all(one == told[0] for one in told):
        return told[0], ""
    return {}, f"the published weights of {architecture} {'differ' if told else 'are none'}, and this is OpenAI's"


def _tagged(spec: Spec, config: dict[str, Any], preprocess: dict[str, Any]) -> Found:
    location, tag = spec.location, spec.options.get("pretrained", "")
    known = pretrained.get_pretrained_cfg(location, tag) if tag else None
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(location)) or "none"
        raise UsageError(f"{spec.text}: say ?weights=FILE or ?pretrained=TAG; {location} has the tags {tags}")
    if bool(known.get("quick_gelu")) != bool(config.get("quick_gelu")) and "activation" not in spec.options:
        trained = "quick_gelu" if known.get("quick_gelu") else "gelu"
        raise ModelError(
            f"{spec.text}: the weights '{tag}' were trained with {trained}, {location} computes the other one; "
            f"add ?activation={trained} or name the architecture that has it"
        )
    try:
        weights = Path(pretrained.download_pretrained(known))
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the weights '{tag}' of {location} cannot be fetched: {reason}") from error
    return Found(config, merge_preprocess_dict(preprocess, known), weights, location)


def _folder(location: str) -> Path:
    if not location.startswith("hf-hub:"):
        return Path(location.removeprefix("local-dir:"))
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(location.removeprefix("hf-hub:")))
    except (OSError, ValueError) as error:
        raise ModelError(f"{location} cannot be fetched: {str(error).splitlines()[0]}") from error


def _in_folder(spec: Spec, folder: Path) -> Found:
    path = folder / "open_clip_config.json"
    if not path.is_file():
        other = (folder / "config.json").is_file()
        hint = f"it is transformers' layout: write clip:{folder}" if other else "open_clip's layout has one"
        raise ModelError(f"{folder} has no open_clip_config.json; {hint}")
    try:
        told = json.loads(path.read_text())
        config, preprocess = told["model_cfg"], told.get("preprocess_cfg", {})
    except (ValueError, KeyError) as error:
        raise ModelError(f"{path} is no open_clip configuration: {error!r}") from error
    weights = next((folder / name for name in FOLDER_WEIGHTS if (folder / name).is_file()), folder / FOLDER_WEIGHTS[0])
    weights = Path(spec.options.get("weights", weights))
    return Found(config, merge_preprocess_dict(asdict(PreprocessCfg()), preprocess), weights, f"local-dir:{folder}")


def _standard(spec: Spec, found: Found, activation: str, place: Place) -> ClipEncoder:
    named = bare.hub_names(read(found.weights))
    text = found.config["text_cfg"]
    end = text["eos_id"] if text.get("pool_type") == "eos" else text.get("vocab_size", bare.OPENAI_VOCABULARY) - 1
    config = convert.hub_config(found.config, activation, end)
    size = config.vision_config.image_size
    preprocess = {**found.preprocess, "size": size}
    prepared = pixels.of_open_clip(preprocess, found.assumed)
    if "text_model.final_layer_norm.weight" not in named:
        return _tower_only(spec, named, config.vision_config, prepared, place)
    model = hollow(CLIPModel, config)
    bare.fill(model, named, spec)
    words = OpenClipWords(_tokenizer(found.tokenizer), end if text.get("pool_type") == "eos" else None)
    return ClipEncoder(spec, model, words, prepared, place)


def _tower_only(
    spec: Spec, named: Mapping[str, Tensor], config: Any, prepared: pixels.HubPixels, place: Place
) -> ClipEncoder:
    from transformers import CLIPVisionModel

    tower = hollow(CLIPVisionModel, config)
    bare.fill(tower, bare.lone(named), spec)
    return ClipEncoder(spec, bare.around(tower), None, prepared, place)


def _foreign(spec: Spec, found: Found, why: str, place: Place) -> OpenClipForeign:
    # open_clip's own loader resizes positions that do not fit without a word; load_state_dict below does not.
    try:
        model = _architecture(found.config)
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{spec.text} is made of a model on the hub that cannot be fetched: {reason}") from error
    tensors = read(found.weights)
    if "positional_embedding" in tensors and not hasattr(model, "positional_embedding"):
        tensors = factory.convert_to_custom_text_state_dict(tensors)
    try:
        model.load_state_dict(_fitting(tensors, model))
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(f"{spec.text}: {found.weights} does not fit the architecture: {reason}") from error
    preprocess = {**found.preprocess, "size": model.visual.image_size}
    about = {"activation": "quick_gelu" if found.config["quick_gelu"] else "the architecture's own", **preprocess}
    about |= {"preprocessing": f"assumed: {found.assumed}"} if found.assumed else {}
    words = _tokenizer(found.tokenizer)
    told = of_open_clip(words)
    about |= {"tokenizer": told} if told else {}
    encoder = OpenClipForeign(spec.text, model, place, why, about, _own_architecture(found.config))
    encoder.pixels = preprocess
    encoder.transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
    encoder.tokenizer = words
    return encoder


def _own_architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """This configuration, where it is none that open_clip ships: of those, the weights tell which one it is."""
    plain = {key: value for key, value in config.items() if key != "quick_gelu"}  # the activation is told apart
    shipped = map(open_clip.get_model_config, open_clip.list_models())
    if any(plain == {key: value for key, value in one.items() if key != "quick_gelu"} for one in shipped):
        return {}
    return {"model_cfg": plain}


def _architecture(config: Mapping[str, Any]) -> Any:
    """open_clip's model of this configuration, its parts not fetched from anywhere."""
    told = {key: value for key, value in config.items() if key != "custom_text"}
    told["text_cfg"] = {**config["text_cfg"], "hf_model_pretrained": False}
    if "multimodal_cfg" in config:
        return factory.CoCa(**told)
    custom = config.get("custom_text") or config["text_cfg"].get("hf_model_name")
    return (factory.CustomTextCLIP if custom else factory.CLIP)(**told)


def _tokenizer(name: str) -> Any:
    """open_clip's tokenizer of an architecture; ModelError where its files are on the hub and out of reach."""
    try:
        return open_clip.get_tokenizer(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the tokenizer of {name} is on the hub and cannot be fetched: {reason}") from error


def _fitting(tensors: Mapping[str, Tensor], model: torch.nn.Module) -> dict[str, Tensor]:
    own = model.state_dict()
    floats.require("the checkpoint", {n: t for n, t in tensors.items() if n in own and own[n].is_floating_point()})
    scalars = {
        name: t.reshape(own[name].shape) for name, t in tensors.items() if name.startswith("logit_") and name in own
    }
    return {**tensors, **scalars}
