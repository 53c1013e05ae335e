"""Captions encoded as a tree: the same features and gradients as the padded way, each prefix once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from encoders.towers.clip_encoder import padded_features
from encoders.towers.trie import nodes, text_features
from harness.errors import ModelError, UsageError

START, END, PAD = 1, 98, 0


def tiny(eos: int = END, attention: str = "sdpa", layers: int = 2) -> CLIPModel:
    torch.manual_seed(0)
    text = {
        "vocab_size": 99,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": 20,
        "eos_token_id": eos,
        "bos_token_id": START,
        "pad_token_id": PAD,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": 8,
        "patch_size": 4,
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    config._attn_implementation = attention
    return CLIPModel(config).double().eval()


def captions(count: int, seed: int = 0) -> list[list[int]]:
    """Captions of one picture as the data has them: a stem, changed somewhere, of many lengths."""
    generator = torch.Generator().manual_seed(seed)
    stem = torch.randint(2, 97, (16,), generator=generator).tolist()
    made = []
    for _ in range(count):
        length, change = torch.randint(1, 17, (2,), generator=generator).tolist()
        words = [*stem[: change - 1], *torch.randint(2, 97, (1,), generator=generator).tolist(), *stem[change:]][
            :length
        ]
        made.append([START, *words, END])
    return made


def padded(model: CLIPModel, token_ids: list[list[int]]) -> Tensor:
    """The reference: every caption padded to the tower's whole length, through transformers."""
    filled = torch.tensor([[*ids, *[PAD] * (20 - len(ids))] for ids in token_ids])
    return model.get_text_features(filled, torch.ones_like(filled)).pooler_output


@pytest.mark.parametrize("row", [18, 40, 384])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_features_equal_those_of_the_padded_way(row: int, attention: str) -> None:
    model = tiny(attention=attention)
    token_ids = captions(28) + captions(28, seed=1)
    # transformers' eager attention takes its softmax in float32.
    close = {"atol": 1e-12, "rtol": 1e-9} if attention == "sdpa" else {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(text_features(model, token_ids, row), padded(model, token_ids), **close)


@pytest.mark.parametrize("row", [18, 384])
def test_gradients_equal_those_of_the_padded_way(row: int) -> None:
    token_ids = captions(28) + captions(5, seed=1)
    weight = torch.randn(len(token_ids), 16, dtype=torch.float64)
    ours, theirs = tiny(), tiny()
    (text_features(ours, token_ids, row) * weight).sum().backward()
    (padded(theirs, token_ids) * weight).sum().backward()
    reached = 0
    for (name, one), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, atol=1e-11, rtol=1e-9, msg=name)
            reached += 1
    assert reached > 30


def test_gradient_checkpointing_changes_nothing() -> None:
    model = tiny().train()
    token_ids = captions(10)
    text_features(model, token_ids).sum().backward()
    plain = model.text_model.encoder.layers[0].mlp.fc1.weight.grad.clone()
    model.zero_grad()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    text_features(model, token_ids).sum().backward()
    torch.testing.assert_close(model.text_model.encoder.layers[0].mlp.fc1.weight.grad, plain)


def test_a_tower_of_the_old_configuration_is_read_at_its_highest_token() -> None:
    model = tiny(eos=2)
    token_ids = [[START, 5, 2, 7, END], [START, 5, END]]
    torch.testing.assert_close(text_features(model, token_ids), padded(model, token_ids))


@pytest.mark.parametrize("eos", [END, 2, 7])
@pytest.mark.parametrize("way", [text_features, padded_features])
def test_a_caption_with_its_end_token_amid_it_is_read_where_transformers_reads_it(eos: int, way: Any) -> None:
    model = tiny(eos)
    token_ids = [[START, 5, END, 7, 8, END], [START, 97, 6, 7, 7, END], [START, 7, END, 2, 6], [START, END, 7]]
    torch.testing.assert_close(way(model, token_ids), padded(model, token_ids))


@pytest.mark.parametrize("way", [text_features, padded_features])
def test_a_tower_without_layers_is_read_as_transformers_reads_it(way: Any) -> None:
    model = tiny(layers=0)
    torch.testing.assert_close(way(model, captions(5)), padded(model, captions(5)))


def test_each_distinct_prefix_token_is_computed_once() -> None:
    model = tiny()
    token_ids = [[START, 5, 6, 7, END], [START, 5, 6, 8, END], [START, 5, END], [START, 5, 6, 7, END]]
    assert nodes(model, token_ids) == len({tuple(ids[: n + 1]) for ids in token_ids for n in range(len(ids))}) == 8


def test_what_follows_the_end_token_is_left_out() -> None:
    model = tiny()
    found = text_features(model, [[START, 5, END, PAD, PAD], [START, 5, END]])
    assert torch.equal(found[0], found[1])
    assert nodes(model, [[START, 5, END, PAD, PAD]]) == 3


def test_rows_bound_the_mask_and_waste_little() -> None:
    model = tiny()
    token_ids = [ids for seed in range(30) for ids in captions(28, seed)]
    alone = nodes(model, token_ids, 10**9)
    assert alone <= nodes(model, token_ids, 256) < 1.15 * alone


def test_order_and_duplicates_come_back_as_asked() -> None:
    model = tiny()
    token_ids = captions(6)
    backwards = text_features(model, [*token_ids[::-1], token_ids[0]])
    torch.testing.assert_close(backwards[:-1].flip(0), text_features(model, token_ids))
    assert torch.equal(backwards[-1], backwards[-2])


def test_no_captions_give_no_rows() -> None:
    assert text_features(tiny(), []).shape == (0, 16)


@pytest.mark.parametrize("way", [text_features, padded_features])
def test_a_caption_without_an_end_is_refused(way: Any) -> None:
    with pytest.raises(ModelError, match="no end token"):
        way(tiny(), [[START, 5, 6]])


def test_a_caption_too_long_for_the_tower_is_refused() -> None:
    with pytest.raises(UsageError, match="this tower reads 20"):
        text_features(tiny(), [[START, *[5] * 30, END]])
