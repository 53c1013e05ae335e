"""A tiny LLaVA, eyes of several families, and conversations about a few pictures."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import Dinov2Config, Dinov2Model, SiglipConfig, SiglipModel
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from harness.types import Place

WORDS = ("a red cat", "the photo", "Is there a dog", "a dog in this image", "Yes", "No")


def conversation(n: int) -> list[dict]:
    turns = [("<image>\nDescribe the photo.", WORDS[n % 4]), ("Is there a dog in this image?", WORDS[4 + n % 2])]
    return [
        {"from": who, "value": text}
        for question, answer in turns[: 1 + n % 2]
        for who, text in (("human", question), ("gpt", answer))
    ]


@pytest.fixture(scope="session")
def world(tiny, tmp_path_factory):
    """A folder with ``llava``, ``base`` (its own CLIP), ``tuned``, ``odd``, ``siglip``, ``dino`` and two data files."""
    root = tmp_path_factory.mktemp("align")
    base = tiny.clip_model(2)
    tiny.save_clip(base, root / "base")
    tiny.save_llava(tiny.llava_model(tower=base), root / "llava")
    tiny.save_clip(tiny.clip_model(4), root / "tuned")
    tiny.save_clip(tiny.clip_model(3, width=48, size=48, blocks=2), root / "odd")
    torch.manual_seed(5)
    size = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": 514, "max_position_embeddings": 16, "projection_size": 32, "bos_token_id": 512,
            "eos_token_id": 513, "pad_token_id": 513}  # fmt: skip
    siglip = SiglipModel(
        SiglipConfig(
            vision_config={**size, "intermediate_size": 48, "image_size": 24, "patch_size": 8}, text_config=text
        )
    )
    siglip.save_pretrained(root / "siglip")
    SiglipImageProcessorPil(size={"height": 24, "width": 24}).save_pretrained(root / "siglip")
    tiny.clip_tokenizer().save_pretrained(root / "siglip")
    Dinov2Model(Dinov2Config(**size, image_size=56, patch_size=14)).save_pretrained(root / "dino")
    crop = {"height": 28, "width": 28}
    BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=crop, do_center_crop=True).save_pretrained(root / "dino")
    rows = []
    for n, image in enumerate(tiny.pictures(10)):
        image.save(root / f"{n}.png")
        rows.append({"id": n, "image": f"{n}.png", "conversations": conversation(n)})
    (root / "captions.json").write_text(json.dumps(rows))
    for n in range(3):
        talk = [{"from": "human", "value": "Is a dog red?"}, {"from": "gpt", "value": WORDS[4 + n % 2]}]
        rows.append({"id": f"t{n}", "conversations": talk})
    (root / "mixed.json").write_text(json.dumps(rows))
    return root


@pytest.fixture
def words(world):
    """The command's words for a tiny alignment; ``words(out, "pretrain,lora", field="value")``."""

    def make(out, stage="pretrain", encoder="tuned", **settings):
        asked = {
            "batch": 4,
            "micro_batch": 2,
            "updates": 4,
            "rate": 0.01,
            "lora_rank": 2,
            "gradient_checkpointing": "false",
        }
        sets = [word for key, value in {**asked, **settings}.items() for word in ("--set", f"{key}={value}")]
        data = [
            w
            for s in stage.split(",")
            for w in ("--data", world / ("captions.json" if s == "pretrain" else "mixed.json"))
        ]
        return ["align", f"clip:{world / encoder}", "--lvlm", f"llava:{world / 'llava'}", "--stage", stage, *data,
                "--out", out, "--device", "cpu", *sets]  # fmt: skip

    return make


@pytest.fixture(scope="session")
def place():
    """Where the tiny models compute."""
    return Place(device="cpu")
