"""What growing an eye in would cost: parameters, image tokens, floating-point operations, memory. Estimates all.

Operations are counted from the shapes (a multiply-add is two); hours and memory are estimates from them, with the
assumptions that stand here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.vision_language.align import recipes
from harness.vision_language.align.recipes import Stage

WORDS = {"pretrain": 20, "lora": 250, "full": 250}
"""Tokens of text in a row, beside its image: assumed; captions are short, the mix's conversations are not."""
ROWS = {"pretrain": 558_128, "lora": 665_298, "full": 665_298}
"""Rows of LLaVA-1.5's two data sets."""
A100_BF16, SHARE = 312e12, 0.4
"""Operations a second of an A100 in bf16 (NVIDIA's data sheet), and the share that training reaches: assumed."""


@dataclass(frozen=True)
class Shapes:
    """The sizes of a LLaVA: its tower, its image tokens, its language model."""

    tower: Any
    text: Any
    image_tokens: int

    @property
    def projector(self) -> int:
        """Parameters of the two-layer projector."""
        wide, out = self.tower.hidden_size, self.text.hidden_size
        return wide * out + out + out * out + out  # type: ignore[no-any-return]

    @property
    def layers(self) -> int:
        """Parameters of the linear layers of all blocks of the language model."""
        return self.text.num_hidden_layers * sum(a * b for a, b in self.linears)  # type: ignore[no-any-return]

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each linear layer of one block of the language model."""
        text = self.text
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        of_queries, of_keys = text.num_attention_heads * head, text.num_key_value_heads * head
        wide, inner = text.hidden_size, text.intermediate_size
        return [(wide, of_queries), (wide, of_keys), (wide, of_keys), (of_queries, wide),
                (wide, inner), (wide, inner), (inner, wide)]  # fmt: skip

    @property
    def head(self) -> int:
        """Parameters of the output layer."""
        return self.text.hidden_size * self.text.vocab_size  # type: ignore[no-any-return]

    def lora(self, rank: int) -> int:
        """Parameters of a LoRA of this rank on every linear layer of the language model."""
        return self.text.num_hidden_layers * rank * sum(a + b for a, b in self.linears)  # type: ignore[no-any-return]

    def trained(self, stage: Stage) -> int:
        """Parameters that this stage trains."""
        more = {
            "projector": 0,
            "projector+lora": self.lora(stage.lora_rank),
            "projector+language_model": self.layers + 2 * self.head,
        }
        return self.projector + more[stage.trains]


def operations(shapes: Shapes, stage: Stage, length: int) -> int:
    """Floating-point operations of a row of so many tokens, image included, forward, backward and recomputed."""
    tower, text = shapes.tower, shapes.text
    seen = (tower.image_size // tower.patch_size) ** 2 + 1
    inner = getattr(tower, "intermediate_size", None) or tower.hidden_size * tower.mlp_ratio
    of_block = 4 * tower.hidden_size**2 + 2 * tower.hidden_size * inner
    see = tower.num_hidden_layers * (2 * seen * of_block + 4 * seen**2 * tower.hidden_size)
    patches = 2 * seen * 3 * tower.patch_size**2 * tower.hidden_size
    project = 2 * shapes.image_tokens * shapes.projector
    linear, attend = 2 * length * shapes.layers, text.num_hidden_layers * 4 * length**2 * text.hidden_size
    head = 2 * length * shapes.head
    whole = stage.trains == "projector+language_model"
    back = (2 if whole else 1) * (linear + head) + 2 * attend
    again = linear + attend if stage.gradient_checkpointing else 0
    adapter = 6 * length * shapes.lora(stage.lora_rank) if stage.trains == "projector+lora" else 0
    return int(see + patches + 3 * project + linear + attend + head + back + again + adapter)


def memory(shapes: Shapes, stage: Stage, length: int) -> int:
    """Bytes on one device that holds everything (no sharding), in bf16 with what is trained in fp32."""
    frozen = shapes.layers + 2 * shapes.head + _tower_parameters(shapes.tower)
    frozen -= 0 if stage.trains != "projector+language_model" else shapes.layers + 2 * shapes.head
    kept = 16 * shapes.trained(stage)  # weight, gradient and Adam's two moments in fp32
    rows = stage.micro_batch * length
    layers = shapes.text.num_hidden_layers
    of_layer = 2 if stage.gradient_checkpointing else 34  # Korthikanti et al. 2022, arXiv 2205.05198, without attention
    activations = rows * shapes.text.hidden_size * (of_layer * layers + 34) + rows * shapes.text.vocab_size * 10
    return int(2 * frozen + kept + activations)


def _tower_parameters(tower: Any) -> int:
    inner = getattr(tower, "intermediate_size", None) or tower.hidden_size * tower.mlp_ratio
    return int(tower.num_hidden_layers * (4 * tower.hidden_size**2 + 2 * tower.hidden_size * inner))


def estimates(shapes: Shapes, stages: Iterable[Stage] = ()) -> dict[str, dict[str, Any]]:
    """For each of LLaVA-1.5's stages: parameters trained, gigabytes on one device, and GPU-hours on its data."""
    found = {}
    for stage in stages or (make() for make in recipes.PRESETS.values()):
        length = min(stage.max_length, shapes.image_tokens + WORDS[stage.name])
        total = operations(shapes, stage, length) * ROWS[stage.name]
        found[stage.name] = {
            "trained_parameters": shapes.trained(stage),
            "estimated_memory_gb": round(memory(shapes, stage, length) / 1e9, 1),
            "estimated_a100_hours": round(total / (A100_BF16 * SHARE) / 3600, 1),
        }
    return found


def told(config: Any, tower: Any, image_tokens: int) -> dict[str, Any]:
    """What an eye of this tower and so many image tokens would cost behind the LVLM of this configuration."""
    shapes = Shapes(tower, config.text_config, image_tokens)
    return {
        "image_tokens": image_tokens,
        "image_tokens_of_the_lvlm": config.image_seq_length,
        "projector_parameters": shapes.projector,
        **estimates(shapes),
    }
