"""A CLIP out of weights alone: the architecture is read off the shapes, the activation must be said."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from encoders.towers import convert, pixels
from encoders.towers.clip_encoder import ClipEncoder
from encoders.towers.tokens import OpenClipWords, Words
from harness.compute.weights import hollow
from harness.errors import ModelError
from harness.types import Place, Spec
from harness.vision_language.layouts import floats

TensorMap = Mapping[str, Tensor]
OPENAI_VOCABULARY = 49408
WIDE = {1280: 16, 1408: 16, 1664: 16, 1792: 16}  # heads of ViT-H, ViT-g, ViT-bigG and ViT-e


def load(spec: Spec, tensors: TensorMap, place: Place) -> ClipEncoder:
    """The CLIP whose weights these are, in open_clip's or transformers' names."""
    named = hub_names(tensors)
    if "activation" not in spec.options:
        raise ModelError(
            f"{spec.location} is bare weights, which do not say whether they were trained with QuickGELU (OpenAI's, "
            "MetaCLIP's, DFN's) or GELU (LAION's, DataComp's); the wrong one scores lower without a word: "
            "add ?activation=quick_gelu or ?activation=gelu"
        )
    if "text_model.final_layer_norm.weight" not in named:
        tower = hollow(CLIPVisionModel, vision_config(named, spec.options["activation"]))
        fill(tower, lone(named), spec)
        return ClipEncoder(spec, around(tower), None, _pixels(tower.config.image_size), place)
    config = whole_config(named, spec.options["activation"])
    model = hollow(CLIPModel, config)
    fill(model, named, spec)
    return ClipEncoder(spec, model, _words(config), _pixels(config.vision_config.image_size), place)


def hub_names(tensors: TensorMap) -> dict[str, Tensor]:
    """The weights under ``CLIPModel`` names; a lone vision tower gets the prefix it lacks."""
    if "conv1.weight" in tensors and "class_embedding" in tensors:
        tensors = {f"visual.{name}": tensor for name, tensor in tensors.items()}
    if "embeddings.class_embedding" in tensors:
        tensors = {f"vision_model.{name}": tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in convert.to_hub(tensors).items() if "position_ids" not in name}


def lone(named: TensorMap) -> dict[str, Tensor]:
    """A vision tower's weights as ``CLIPVisionModel`` has them, without what joins it to texts."""
    joins = ("visual_projection.weight", "logit_scale")
    return {name.removeprefix("vision_model."): tensor for name, tensor in named.items() if name not in joins}


def fill(model: CLIPModel | CLIPVisionModel, named: TensorMap, spec: Spec) -> None:
    """The weights, put in one for one; ModelError that names the first that is missing, too many or misshapen."""
    own = model.state_dict()
    for name in sorted(own.keys() | named.keys()):
        if name not in named:
            raise ModelError(f"{spec.text}: the weight '{name}' is missing from the checkpoint")
        if name not in own:
            raise ModelError(f"{spec.text}: the checkpoint holds '{name}', which this architecture does not have")
        if own[name].shape != named[name].shape:
            have, want = tuple(named[name].shape), tuple(own[name].shape)
            raise ModelError(f"{spec.text}: '{name}' has the shape {have}, the architecture has {want}")
    floats.require(spec.text, named)
    model.load_state_dict({name: tensor.float() for name, tensor in named.items()})


def around(tower: CLIPVisionModel) -> CLIPModel:
    """A CLIP whose vision tower this is, with an identity projection and hardly any text tower."""
    vision = tower.config
    config = CLIPConfig(
        projection_dim=vision.hidden_size,
        vision_config=vision.to_dict() | {"projection_dim": vision.hidden_size},
        text_config={"hidden_size": 8, "num_hidden_layers": 0, "num_attention_heads": 1, "vocab_size": 2,
                     "intermediate_size": 8, "max_position_embeddings": 2, "hidden_act": vision.hidden_act,
                     "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1},
    )  # fmt: skip
    model = CLIPModel(config)
    model.vision_model = tower
    for weight in (*model.text_model.parameters(), model.text_projection.weight):
        weight.data.zero_()
    model.visual_projection.weight.data.copy_(model.visual_projection.weight.new_ones(vision.hidden_size).diag())
    return model


def vision_config(named: TensorMap, activation: str) -> CLIPVisionConfig:
    """The architecture of a ViT, read off its weights (heads of 64, but for the widths in ``WIDE``)."""
    patch = _need(named, "vision_model.embeddings.patch_embedding.weight")
    width, size = patch.shape[0], patch.shape[-1]
    grid = int((_need(named, "vision_model.embeddings.position_embedding.weight").shape[0] - 1) ** 0.5)
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=_need(named, "vision_model.encoder.layers.0.mlp.fc1.weight").shape[0],
        num_hidden_layers=layers(named, "vision_model"),
        num_attention_heads=vision_heads(width),
        image_size=grid * size,
        patch_size=size,
        hidden_act=activation,
    )


def whole_config(named: TensorMap, activation: str) -> CLIPConfig:
    """The architecture of a CLIP, read off its weights."""
    vocab, words = _need(named, "text_model.embeddings.token_embedding.weight").shape
    embed = _need(named, "text_projection.weight").shape[0]
    return CLIPConfig(
        projection_dim=embed,
        vision_config=vision_config(named, activation).to_dict() | {"projection_dim": embed},
        text_config={
            "vocab_size": vocab,
            "hidden_size": words,
            "intermediate_size": _need(named, "text_model.encoder.layers.0.mlp.fc1.weight").shape[0],
            "num_hidden_layers": layers(named, "text_model"),
            "num_attention_heads": text_heads(words),
            "max_position_embeddings": _need(named, "text_model.embeddings.position_embedding.weight").shape[0],
            "projection_dim": embed,
            "hidden_act": activation,
            "bos_token_id": vocab - 2,
            "eos_token_id": vocab - 1,
            "pad_token_id": vocab - 1,
        },
    )


def layers(named: TensorMap, tower: str) -> int:
    """How many blocks a tower has."""
    prefix = f"{tower}.encoder.layers."
    return len({name.removeprefix(prefix).partition(".")[0] for name in named if name.startswith(prefix)})


def vision_heads(width: int) -> int:
    """How many heads a published ViT of this width has."""
    return WIDE.get(width) or text_heads(width)


def text_heads(width: int) -> int:
    """How many heads a published text tower of this width has; ModelError where none is this wide."""
    if width % 64:
        raise ModelError(
            f"no published CLIP is {width} wide, so bare weights do not say how many heads they have: "
            "name the architecture, open-clip:ARCH?weights=FILE"
        )
    return width // 64


def _need(named: TensorMap, name: str) -> Tensor:
    if name not in named:
        held = ", ".join(sorted(named)[:4])
        raise ModelError(f"the checkpoint is no CLIP with a ViT: it has no '{name}' (it holds {held} …)")
    return named[name]


def _pixels(size: int) -> pixels.HubPixels:
    return pixels.HubPixels(pixels.openai(size), assumed=pixels.NO_FILE)


def _words(config: CLIPConfig) -> Words | None:
    import open_clip

    text = config.text_config
    if text.vocab_size != OPENAI_VOCABULARY:
        return None
    return OpenClipWords(open_clip.SimpleTokenizer(context_length=text.max_position_embeddings), text.eos_token_id)
