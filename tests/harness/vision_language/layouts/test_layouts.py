"""A LLaVA in each of the layouts in which people have one: the same logits."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import registry
from harness.errors import ModelError
from harness.types import Asked, Place, Sample
from harness.vision_language.layouts import weight_names

registry.load()
PLACE = Place(device="cpu")


def host(text):
    return registry.make_lvlm(text, PLACE)


@torch.no_grad()
def logits(host, tiny):
    """The next-token logits of each picture's prompt, and how many of them are of the language model's own words."""
    lvlm = host(None)
    requests = [
        lvlm.request(Asked(image, (Sample("1", None, "", prompt="Is there a dog?"),))) for image in tiny.pictures()
    ]
    rows = [
        host.model(input_ids=torch.tensor([request.prompts[0].tokens]), pixel_values=request.pixels[None]).logits[0, -1]
        for request in requests
    ]
    return torch.stack(rows)[:, : len(tiny.language_tokenizer(image=False))]


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.llava_model(tower=tiny.clip_model(2))


@pytest.fixture(scope="module")
def root(tiny, model, tmp_path_factory):
    """One LLaVA in the hub's layout, and in LLaVA's own with the tower inside and with the tower named."""
    root = tmp_path_factory.mktemp("layouts")
    tiny.save_clip(tiny.clip_model(2), root / "tower")
    tiny.save_llava(model, root / "hub")
    tiny.save_original(model, root / "inside", root / "tower")
    tiny.save_original(model, root / "named", root / "tower", inside=False)
    return root


@pytest.fixture(scope="module")
def expected(root, tiny):
    return logits(host(f"llava:{root / 'hub'}"), tiny)


@pytest.mark.parametrize("layout", ["inside", "named"])
def test_the_original_layout_gives_the_logits_of_its_hub_twin(root, tiny, expected, layout):
    found = host(f"llava:{root / layout}")
    assert torch.equal(logits(found, tiny), expected)
    twin = host(f"llava:{root / 'hub'}")
    assert found.own_digest == twin.own_digest
    assert found(None).digests()["projector"] == twin(None).digests()["projector"]


def test_added_tokens_are_never_the_most_likely(root, tiny):
    found = host(f"llava:{root / 'inside'}")
    lvlm = found(None)
    request = lvlm.request(Asked(tiny.pictures(1)[0], (Sample("1", None, "", prompt="Is there a dog?"),)))
    with torch.no_grad():
        out = found.model(input_ids=torch.tensor([request.prompts[0].tokens]), pixel_values=request.pixels[None]).logits
    own = len(tiny.language_tokenizer(image=False))
    assert out.shape[-1] % 64 == 0
    assert (out[..., own:].amax(-1) < out[..., :own].amax(-1)).all()


@pytest.mark.parametrize("style", ["old", "new"])
def test_both_generations_of_hub_key_names_load(root, tiny, expected, tmp_path, style):
    folder = shutil.copytree(root / "hub", tmp_path / "llava")
    memory = {weight_names.in_memory(name): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    renamed = {weight_names.on_hub(name) if style == "old" else name: tensor for name, tensor in memory.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(logits(host(f"llava:{folder}"), tiny), expected)


def test_a_tower_elsewhere_can_be_named_in_the_spec(root, tiny, expected, tmp_path):
    folder = shutil.copytree(root / "named", tmp_path / "llava")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"mm_vision_tower": "/gone/tower"}))
    with pytest.raises(ModelError, match=r"names the tower '/gone/tower'.*\?tower=FOLDER"):
        host(f"llava:{folder}")
    assert torch.equal(logits(host(f"llava:{folder}?tower={root / 'tower'}"), tiny), expected)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mm_projector_type": "linear"}, "'linear' projector"),
        ({"mm_use_im_start_end": True}, "start and end tokens"),
        ({"image_aspect_ratio": "anyres"}, "LLaVA-NeXT"),
    ],
)
def test_another_generation_of_llava_is_refused(root, tmp_path, change, says):
    folder = shutil.copytree(root / "named", tmp_path / "llava")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=says):
        host(f"llava:{folder}")


def test_missing_and_unknown_weights_are_named(root, tmp_path):
    folder = shutil.copytree(root / "hub", tmp_path / "llava")
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("mlp.fc1.bias"))
    save_file({n: t for n, t in tensors.items() if n != lost}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights of a LLaVA, '.*mlp.fc1.bias'"):
        host(f"llava:{folder}")
    save_file(
        {**tensors, "model.image_newline": tensors[lost].clone()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ModelError, match=r"holds 1 weights that a LLaVA does not have, '.*image_newline'"):
        host(f"llava:{folder}")


# Low-rank adapters


def pairs(model, prefix, seed=0):
    """Random low-rank pairs for every query projection of the language model, under this prefix."""
    torch.manual_seed(seed)
    out = {}
    for n, layer in enumerate(model.model.language_model.layers):
        width = layer.self_attn.q_proj.weight.shape[0]
        out[f"{prefix}layers.{n}.self_attn.q_proj.lora_A.weight"] = torch.randn(4, width) * 0.2
        out[f"{prefix}layers.{n}.self_attn.q_proj.lora_B.weight"] = torch.randn(width, 4) * 0.2
    return out


def by_hand(host_, adapter, alpha, rank=4):
    """The host with alpha / rank * B A added to each weight, computed here."""
    for n, layer in enumerate(host_.model.model.language_model.layers):
        down, up = (next(t for k, t in adapter.items() if f"layers.{n}." in k and f"lora_{x}" in k) for x in "AB")
        layer.self_attn.q_proj.weight.data += alpha / rank * (up @ down)
    return host_


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("prefix", ["base_model.model.model.language_model.", "base_model.model.language_model.model."])
def test_an_adapter_in_pefts_layout_is_added(root, tiny, model, tmp_path, prefix, rslora, expected):
    adapter = pairs(model, prefix)
    save_file(adapter, tmp_path / "adapter_model.safetensors")
    told = {"lora_alpha": 16, "r": 4, "use_rslora": rslora, "base_model_name_or_path": str(root / "hub")}
    (tmp_path / "adapter_config.json").write_text(json.dumps(told))
    right = logits(by_hand(host(f"llava:{root / 'hub'}"), adapter, 32 if rslora else 16), tiny)
    overlaid = logits(host(f"llava:{root / 'hub'}?lora={tmp_path}"), tiny)
    torch.testing.assert_close(overlaid, right)
    assert torch.equal(logits(host(f"llava:{tmp_path}"), tiny), overlaid)
    assert not torch.allclose(overlaid, expected, atol=1e-3)


def test_what_peft_saves_is_what_we_add(root, tiny, model, tmp_path):
    import peft

    fresh = host(f"llava:{root / 'hub'}").model
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    wrapped = peft.get_peft_model(fresh, config)
    wrapped.save_pretrained(tmp_path)
    lvlm = host(f"llava:{root / 'hub'}")(None)
    request = lvlm.request(Asked(tiny.pictures(1)[0], (Sample("1", None, "", prompt="Is there a dog?"),)))
    inputs = {"input_ids": torch.tensor([request.prompts[0].tokens]), "pixel_values": request.pixels[None]}
    with torch.no_grad():
        right = wrapped(**inputs).logits
        found = host(f"llava:{root / 'hub'}?lora={tmp_path}").model(**inputs).logits
    torch.testing.assert_close(found, right, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("over", ["language model", "llava"])
def test_llavas_own_lora_layout_is_added_over_the_language_model_or_a_llava(root, tiny, model, tmp_path, over):
    trained = {name: torch.randn_like(t) * 0.2 for name, t in model.model.multi_modal_projector.state_dict().items()}
    number = {"linear_1": "0", "linear_2": "2"}
    extra = {
        f"base_model.model.model.mm_projector.{number[n.split('.')[0]]}.{n.split('.')[1]}": t
        for n, t in trained.items()
    }
    adapter = pairs(model, "base_model.model.model.")
    folder, base = tmp_path / "lora", tmp_path / "vicuna"
    folder.mkdir()
    torch.save(adapter, folder / "adapter_model.bin")
    torch.save(extra, folder / "non_lora_trainables.bin")
    (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": 16, "r": 4}))
    shutil.copy(root / "named" / "config.json", folder / "config.json")
    if over == "llava":
        base = root / "hub"
    else:
        _language_model_alone(root, tiny, base)
    right = by_hand(host(f"llava:{root / 'hub'}"), adapter, 16)
    right.model.model.multi_modal_projector.load_state_dict(trained)
    torch.testing.assert_close(logits(host(f"llava:{folder}?base={base}"), tiny), logits(right, tiny))
    with pytest.raises(ModelError, match=r"names no base; say which with \?base=FOLDER"):
        host(f"llava:{folder}")


def _language_model_alone(root, tiny, base):
    """What a Vicuna folder holds: the language model and its tokenizer."""
    from transformers import LlamaConfig

    base.mkdir()
    shards = [torch.load(path) for path in sorted((root / "named").glob("*.bin"))]
    tensors = {name: t for shard in shards for name, t in shard.items() if "mm_projector" not in name}
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    LlamaConfig(hidden_size=48, num_attention_heads=4, num_key_value_heads=4).save_pretrained(base)
    tiny.language_tokenizer(image=False).save_pretrained(base)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("base_model.model.model.layers.9.self_attn.q_proj", "changes 'model.language_model.layers.9"),
        ("base_model.model.model.layers.0.mlp.up_proj", r"is \(48, 48\) in the adapter and \(96, 48\) here"),
    ],
)
def test_an_adapter_that_finds_no_place_is_refused(root, tmp_path, name, says):
    pair = {f"{name}.lora_A.weight": torch.ones(4, 48), f"{name}.lora_B.weight": torch.ones(48, 4)}
    save_file(pair, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 16, "r": 4}))
    with pytest.raises(ModelError, match=says):
        host(f"llava:{root / 'hub'}?lora={tmp_path}")


# Full size, without the weights


def test_the_names_and_shapes_of_llava_7b_and_13b_go_over_and_back():
    from harness.vision_language.layouts import original

    facts = {
        "7b": (
            {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
            7.063,
        ),
        "13b": (
            {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40},
            13.351,
        ),
    }
    for text, billions in facts.values():
        told = {**text, "vocab_size": 32000, "mm_projector_type": "mlp2x_gelu"}
        vision = original.vision_config("openai/clip-vit-large-patch14-336", None)
        config = original.configuration(told, vision, tokens=32002, image_token=32000)
        with torch.device("meta"):
            from transformers import LlavaForConditionalGeneration

            own = LlavaForConditionalGeneration(config).state_dict()
        assert config.text_config.vocab_size == 32064
        assert config.image_seq_length == 576
        for there in (weight_names.on_hub, weight_names.in_original):
            assert [weight_names.in_memory(there(name)) for name in own] == list(own)
        assert round(sum(t.numel() for t in own.values()) / 1e9, 3) == billions
        hub = {weight_names.on_hub(name): tuple(t.shape) for name, t in own.items()}
        assert hub["multi_modal_projector.linear_1.weight"] == (text["hidden_size"], 1024)
        assert hub["vision_tower.vision_model.embeddings.position_embedding.weight"] == (577, 1024)
        assert hub["language_model.model.embed_tokens.weight"] == (32064, text["hidden_size"])
        assert {name.split(".")[0] for name in hub} == {"language_model", "vision_tower", "multi_modal_projector"}
