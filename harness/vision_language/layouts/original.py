"""Read LLaVA's own layout (``LlavaLlamaForCausalLM``, ``mm_projector.*``, tower inside or named) without its code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AddedToken,
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from harness.compute import weights
from harness.errors import ModelError
from harness.vision_language.layouts import floats, weight_names
from harness.vision_language.layouts.folder import Loaded, first_line, read_json

# What LLaVA's published folders name as their tower; its configuration, so that no network is needed to read one.
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
          "patch_size": 14, "projection_dim": 768, "hidden_act": "quick_gelu"}  # fmt: skip
KNOWN_TOWERS = {
    "openai/clip-vit-large-patch14-336": {**_LARGE, "image_size": 336},
    "openai/clip-vit-large-patch14": {**_LARGE, "image_size": 224},
}
_ROUND = 64
TensorMap = dict[str, Tensor]


def is_original(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is of LLaVA's own layout."""
    return "mm_vision_tower" in config or "LlavaLlamaForCausalLM" in (config.get("architectures") or ())


def load(folder: Path, base: Path | None, tower: str, how: dict[str, Any]) -> Loaded:
    """The LLaVA of this folder; its language model is in ``base`` where the folder holds only what was trained."""
    told = read_json(folder / "config.json")
    _check_supported(folder, told)
    tensors = _tensors(folder, base)
    where = tower or told.get("mm_vision_tower") or ""
    vision = vision_config(where, folder)
    if not any(name.startswith("model.vision_tower.") for name in tensors):
        tensors |= _tower_weights(where, folder)
    tokenizer = _tokenizer(folder, base)
    config = configuration(told, vision, len(tokenizer), tokenizer.convert_tokens_to_ids("<image>"))
    _widen(tensors, config.text_config.vocab_size)
    expected = set(_meta(config).state_dict())
    check_names(str(folder), expected, set(tensors))
    floats.require(str(folder), tensors)
    try:
        model = LlavaForConditionalGeneration.from_pretrained(None, config=config, state_dict=tensors, **how)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{folder} cannot be loaded: {first_line(error)}") from error
    return Loaded(model, _processor(where, vision, tokenizer, config))


def _check_supported(folder: Path, told: Mapping[str, Any]) -> None:
    if told.get("mm_projector_type", "linear") != "mlp2x_gelu":
        raise ModelError(
            f"{folder} has a '{told.get('mm_projector_type', 'linear')}' projector; LLaVA-1.5's mlp2x_gelu is supported"
        )
    if told.get("mm_use_im_start_end"):
        raise ModelError(
            f"{folder} puts start and end tokens around the image, as LLaVA-1.5 does not; it is not supported"
        )
    if told.get("mm_patch_merge_type", "flat") not in ("flat", None) or told.get("image_aspect_ratio") == "anyres":
        raise ModelError(f"{folder} is a LLaVA-NeXT in its original layout; use its conversion on the hub")


def _tensors(folder: Path, base: Path | None) -> TensorMap:
    """Everything these folders hold, under the names in memory; what was trained wins over the base."""
    found = weights.read_folder(base or folder)
    if base is not None:
        for file in ("non_lora_trainables.bin", "mm_projector.bin"):
            if (folder / file).is_file():
                found |= weights.read(folder / file, wrapped=True)
    return {
        weight_names.in_memory(name): tensor for name, tensor in found.items() if not weight_names.is_computed(name)
    }


def vision_config(where: str, folder: Path | None) -> CLIPVisionConfig:
    """The configuration of the tower that a folder names."""
    if where in KNOWN_TOWERS:
        return CLIPVisionConfig(**KNOWN_TOWERS[where])
    try:
        config = AutoConfig.from_pretrained(_place(where, folder), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} names the tower '{where}', which cannot be read; say where it lies with ?tower=FOLDER"
        ) from error
    config = getattr(config, "vision_config", config)
    if not isinstance(config, CLIPVisionConfig):
        raise ModelError(f"{folder} names the tower '{where}', a '{config.model_type}'; LLaVA's is a CLIP ViT")
    return config


def _place(where: str, folder: Path | None) -> str:
    return str(folder / where) if folder and where and (folder / where).is_dir() else where


def _tower_weights(where: str, folder: Path) -> TensorMap:
    """The weights of a tower that lies outside the LLaVA's own folder."""
    from transformers import CLIPVisionModel

    try:
        tower, told = CLIPVisionModel.from_pretrained(
            _place(where, folder), dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{folder} holds no tower and names '{where}', which cannot be read; say where it lies with ?tower=FOLDER"
        ) from error
    weights.require_shapes(f"the tower '{where}'", told)
    floats.require_loaded(_place(where, folder), tower)
    if told["missing_keys"]:
        raise ModelError(f"the tower '{where}' lacks weights, '{sorted(told['missing_keys'])[0]}' the first")
    return {f"model.vision_tower.{name}": tensor for name, tensor in tower.state_dict().items()}


def _tokenizer(folder: Path, base: Path | None) -> Any:
    """The language model's tokenizer, with the two tokens that the hub's layout adds."""
    for place in filter(None, (folder, base)):
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            break
        except (OSError, ValueError) as error:
            reason = first_line(error)
    else:
        raise ModelError(f"{folder} has no tokenizer that can be loaded: {reason}")
    missing = [token for token in ("<image>", "<pad>") if token not in tokenizer.get_vocab()]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in missing], special_tokens=True)
    tokenizer.pad_token = tokenizer.pad_token or "<pad>"
    return tokenizer


def configuration(told: Mapping[str, Any], vision: CLIPVisionConfig, tokens: int, image_token: int) -> LlavaConfig:
    """transformers' configuration of what LLaVA's own one says, for a tokenizer of so many tokens."""
    text = LlamaConfig(**{key: value for key, value in told.items() if key not in ("model_type", "architectures")})
    vocabulary = max(tokens, text.vocab_size)
    text.vocab_size = -(-vocabulary // _ROUND) * _ROUND
    return LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**text.to_dict()),
        image_token_index=image_token,
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        vision_feature_layer=told.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy={"patch": "default", "cls_patch": "full"}[
            told.get("mm_vision_select_feature", "patch")
        ],
    )


def _widen(tensors: TensorMap, rows: int) -> None:
    """Gives the vocabulary's matrices the rows of the added tokens: the mean row, which is never the most likely."""
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors and tensors[name].shape[0] < rows:
            matrix = tensors[name]
            mean = matrix.float().mean(0, keepdim=True).to(matrix.dtype)
            tensors[name] = torch.cat([matrix, mean.expand(rows - matrix.shape[0], -1)])


def _meta(config: LlavaConfig) -> Any:
    with torch.device("meta"):
        return LlavaForConditionalGeneration(config)


def check_names(what: str, expected: set[str], found: set[str]) -> None:
    """ModelError where weights are missing or too many."""
    if missing := sorted(expected - found):
        raise ModelError(f"{what} lacks {len(missing)} weights of a LLaVA, '{missing[0]}' the first")
    if strange := sorted(found - expected):
        raise ModelError(f"{what} holds {len(strange)} weights that a LLaVA does not have, '{strange[0]}' the first")


def _processor(where: str, vision: CLIPVisionConfig, tokenizer: Any, config: LlavaConfig) -> LlavaProcessor:
    size = vision.image_size
    images = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    if Path(where).is_dir() and (Path(where) / "preprocessor_config.json").is_file():
        try:
            images = AutoImageProcessor.from_pretrained(where, backend="pil", trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ModelError(f"{where} has no image processor that can be loaded: {first_line(error)}") from error
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=vision.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
    )
