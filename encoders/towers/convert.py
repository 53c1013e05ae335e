"""A standard CLIP in open_clip's names and in transformers' names: the same tensors, carried over exactly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPConfig

TensorMap = dict[str, Tensor]

_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_PLAIN = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "logit_scale": "logit_scale",
}
_TURNED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_TOWERS = {"visual.transformer.resblocks.": "vision_model", "transformer.resblocks.": "text_model"}
_QKV = ("q_proj", "k_proj", "v_proj")


def to_hub(tensors: Mapping[str, Tensor]) -> TensorMap:
    """A standard CLIP's tensors under transformers' ``CLIPModel`` names; names it does not know stay as they are."""
    out: TensorMap = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("text.")
        if name in _PLAIN:
            out[_PLAIN[name]] = tensor.reshape(()) if name == "logit_scale" else tensor
        elif name in _TURNED:
            out[_TURNED[name]] = tensor.T.contiguous()
        elif "attn_mask" not in name:
            out |= _block_to_hub(name, tensor)
    return out


def _block_to_hub(name: str, tensor: Tensor) -> TensorMap:
    for prefix, tower in _TOWERS.items():
        if name.startswith(prefix):
            number, _, rest = name.removeprefix(prefix).partition(".")
            layer = f"{tower}.encoder.layers.{number}"
            if (found := re.fullmatch(r"attn\.in_proj_(weight|bias)", rest)) is not None:
                parts = zip(_QKV, tensor.chunk(3), strict=True)
                return {f"{layer}.self_attn.{part}.{found[1]}": piece.clone() for part, piece in parts}
            stem, _, kind = rest.rpartition(".")
            return {f"{layer}.{_BLOCK.get(stem, stem)}.{kind}": tensor}
    return {name: tensor}


def to_open_clip(tensors: Mapping[str, Tensor]) -> TensorMap:
    """A ``CLIPModel``'s tensors under open_clip's names, its q, k and v put together."""
    back = {new: old for old, new in (_PLAIN | _TURNED).items()}
    out: TensorMap = {}
    for name, tensor in tensors.items():
        if name in back:
            out[back[name]] = tensor.T.contiguous() if back[name] in _TURNED else tensor
        elif ".encoder.layers." in name and not re.search(r"\.[qkv]_proj\.", name):
            out[_block_to_open_clip(name)] = tensor
        elif ".q_proj." in name:
            joined = [tensors[name.replace("q_proj", part)] for part in _QKV]
            stem, _, kind = _block_to_open_clip(name).partition("self_attn.q_proj.")
            out[f"{stem}attn.in_proj_{kind}"] = torch.cat(joined)
    return out


def _block_to_open_clip(name: str) -> str:
    tower, _, rest = name.partition(".encoder.layers.")
    number, _, rest = rest.partition(".")
    prefix = {tower: prefix for prefix, tower in _TOWERS.items()}[tower]
    stem, _, kind = rest.rpartition(".")
    block = {new: old for old, new in _BLOCK.items()}
    return f"{prefix}{number}.{block.get(stem, stem)}.{kind}"


_ODD_VISION = (
    "timm_model_name", "ls_init_value", "attentional_pool", "no_ln_pre", "final_ln_after_pool", "act_kwargs",
    "norm_kwargs", "block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn",
    "scale_fc",
)  # fmt: skip
_ODD_TEXT = (
    "hf_model_name", "ls_init_value", "embed_cls", "no_causal_mask", "final_ln_after_pool", "proj_bias", "act_kwargs",
    "norm_kwargs", "block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn",
    "scale_fc",
)  # fmt: skip


def why_not_standard(config: Mapping[str, Any]) -> str:
    """What sets this open_clip architecture apart from OpenAI's CLIP with a ViT; empty where nothing does."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    odd = [f"vision {key} {vision[key]}" for key in _ODD_VISION if vision.get(key)]
    odd += [f"text {key} {text[key]}" for key in _ODD_TEXT if text.get(key)]
    odd += ["a caption decoder"] if "multimodal_cfg" in config else []
    odd += ["a ResNet tower"] if not isinstance(vision.get("layers", 12), int) else []
    odd += ["sine positions"] if vision.get("pos_embed_type", "learnable") != "learnable" else []
    odd += [f"{vision['pool_type']} pooling of patches"] if vision.get("pool_type", "tok") != "tok" else []
    odd += [f"{text['pool_type']} pooling of words"] if text.get("pool_type", "argmax") not in ("argmax", "eos") else []
    odd += ["a logit bias"] if config.get("init_logit_bias") is not None else []
    return ", ".join(odd)


def hub_config(config: Mapping[str, Any], activation: str, end: int) -> CLIPConfig:
    """The transformers configuration of a standard open_clip architecture."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    width, words = vision.get("width", 768), text.get("width", 512)
    shared = {"hidden_act": activation, "projection_dim": config["embed_dim"]}
    return CLIPConfig(
        projection_dim=config["embed_dim"],
        vision_config={
            "hidden_size": width,
            "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
            "num_hidden_layers": vision.get("layers", 12),
            "num_attention_heads": width // vision.get("head_width", 64),
            "image_size": vision.get("image_size", 224),
            "patch_size": vision.get("patch_size", 16),
            **shared,
        },
        text_config={
            "hidden_size": words,
            "intermediate_size": int(words * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": text.get("layers", 12),
            "num_attention_heads": text.get("heads", 8),
            "max_position_embeddings": text.get("context_length", 77),
            "vocab_size": text.get("vocab_size", 49408),
            "bos_token_id": end - 1,
            "eos_token_id": end,
            "pad_token_id": end,
            **shared,
        },
    )


def open_clip_config(config: CLIPConfig) -> dict[str, Any]:
    """The open_clip architecture that computes what this transformers configuration does."""
    vision, text = config.vision_config, config.text_config
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": vision.hidden_act == "quick_gelu",
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.num_hidden_layers,
            "width": vision.hidden_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
            "patch_size": vision.patch_size,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
            "layers": text.num_hidden_layers,
        },
    }
