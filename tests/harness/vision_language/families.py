"""Tiny random LVLMs of other families, saved as the hub has them: parts in files of their own, old key names."""

from __future__ import annotations

from pathlib import Path

import torch
from open_clip.tokenizer import bytes_to_unicode
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertTokenizer,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    GenerationConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5Config,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

QWEN_MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
              "<|video_pad|>"]  # fmt: skip
QWEN_CHAT = (
    "{% for m in messages %}{% if loop.first %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_qwen(folder: Path, **settings: object) -> Path:
    """A tiny Qwen2.5-VL; ``settings`` go into its generation_config.json beside those of the hub's."""
    torch.manual_seed(0)
    letters = list(bytes_to_unicode().values())
    merges = [("Y", "e"), ("Ye", "s"), ("N", "o"), ("y", "e"), ("ye", "s"), ("n", "o")]
    vocabulary = {word: n for n, word in enumerate([*letters, *(a + b for a, b in merges)])}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_tokens(QWEN_MARKS, special_tokens=True)
    tokenizer.chat_template = QWEN_CHAT
    end, start, stop, look, seen, image, video = tokenizer.convert_tokens_to_ids(QWEN_MARKS)
    del start
    config = Qwen2_5_VLConfig(
        text_config={"vocab_size": len(tokenizer), "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
                     "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
                     "bos_token_id": end, "eos_token_id": stop,
                     "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 2, 2]}},
        vision_config={"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 48,
                       "fullatt_block_indexes": [1]},
        image_token_id=image, video_token_id=video, vision_start_token_id=look, vision_end_token_id=seen,
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config)
    _louder(model.model.language_model)
    told = {"do_sample": True, "temperature": 1e-6, "repetition_penalty": 1.05} | settings
    model.generation_config = GenerationConfig(eos_token_id=[stop, end], pad_token_id=end, **told)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=84 * 84).save_pretrained(folder)
    return folder


def save_instructblip(folder: Path, tokenizer: PreTrainedTokenizerFast, seq2seq: bool = False) -> Path:
    """A tiny InstructBLIP: over Llama with this tokenizer (as over Vicuna), or over a T5 (as over Flan-T5)."""
    torch.manual_seed(0)
    shared = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    words = (
        T5Config(d_model=48, d_kv=12, d_ff=96, num_layers=2, num_decoder_layers=2, num_heads=4, is_encoder_decoder=True,
                 decoder_start_token_id=0, **shared)
        if seq2seq
        else LlamaConfig(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                         max_position_embeddings=512, **shared)
    )  # fmt: skip
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "is", "there", "a", "dog", "red", "?"]
    config = InstructBlipConfig(
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 28, "patch_size": 14, "initializer_range": 0.1},
        qformer_config={"vocab_size": len(pieces), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                        "num_attention_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.2},
        text_config=words.to_dict(),
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    model = InstructBlipForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens)
    _louder(model.language_model, 3 if seq2seq else 6)
    model.language_model.lm_head.weight.data[config.image_token_index] = 0  # nobody says a picture
    model.save_pretrained(folder)
    images = BlipImageProcessorPil(size={"height": 28, "width": 28})
    bert = BertTokenizer(vocab={piece: n for n, piece in enumerate(pieces)})
    InstructBlipProcessor(images, tokenizer, bert, num_query_tokens=4).save_pretrained(folder)
    return folder


# What gemma-3's and some LLaVA-NeXTs' templates do: the start token is written out, and the tokenizer adds one too.
GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>user\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<start_of_image>{% else %}{{ c['text'] | trim }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
NEXT_CHAT = (
    "{{ bos_token }}{% for m in messages %}[INST] {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %} [/INST]{% endfor %}"
)


def starting(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer, which from now on begins every text with its start token, as Llama's and Gemma's do."""
    start = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.bos_token_id)]
    )
    return tokenizer


def save_gemma3(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A tiny Gemma 3, whose template writes the start token that its tokenizer adds as well."""
    torch.manual_seed(0)
    marks = {"boi_token": "<start_of_image>", "image_token": "<image_soft_token>", "eoi_token": "<end_of_image>"}
    starting(tokenizer).add_tokens([*marks.values()], special_tokens=True)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="<pad>", extra_special_tokens=marks,
    )  # fmt: skip
    ids = {f"{name}_index": wrapped.convert_tokens_to_ids(mark) for name, mark in marks.items()}
    config = Gemma3Config(
        text_config={"vocab_size": len(wrapped), "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
                     "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12, "bos_token_id": 1,
                     "eos_token_id": 2, "pad_token_id": wrapped.pad_token_id, "sliding_window": 64},
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 28, "patch_size": 7},
        mm_tokens_per_image=4, boi_token_index=ids["boi_token_index"], eoi_token_index=ids["eoi_token_index"],
        image_token_index=ids["image_token_index"],
    )  # fmt: skip
    model = Gemma3ForConditionalGeneration(config)
    _louder(model.model.language_model, 3)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    model.save_pretrained(folder)
    images = Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    Gemma3Processor(images, wrapped, chat_template=GEMMA_CHAT, image_seq_length=4).save_pretrained(folder)
    return folder


def save_next(folder: Path, tokenizer: PreTrainedTokenizerFast, chat: str, tower: CLIPVisionConfig) -> Path:
    """A tiny LLaVA-NeXT with this chat template, its tower (32 pixels, patches of 8) of this architecture."""
    torch.manual_seed(0)
    config = LlavaNextConfig(
        vision_config=tower,
        text_config=LlamaConfig(vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
                                num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=[[32, 64], [64, 32]],
    )  # fmt: skip
    model = LlavaNextForConditionalGeneration(config)
    _louder(model.model.language_model)
    model.save_pretrained(folder)
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=[[32, 64], [64, 32]]
    )
    LlavaNextProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", chat_template=chat,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _louder(language: torch.nn.Module, times: float = 6) -> None:
    """Random words that depend on the picture."""
    with torch.no_grad():
        for weight in language.parameters():
            weight.mul_(times)
