"""LVLMs of other families answer as they are; a tower is swapped only where theirs is a CLIP ViT."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
)
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from harness import registry
from harness.errors import ModelError, UsageError
from harness.types import Answer, Asked, Place, Sample

registry.load()
PLACE = Place(device="cpu")


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A tiny random LLaVA-NeXT."""
    torch.manual_seed(0)
    tokenizer = tiny.language_tokenizer()
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**tiny.clip_config().vision_config.to_dict()),
        text_config=LlamaConfig(vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
                                num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=[[32, 64], [64, 32]],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("next")
    model = LlavaNextForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.model.language_model.parameters():
            weight.mul_(6)
    model.save_pretrained(folder)
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=[[32, 64], [64, 32]]
    )
    LlavaNextProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", chat_template=tiny.CHAT,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def ask(lvlm, images, until=""):
    samples = (Sample("1", None, "", prompt="Is there a dog?", tokens=6, until=until),)
    return [reply for _, reply in lvlm.answers(Asked(image, samples) for image in images)]


def test_a_llava_next_answers_as_it_is_and_with_another_tower(folder, tiny, tmp_path):
    host = registry.make_lvlm(f"vlm:{folder}", PLACE)
    own = host(None)
    before = ask(own, tiny.pictures())
    assert all(isinstance(reply, Answer) and 0 < reply.p_yes < 1 for reply in before)
    tiny.save_clip(tiny.clip_model(8), tmp_path / "clip")
    encoder = registry.make_encoder(f"clip:{tmp_path / 'clip'}", PLACE)
    swapped = host(encoder)
    assert ask(swapped, tiny.pictures()) != before
    assert swapped.digests()["tower"] == encoder.tower_digest != own.digests()["tower"]
    assert ask(own, tiny.pictures()) == before
    assert own.describe()["family"] == "llava_next"
    assert own.render("Is it red?") == "USER: <image>\nIs it red? ASSISTANT:"


def test_a_tower_that_does_not_fit_a_llava_next_is_refused(folder, tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(width=48), tmp_path / "clip")
    with pytest.raises(ModelError, match="48 wide"):
        registry.make_lvlm(f"vlm:{folder}", PLACE)(registry.make_encoder(f"clip:{tmp_path / 'clip'}", PLACE))


def test_a_wrong_spec_says_what_is_wrong(folder, tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(), tmp_path / "clip")
    with pytest.raises(ModelError, match="cannot be loaded as an LVLM"):
        registry.make_lvlm(f"vlm:{tmp_path / 'clip'}", PLACE)
    with pytest.raises(UsageError, match="vlm needs a model"):
        registry.make_lvlm("vlm", PLACE)
    with pytest.raises(UsageError, match=r"chat .* and bare"):
        registry.make_lvlm(f"vlm:{folder}?template=vicuna", PLACE)
