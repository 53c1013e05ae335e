"""What an aligned eye would cost is counted as torch counts it, and said before one starts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlavaForConditionalGeneration

from harness.vision_language.align import cost, recipes, trained


@pytest.mark.parametrize("name", ["pretrain", "full"])
def test_operations_are_those_that_torch_counts(world, name):
    model = LlavaForConditionalGeneration.from_pretrained(world / "llava", attn_implementation="eager")
    stage = replace(recipes.PRESETS[name](), gradient_checkpointing=False)
    trained.opened(model, stage)
    model.train()
    tokens, length = 16, 120
    ids = torch.full((1, length), 5)
    ids[0, 1 : 1 + tokens] = model.config.image_token_id
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, pixel_values=torch.randn(1, 3, 32, 32), labels=ids).loss.backward()
    shapes = cost.Shapes(model.config.vision_config, model.config.text_config, tokens)
    assert cost.operations(shapes, stage, length) == pytest.approx(counter.get_total_flops(), rel=0.06)
    assert shapes.trained(stage) == pytest.approx(sum(w.numel() for w in trained.state(model).values()), rel=0.01)


def test_check_says_what_an_aligned_eye_would_cost_whether_it_fits_or_not(cli, world):
    said = cli("encoder", "check", f"clip:{world / 'tuned'}", "--lvlm", f"llava:{world / 'llava'}", "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)["aligned_eye"]
    assert told["image_tokens"] == 16
    assert told["projector_parameters"] == 64 * 48 + 48 + 48 * 48 + 48
    assert set(told["lora"]) == {"trained_parameters", "estimated_memory_gb", "estimated_a100_hours"}
    said = cli("encoder", "check", f"clip:{world / 'siglip'}", "--lvlm", f"llava:{world / 'llava'}")
    assert said.code == 4
    assert "would train a projector of" in said.err and "9 image tokens" in said.err
