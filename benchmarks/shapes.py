"""LLaVA-1.5-7B's shape with random weights, whole on a GPU and a slice of it on a CPU; and AMBER-like questions."""

from __future__ import annotations

import random
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.measure import device, dtype
from harness.vision_language.packed.requests import ImageRequest, Prompt

AMBER_QUESTIONS, AMBER_IMAGES, CAPTION_TOKENS = 14_216, 1_004, 100
IMAGE = 1
SYSTEM = tuple(range(10, 50))  # LLaVA's system prompt, "USER:" and the line break are some 42 tokens
ASSISTANT = (50, 51, 52, 53, 54)


@dataclass(frozen=True)
class Shape:
    """Sizes of a LLaVA; those of LLaVA-1.5-7B unless said otherwise. The image is 576 tokens in each."""

    layers: int = 32
    width: int = 4096
    tower_layers: int = 24
    tower_width: int = 1024
    vocabulary: int = 32_064

    def said(self) -> dict[str, Any]:
        """The sizes, for the detail of a row."""
        whole = Shape()
        return asdict(self) | {"image_tokens": 576, "whole": self == whole}

    @property
    def weights(self) -> int:
        """Weights of the language model that each token goes through."""
        return self.layers * self.width * (4 * self.width + 3 * self.inner) + self.width * self.vocabulary

    @property
    def inner(self) -> int:
        """Width of the language model's MLP."""
        return self.width * 43 // 16

    @property
    def flops_per_token(self) -> float:
        """Linear FLOPs of one token, the vocabulary aside."""
        return 2.0 * self.layers * self.width * (4 * self.width + 3 * self.inner)


def shape(quick: bool, layers: int = 4, width: int = 4096) -> Shape:
    """The whole 7B on a GPU; on a CPU a slice: fewer layers (and tower layers and words, in proportion)."""
    if torch.cuda.is_available() and not quick:
        return Shape()
    part = layers / 32
    return Shape(layers, width, max(2, round(24 * part)), width // 4, round(32_064 * part))


def llava(of: Shape) -> Any:
    """A LLaVA of this shape with random weights."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=of.tower_width,
            intermediate_size=4 * of.tower_width,
            num_hidden_layers=of.tower_layers,
            num_attention_heads=of.tower_width // 64,
            image_size=336,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            hidden_size=of.width,
            intermediate_size=of.inner,
            num_hidden_layers=of.layers,
            num_attention_heads=of.width // 128,
            num_key_value_heads=of.width // 128,
            vocab_size=of.vocabulary,
            max_position_embeddings=4096,
            eos_token_id=None,
            bos_token_id=None,
        ),
        image_token_index=IMAGE,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype())
    try:
        with device():
            return LlavaForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


NOUNS = (
    "sky",
    "person",
    "beach",
    "tree",
    "car",
    "dog",
    "table",
    "grass",
    "boat",
    "cup",
    "chair",
    "road",
    "cat",
    "house",
)
STATES = ("sunny", "standing", "blue", "wooden", "open", "green", "red", "wet", "running", "large", "white", "young")


def questions(rng: random.Random) -> list[str]:
    """What AMBER asks of one image on average: 5 on existence, 7 on attributes, 2 on relations."""
    nouns = rng.sample(NOUNS, 14)
    existence = [f"Is there a {noun} in this image ?" for noun in nouns[:5]]
    attribute = [f"Is the {noun} {rng.choice(STATES)} er in this image ?" for noun in nouns[5:12]]
    relation = [f"Is there direct contact between the {noun} and {nouns[0]} ?" for noun in nouns[12:]]
    return existence + attribute + relation


def request(image: int, vocabulary: int, limit: int, texts: list[str] | None = None) -> ImageRequest:
    """One image of noise and its questions, a token for each word."""
    rng = random.Random(image)
    pixels = torch.randn(3, 336, 336, generator=torch.Generator().manual_seed(image))
    texts = questions(rng) if texts is None else texts
    before = (*SYSTEM, *[IMAGE] * 576, 55, 56)
    ids = [tuple(100 + zlib.crc32(word.encode()) % (vocabulary - 100) for word in text.split()) for text in texts]
    return ImageRequest(pixels, tuple(Prompt((image, n), before + i + ASSISTANT, limit) for n, i in enumerate(ids)))
