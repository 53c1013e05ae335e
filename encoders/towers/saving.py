"""Write an encoder in transformers' or in open_clip's layout, and measure that it is still the same encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from encoders.towers import convert, pixels
from encoders.towers.tokens import OpenClipWords
from harness import permissions
from harness.errors import ModelError, UsageError

if TYPE_CHECKING:
    from encoders.towers.clip_encoder import ClipEncoder

LAYOUTS = ("hf", "open-clip")
OPEN_CLIP_EPSILON = 1e-5  # torch's default, which open_clip's LayerNorm keeps


def save(encoder: ClipEncoder, folder: Path, to: str) -> None:
    """Writes the encoder's folder in this layout; ModelError where it has only a vision tower."""
    if to not in LAYOUTS:
        raise UsageError(f"no layout is called '{to}'; there is {' and '.join(LAYOUTS)}")
    folder.mkdir(parents=True, exist_ok=True)
    if to == "hf":
        _hub(encoder, folder)
    else:
        _open_clip(encoder, folder)
    permissions.as_new(folder)


def _hub(encoder: ClipEncoder, folder: Path) -> None:
    encoder.pixels.save(folder)
    if encoder.words is None:
        encoder.tower().save_pretrained(folder)
        return
    encoder.model.save_pretrained(folder)
    encoder.words.save(folder)


def _open_clip(encoder: ClipEncoder, folder: Path) -> None:
    if encoder.words is None:
        raise ModelError(f"{encoder.spec} has no text tower; open_clip's layout needs both")
    config, text = encoder.model.config, encoder.model.config.text_config
    model = convert.open_clip_config(config)
    if text.hidden_act != config.vision_config.hidden_act:
        raise ModelError(f"{encoder.spec}: its towers differ in activation, which open_clip's layout cannot say")
    if {text.layer_norm_eps, config.vision_config.layer_norm_eps} != {OPEN_CLIP_EPSILON}:
        raise ModelError(f"{encoder.spec}: its norms add another epsilon than open_clip's, which its layout cannot say")
    if not _openai_words(encoder):
        end = encoder.words([""])[0][-1]
        # open_clip reads a tokenizer from the model's own folder where the configuration names any.
        model["text_cfg"] |= {"hf_tokenizer_name": "its own", "pool_type": "eos", "eos_id": end}
        encoder.words.save(folder)
    told = {"model_cfg": model, "preprocess_cfg": pixels.open_clip_preprocess(encoder.pixels)}
    (folder / "open_clip_config.json").write_text(json.dumps(told, indent=2) + "\n")
    tensors = {n: t.contiguous() for n, t in convert.to_open_clip(encoder.model.state_dict()).items()}
    save_file(tensors, folder / "open_clip_model.safetensors", metadata={"format": "pt"})


def _openai_words(encoder: ClipEncoder) -> bool:
    """Whether the tokenizer gives the ids of OpenAI's, which open_clip has without any file."""
    import open_clip

    length = encoder.model.config.text_config.max_position_embeddings
    openai = OpenClipWords(open_clip.SimpleTokenizer(context_length=length), None)
    probe = ["A photo of two dogs, 12 umbrellas & the café's sign!", "hello " * 2 * length]
    assert encoder.words is not None
    return encoder.words(probe) == openai(probe)
