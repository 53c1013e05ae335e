"""A tower whose last layer is computed where it is read gives what the whole one gives, and steps aside for others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from encoders.towers.last_layer import pooled


def tower(layers: int = 3, attention: str = "sdpa", dropout: float = 0.0) -> CLIPVisionModel:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=4, image_size=32,
        patch_size=8, attention_dropout=dropout,
    )  # fmt: skip
    config._attn_implementation = attention
    return CLIPVisionModel(config).eval()


def whole(model: CLIPVisionModel, pixels: Tensor) -> Tensor:
    return model(pixel_values=pixels).pooler_output


def gradients(model: CLIPVisionModel, rows: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(rows.square().sum(), [*model.parameters()], allow_unused=True)
    return [torch.zeros(1) if one is None else one for one in found]


PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layers", [1, 3])
def test_rows_and_gradients_are_those_of_the_whole_layer(layers, attention):
    model = tower(layers, attention)
    ours, expected = pooled(model, PIXELS), whole(model, PIXELS)
    assert (ours - expected).abs().max() < 1e-6
    for mine, its in zip(gradients(model, ours), gradients(model, expected), strict=True):
        assert (mine - its).abs().max() < 1e-4 * max(1.0, float(its.abs().max()))


def test_the_last_layer_is_computed_for_the_class_token_alone():
    model, seen = tower(), []
    model.encoder.layers[-1].mlp.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
    pooled(model, PIXELS)
    assert seen == [(3, 1, 64)]


def test_whoever_listens_to_the_tower_hears_the_whole_of_it():
    model = tower()
    for module in (model, model.encoder, model.encoder.layers[-1], model.encoder.layers[-1].self_attn):
        heard: list[nn.Module] = []
        hook = module.register_forward_hook(lambda module, given, out, heard=heard: heard.append(module))
        assert torch.equal(pooled(model, PIXELS), whole(model, PIXELS))
        hook.remove()
        assert heard == [module, module]


def test_a_tower_in_training_that_is_checkpointed_or_drops_out_is_computed_whole():
    model = tower().train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert torch.equal(pooled(model, PIXELS), whole(model, PIXELS))
    dropping, rows = tower(dropout=0.5).train(), []
    for way in (pooled, whole):
        torch.manual_seed(2)
        rows.append(way(dropping, PIXELS))
    assert torch.equal(*rows)


def test_a_tower_without_layers_gives_what_transformers_gives():
    model = tower(layers=0)
    assert torch.equal(pooled(model, PIXELS), whole(model, PIXELS))
