"""Tiny random models, saved in the layouts in which people have the real ones."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.tokenizer import bytes_to_unicode
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

OPEN_CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
TEXTS = ("A dog on a red couch.", "Two people riding bikes past a bus", "a dog on a red couch near a cat", "pizza")
CHAT = (
    "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def pictures(count: int = 3) -> list[Image.Image]:
    """Smooth random images of several shapes."""
    rng = np.random.default_rng(7)
    sizes = [(48, 32), (32, 32), (40, 61), (77, 50)]
    small = [Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)) for _ in range(count)]
    return [image.resize(sizes[n % len(sizes)], Image.Resampling.BICUBIC) for n, image in enumerate(small)]


def open_clip_model(seed: int = 0, **changes: object) -> open_clip.CLIP:
    """A tiny random CLIP of open_clip, every bias and norm away from its neutral value."""
    torch.manual_seed(seed)
    model = open_clip.CLIP(**{**OPEN_CLIP, **changes})
    _stir(model)
    return model.eval()


def _stir(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim <= 1:
                tensor.add_(torch.randn_like(tensor) * 0.05)


def save_pt(model: open_clip.CLIP, path: Path, prefix: str = "module.") -> Path:
    """What open_clip's training writes: epoch, wrapped weights, optimizer, EMA."""
    weights = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    stale = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    torch.save({"epoch": 3, "name": "x", "state_dict": weights, "state_dict_ema": stale, "optimizer": optimizer}, path)
    return path


def save_open_clip(model: open_clip.CLIP, folder: Path) -> Path:
    """open_clip's folder: its configuration and its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": OPEN_CLIP, "preprocess_cfg": preprocess}))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


def clip_config(
    activation: str = "quick_gelu", width: int = 64, size: int = 32, patch: int = 8, blocks: int = 3
) -> CLIPConfig:
    """The same tiny architecture in transformers' words."""
    shared = {"hidden_act": activation, "projection_dim": 32}
    return CLIPConfig(
        projection_dim=32,
        vision_config={"hidden_size": width, "intermediate_size": 256, "num_hidden_layers": blocks,
                       "num_attention_heads": 1, "image_size": size, "patch_size": patch, **shared},
        text_config={"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1,
                     "max_position_embeddings": 24, "vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513,
                     "pad_token_id": 513, **shared},
    )  # fmt: skip


def clip_model(seed: int = 0, **changes: Any) -> CLIPModel:
    """A tiny random CLIP of transformers."""
    torch.manual_seed(seed)
    model = CLIPModel(clip_config(**changes))
    _stir(model)
    return model.eval()


def save_clip(model: CLIPModel, folder: Path) -> Path:
    """transformers' folder: weights, tokenizer and image processor."""
    model.save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    image_processor(model.config.vision_config.image_size).save_pretrained(folder)
    return folder


@functools.cache
def clip_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer of single letters: the real one's rules without its 48,894 merges."""
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[], model_max_length=24)


def image_processor(size: int = 32) -> CLIPImageProcessorPil:
    """OpenAI's pixels at this size."""
    return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


def language_tokenizer(image: bool = True) -> PreTrainedTokenizerFast:
    """A small byte-pair tokenizer with Llama's space marks, in which Yes and No are words."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    specials = ["<unk>", "<s>", "</s>"]
    words = "Yes No yes no YES NO Is there a dog in this image? Describe the photo. USER: ASSISTANT: cat red"
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator([words] * 5, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    if image:
        fast.add_tokens(["<image>", "<pad>"], special_tokens=True)
        fast.pad_token = "<pad>"
    return fast


def llava_model(seed: int = 1, activation: str = "quick_gelu", tower: CLIPModel | None = None, size: int = 32):
    """A tiny random LLaVA whose tower has the tiny CLIP's architecture (or is this CLIP's)."""
    torch.manual_seed(seed)
    tokenizer = language_tokenizer()
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**clip_config(activation, size=size).vision_config.to_dict()),
        text_config=LlamaConfig(vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
                                num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
                                bos_token_id=1, eos_token_id=2),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(size // 8) ** 2,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.model.language_model.parameters():
            weight.mul_(6)  # so that answers depend on the picture
    if tower is not None:
        model.model.vision_tower.load_state_dict(tower.vision_model.state_dict())
    return model.eval()


def save_llava(model: LlavaForConditionalGeneration, folder: Path) -> Path:
    """The hub's folder as transformers writes it today."""
    model.save_pretrained(folder)
    size = model.config.vision_config.image_size
    LlavaProcessor(
        image_processor=image_processor(size), tokenizer=language_tokenizer(), patch_size=8,
        vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=CHAT,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_original(model: LlavaForConditionalGeneration, folder: Path, tower: Path, inside: bool = True) -> Path:
    """LLaVA's own folder of the same weights: mm_projector.*, no image token, the tower inside or only named."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = language_tokenizer(image=False)
    rows = len(tokenizer)
    rules = [("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
             ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."),
             ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
             ("model.language_model.", "model.")]  # fmt: skip
    out = {}
    for name, tensor in model.state_dict().items():
        if "vision_tower" in name and not inside:
            continue
        new = next((new + name.removeprefix(old) for old, new in rules if name.startswith(old)), name)
        out[new] = tensor[:rows].clone() if "embed_tokens" in name or "lm_head" in name else tensor
    half = len(out) // 2
    torch.save(dict(list(out.items())[:half]), folder / "pytorch_model-00001-of-00002.bin")
    torch.save(dict(list(out.items())[half:]), folder / "pytorch_model-00002-of-00002.bin")
    text = model.config.text_config.to_dict()
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "max_position_embeddings", "rms_norm_eps", "bos_token_id", "eos_token_id")  # fmt: skip
    config = {key: text[key] for key in keys} | {
        "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama", "vocab_size": rows,
        "mm_hidden_size": 64, "mm_projector_type": "mlp2x_gelu", "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2, "mm_vision_tower": str(tower),
        "image_aspect_ratio": "pad", "mm_use_im_start_end": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    return folder
