"""Settings of a model that decide its answers and are told only where they are unusual: usual models keep their ids.

Digests of weights tell shapes, and descriptions name mean, std and precision. The rest has one value in nearly every
model (pixels are divided by 255, heads are 64 or 128 wide); whatever has another one is another model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch.nn import Module

from harness import digest
from harness.vision_language import identity

# What the shapes and names of the weights tell, or what changes nothing that is computed.
_TOLD = frozenset({
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_key_value_heads", "num_channels",
    "patch_size", "image_size", "max_position_embeddings", "type_vocab_size", "projection_size", "attention_bias",
    "mlp_bias", "tie_word_embeddings", "use_cache", "pretraining_tp", "logit_scale_init_value", "head_dim",
    "num_attention_heads",
})  # fmt: skip
_WIDE = 4096
"""From this width on, language models have heads of 128, and LLaVA-1.5's an epsilon of 1e-5."""
_HEADS = {1152: 72, 1280: 80, 1408: 88, 1664: 104, 1792: 112}
"""How wide the heads are in published towers of these widths; elsewhere 64."""
_STRETCHED = ("default", "linear", "llama3")
"""Rotary positions that do not depend on how long a text may be."""
_ENDS = ("eos_token_id", "pad_token_id")

_STEPS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}
_OF_STEP = {
    "do_resize": ("size", "resample"),
    "do_center_crop": ("crop_size",),
    "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"),
}
# One code for all of these; they differ in nothing but the values of their settings.
_ALIKE = ("CLIPImageProcessor", "SiglipImageProcessor", "BitImageProcessor", "ViTImageProcessor")
# Every picture is RGB before it comes here; what is no setting of pixels.
_NO_PIXELS = frozenset({
    "do_convert_rgb", "image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "data_format",
    "input_data_format", "return_tensors", "device", "disable_grouping", "default_to_square", "transformers_version",
})  # fmt: skip


def folded(told: str, more: Mapping[str, Any]) -> str:
    """This digest, and another one where there is more that decides."""
    return digest.of_json([told, dict(more)]) if more else told


def of_config(config: Any, ends: bool = False) -> dict[str, Any]:
    """What this configuration computes otherwise than is usual for its class; also how texts end, where that is read.

    Parts with a configuration of their own are told under their names.
    """
    if config is None:
        return {}
    try:
        own, usual = _computed(config, ends), _computed(type(config)(), ends)
    except (TypeError, ValueError):  # a class that is nothing but its parts has no usual values of its own
        return {}
    if _width(config) >= _WIDE and "rms_norm_eps" in usual:
        usual["rms_norm_eps"] = 1e-5
    found = {name: value for name, value in own.items() if value != usual.get(name)}
    return found | _heads(config) | _reach(config)


def of_family(config: Any) -> dict[str, Any]:
    """The same of a whole LVLM, part by part."""
    parts = {name: of_config(getattr(config, name, None), ends=True) for name in type(config).sub_configs}
    return {name: found for name, found in {"whole": of_config(config), **parts}.items() if found}


def projector_digest(projector: Module, config: Any) -> str:
    """SHA-256 of an LVLM's projector as it lies in memory, and of its activation where that is not LLaVA's."""
    activation = config.projector_hidden_act
    return folded(identity.part_digest(projector), {} if activation == "gelu" else {"activation": activation})


def _computed(config: Any, ends: bool) -> dict[str, Any]:
    told = identity.computation(config)
    told |= {name: getattr(config, name) for name in _ENDS if ends and hasattr(config, name)}
    return {name: plain(value) for name, value in told.items() if name not in _TOLD and not hasattr(value, "to_dict")}


def _heads(config: Any) -> dict[str, Any]:
    width, heads = _width(config), getattr(config, "num_attention_heads", None)
    if not (width and isinstance(heads, int) and heads):
        return {}
    own = getattr(config, "head_dim", None) or width // heads
    usual = _HEADS.get(width, 128 if width >= _WIDE else 64)
    return {} if own == usual else {"head_dim": own}


def _width(config: Any) -> int:
    """How wide the states are; 0 where a configuration has not one width."""
    found = getattr(config, "hidden_size", 0)
    return found if isinstance(found, int) else 0


def _reach(config: Any) -> dict[str, Any]:
    """How long a text may be, where its positions hang on that."""
    rope = getattr(config, "rope_parameters", None)
    if not isinstance(rope, Mapping) or rope.get("rope_type", "default") in _STRETCHED:
        return {}
    return {"max_position_embeddings": getattr(config, "max_position_embeddings", None)}


def of_pixels(processor: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """What this image processor does otherwise than to resize, crop, divide by 255 and normalise.

    ``said`` are the values that go without saying; None for a setting of which the caller tells the value.
    """
    told = _settings(processor)
    usual = {**_STEPS, **said}
    kind = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    found = {} if kind in _ALIKE else {"kind": kind}
    return found | {
        name: value for name, value in told.items() if name not in usual or usual[name] not in (None, value)
    }


def _settings(processor: Any) -> dict[str, Any]:
    """The settings by which this processor makes pixels, without those of steps that it leaves out."""
    told = processor.to_dict()
    known = getattr(getattr(type(processor), "valid_kwargs", None), "__annotations__", told)
    kept = {name: plain(value) for name, value in told.items() if name in known and name not in _NO_PIXELS}
    for step, names in _OF_STEP.items():
        if not told.get(step):
            kept = {name: value for name, value in kept.items() if name not in names}
    # A step that is not named is not taken: None says what False says.
    kept = {name: value for name, value in kept.items() if not (value is None or value is False)}
    return kept | {step: False for step in _OF_STEP if step not in kept}


def of_pixels_of_class(processor: Any) -> dict[str, Any]:
    """What this image processor does otherwise than one of its class of which nothing is said."""
    usual = _settings(type(processor)())
    return {name: value for name, value in _settings(processor).items() if value != usual.get(name)}


SAID_OF_ENCODERS = dict.fromkeys(("size", "resample", "crop_size", "do_center_crop", "image_mean", "image_std"))
"""Settings of pixels that the description of an encoder has."""


def said_of_llava(processor: Any, side: int, pad: bool) -> dict[str, Any]:
    """Settings of pixels that go without saying for a LLaVA whose tower reads this many pixels a side."""
    said: dict[str, Any] = {
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
        "do_center_crop": True,
        "resample": 3,
        "image_mean": None,
        "image_std": None,
    }
    square = plain(processor.size)
    if pad and set(square.values()) == {side} and square.keys() <= {"shortest_edge", "height", "width"}:
        # A square that has its size: whether it is cropped then is nothing.
        said |= {"size": square, "crop_size": None, "do_center_crop": None}
    return said


def of_ends(ends: Collection[int], tokenizer: Any) -> dict[str, Any]:
    """The tokens that end an answer, where they are others than the tokenizer's own end."""
    usual = {tokenizer.eos_token_id} - {None}
    return {} if set(ends) == usual else {"ends": sorted(ends)}


def plain(value: Any) -> Any:
    """A value as JSON has it, in one form: 2.0 is 2, a tuple is a list, and what is None in a mapping is not there."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return {str(key): plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value))
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return plain(vars(value)) if hasattr(value, "__dict__") else str(value)
