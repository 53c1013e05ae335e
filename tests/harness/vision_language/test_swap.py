"""A LLaVA answers through whichever tower is put in, and says so by digest; what does not fit is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    SiglipVisionConfig,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from harness import registry
from harness.errors import DegenerateError, ModelError, UsageError
from harness.types import Answer, Asked, Place, Sample
from harness.vision_language import identity

registry.load()
PLACE = Place(device="cpu")
QUESTIONS = ("Is there a dog in this image?", "Describe the photo.")


def ask(lvlm, images, tokens=8, until="") -> list[Answer]:
    asked = [
        Asked(image, tuple(Sample(f"{n}-{q}", None, "", prompt=q, tokens=tokens, until=until) for q in QUESTIONS))
        for n, image in enumerate(images)
    ]  # fmt: skip
    replies = {sample.id: reply for sample, reply in lvlm.answers(asked)}  # they come as they end
    return [replies[sample.id] for one in asked for sample in one.samples]


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    return tiny.save_llava(tiny.llava_model(), tmp_path_factory.mktemp("llava") / "hub")


@pytest.fixture(scope="module")
def host(folder):
    return registry.make_lvlm(f"llava:{folder}", PLACE)


@pytest.fixture(scope="module")
def towers(tiny, tmp_path_factory):
    root = tmp_path_factory.mktemp("towers")
    model = tiny.open_clip_model(5)
    tiny.save_pt(model, root / "x.pt")
    open_clip = registry.make_encoder(f"open-clip:{root / 'x.pt'}?activation=quick_gelu", PLACE)
    open_clip.save(root / "hf", "hf")
    return open_clip, registry.make_encoder(f"clip:{root / 'hf'}", PLACE)


def test_one_tower_from_two_formats_gives_the_same_answers(host, towers, tiny):
    images = tiny.pictures(4)
    own = ask(host(None), images)
    open_clip, hub = (ask(host(tower), images) for tower in towers)
    assert open_clip == hub != own
    assert host(towers[0]).digests() == host(towers[1]).digests()
    assert host(towers[0]).digests()["tower"] == towers[0].tower_digest


def test_the_own_tower_comes_back_after_a_swap(host, towers, tiny):
    own = host(None)
    before = ask(own, tiny.pictures())
    ask(host(towers[0]), tiny.pictures())
    assert ask(own, tiny.pictures()) == before
    assert own.digests()["tower"] == host.own_digest != towers[0].tower_digest


def test_a_tower_that_is_the_lvlms_own_is_recorded_as_such(tiny, tmp_path):
    clip = tiny.clip_model(9)
    tiny.save_clip(clip, tmp_path / "clip")
    tiny.save_llava(tiny.llava_model(tower=clip), tmp_path / "llava")
    encoder = registry.make_encoder(f"clip:{tmp_path / 'clip'}", PLACE)
    host = registry.make_lvlm(f"llava:{tmp_path / 'llava'}", PLACE)
    assert host.own_digest == encoder.tower_digest
    swapped = host(encoder)
    assert swapped.describe()["tower"] == "own tower"
    assert ask(swapped, tiny.pictures()) == ask(host(None), tiny.pictures())


def test_in_half_precision_the_rounded_tower_is_what_is_expected(folder, towers):
    host = registry.make_lvlm(f"llava:{folder}?dtype=bf16", PLACE)
    digests = host(towers[0]).digests()
    rounded = {name: tensor.bfloat16() for name, tensor in towers[0].tower().state_dict().items()}
    assert (
        digests["tower"]
        == identity.computing(identity.canonical(rounded), towers[0].tower().config)
        != digests["tower_asked"]
    )
    assert digests["tower_asked"] == towers[0].tower_digest


def test_a_swap_that_changed_nothing_is_refused(folder, towers, monkeypatch):
    host = registry.make_lvlm(f"llava:{folder}", PLACE)
    monkeypatch.setattr(type(host), "put", lambda self, tower: None)
    with pytest.raises(ModelError, match="the swap failed: the tower in memory"):
        host(towers[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 48}, "48 wide, the projector reads 64"),
        ({"size": 48}, r"reads 48 pixels, the LVLM gives 32; it gives 36 patch tokens, the LVLM expects 16"),
        ({"activation": "gelu"}, "activation is gelu, the LVLM's own has quick_gelu"),
    ],
)
def test_a_tower_that_does_not_fit_says_what_does_not_and_what_would(host, tiny, tmp_path, change, says):
    tiny.save_clip(tiny.clip_model(**change), tmp_path / "clip")
    encoder = registry.make_encoder(f"clip:{tmp_path / 'clip'}", PLACE)
    with pytest.raises(ModelError, match=says + r".*What fits is a CLIP ViT 64 wide .* patches of 8 at 32 pixels"):
        host(encoder)


def test_another_normalisation_does_not_fit(host, towers, monkeypatch):
    told = {**towers[0].describe(), "mean": [0.5, 0.5, 0.5]}
    monkeypatch.setattr(type(towers[0]), "describe", lambda self: told)
    with pytest.raises(ModelError, match=r"mean \(0.500, 0.500, 0.500\), the LVLM's with \(0.481"):
        host(towers[0])


def test_hashing_has_no_tower_to_swap_in(host):
    with pytest.raises(ModelError, match="hashing has no vision tower"):
        host(registry.make_encoder("hashing", PLACE))


def test_a_projector_overlay_changes_the_answers_and_the_digest(folder, host, tiny, tmp_path):
    torch.manual_seed(3)
    other = {name: torch.randn_like(t) * 0.3 for name, t in host.model.model.multi_modal_projector.state_dict().items()}
    names = {"linear_1": "model.mm_projector.0", "linear_2": "model.mm_projector.2"}
    original = {f"{names[name.split('.')[0]]}.{name.split('.')[1]}": tensor for name, tensor in other.items()}
    torch.save(original, tmp_path / "mm_projector.bin")
    overlaid = registry.make_lvlm(f"llava:{folder}?projector={tmp_path}", PLACE)
    assert overlaid(None).digests()["projector"] != host(None).digests()["projector"]
    assert ask(overlaid(None), tiny.pictures()) != ask(host(None), tiny.pictures())
    torch.save({name: t[:1] for name, t in original.items()}, tmp_path / "mm_projector.bin")
    with pytest.raises(ModelError, match=r"has the shape \(1"):
        registry.make_lvlm(f"llava:{folder}?projector={tmp_path}", PLACE)


def test_an_answer_ends_with_the_text_that_ends_it(host, tiny):
    whole = ask(host(None), tiny.pictures(1), tokens=24)
    cut = ask(host(None), tiny.pictures(1), tokens=24, until="e")
    for long, short in zip(whole, cut, strict=True):
        assert short.text == (long.text[: long.text.index("e") + 1] if "e" in long.text else long.text)
        assert short.p_yes == pytest.approx(long.p_yes)


def test_questions_on_one_image_may_share_a_call(folder, host, tiny):
    together = registry.make_lvlm(f"llava:{folder}", Place(device="cpu", batch_size=2))
    for one, other in zip(ask(host(None), tiny.pictures()), ask(together(None), tiny.pictures()), strict=True):
        assert one.text == other.text
        assert one.p_yes == pytest.approx(other.p_yes, abs=1e-4)


def test_a_question_without_a_picture_is_asked_without_one(host):
    (reply,) = [r for _, r in host(None).answers([Asked(None, (Sample("1", None, "", prompt="Is it red?"),))])]
    assert isinstance(reply, Answer)
    assert "<image>" not in host.render("Is it red?", False)


@pytest.mark.parametrize(
    ("option", "golden"),
    [
        (
            "template=vicuna-v1",
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions. USER: <image>\nIs it red? ASSISTANT:",
        ),
        ("template=chat", "USER: <image>\nIs it red? ASSISTANT:"),
    ],
)
def test_the_prompt_is_rendered_as_the_template_says(folder, option, golden):
    lvlm = registry.make_lvlm(f"llava:{folder}?{option}", PLACE)(None)
    assert lvlm.render("Is it red?") == golden
    image_token = lvlm.host.model.config.image_token_id
    assert lvlm.tokens(golden).count(image_token) == 16


def test_unknown_words_in_a_spec_are_usage_errors(folder):
    for option, says in [("template=x", "vicuna-v1"), ("pad=stretch", "pad .* and crop"), ("dtype=int3", "fp32"),
                         ("colour=red", "no option 'colour'"), ("quantize=3bit", "8bit and 4bit")]:  # fmt: skip
        with pytest.raises(UsageError, match=says):
            registry.make_lvlm(f"llava:{folder}?{option}", PLACE)


def test_nan_weights_are_degenerate(tiny, tmp_path):
    model = tiny.llava_model()
    model.model.language_model.layers[1].mlp.up_proj.weight.data[0, 0] = float("nan")
    tiny.save_llava(model, tmp_path)
    with pytest.raises(DegenerateError, match=r"layers.1.mlp.up_proj"):
        registry.make_lvlm(f"llava:{tmp_path}", PLACE)


def test_what_is_no_llava_is_refused(tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(), tmp_path / "clip")
    with pytest.raises(ModelError, match="'clip'"):
        registry.make_lvlm(f"llava:{tmp_path / 'clip'}", PLACE)
    with pytest.raises(ModelError, match="no folder at /nowhere"):
        registry.make_lvlm("llava:/nowhere", PLACE)


@pytest.mark.parametrize(("spec", "text", "p_yes"), [("parrot", "Yes", 1.0), ("parrot:no", "No", 0.0)])
def test_a_parrot_says_one_thing(spec, text, p_yes):
    replies = [r for _, r in registry.make_lvlm(spec, PLACE)(None).answers([Asked(None, (Sample("1", None, ""),))])]
    assert replies == [Answer(text, p_yes)]
    with pytest.raises(UsageError, match="says yes or no"):
        registry.make_lvlm("parrot:maybe", PLACE)


VISION = {
    "num_attention_heads": (1, 2, 4, 8),
    "layer_norm_eps": (1e-5, 1e-6, 1e-3),
    "intermediate_size": (256, 128),
    "hidden_act": ("quick_gelu", "gelu"),
    "num_hidden_layers": (3, 4),
    "patch_size": (8, 16),
    "image_size": (32, 48),
    "hidden_size": (64, 32),
}
PIXELS = {
    "image_mean": ([0.48145466, 0.4578275, 0.40821073], [0.5] * 3),
    "image_std": ([0.26862954, 0.26130258, 0.27577711], [0.5] * 3),
}


@given(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in (VISION | PIXELS).items()})
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_swapped_tower_computes_what_it_computes_alone_or_is_refused(host, tiny, tmp_path_factory, change):
    told = tiny.clip_config()
    vision = told.vision_config.to_dict() | {name: value for name, value in change.items() if name in VISION}
    torch.manual_seed(3)
    alone = CLIPVisionModel(CLIPVisionConfig(**vision)).eval()
    folder = tmp_path_factory.mktemp("tower")
    alone.save_pretrained(folder)
    processor = tiny.image_processor(vision["image_size"])
    for name in PIXELS:
        setattr(processor, name, change.get(name, PIXELS[name][0]))
    processor.save_pretrained(folder)
    try:
        speaker = host(registry.make_encoder(f"clip:{folder}", PLACE))
    except ModelError:
        assert any(value != (VISION | PIXELS)[name][0] for name, value in change.items())
        return
    page = torch.rand(2, 3, 32, 32)
    model = host.model.model
    with torch.inference_mode():
        expected = alone(page, output_hidden_states=True).hidden_states[model.config.vision_feature_layer][:, 1:]
        seen = model.vision_tower(page, output_hidden_states=True).hidden_states[model.config.vision_feature_layer]
        assert torch.allclose(seen[:, 1:], expected, atol=1e-6, rtol=0)
        wanted = model.multi_modal_projector(expected).flatten(0, 1)
        given_ = model.get_image_features(pixel_values=page, return_dict=True).pooler_output
        assert torch.allclose(torch.cat(list(given_)), wanted, atol=1e-6, rtol=0)
    assert speaker.digests()["tower"] == identity.tower_digest(alone)


def test_the_digest_of_a_tower_covers_what_computes_with_its_weights(tiny):
    tower = CLIPVisionModel(tiny.clip_config().vision_config)
    before = identity.tower_digest(tower), identity.weights_digest(tower)
    tower.config.layer_norm_eps = 1e-3
    assert identity.tower_digest(tower) != before[0]
    assert identity.weights_digest(tower) == before[1]


def siglip_llava(tiny, folder, strategy):
    tokenizer = tiny.language_tokenizer()
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=3,
                                         num_attention_heads=2, image_size=32, patch_size=8),
        text_config=tiny.llava_model().config.text_config, vision_feature_select_strategy=strategy,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_seq_length=16,
    )  # fmt: skip
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer=tokenizer, patch_size=8,
        vision_feature_select_strategy=strategy, num_additional_image_tokens=0, chat_template=tiny.CHAT,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def test_a_llava_with_a_siglip_is_asked_with_a_token_for_each_patch(tiny, tmp_path):
    lvlm = registry.make_lvlm(f"llava:{siglip_llava(tiny, tmp_path / 'full', 'full')}", PLACE)(None)
    page = lvlm.request(Asked(tiny.pictures()[0], (Sample("1", None, "", prompt="Is there a dog?"),)))
    assert page.prompts[0].tokens.count(lvlm.host.model.config.image_token_id) == 16
    assert len(ask(lvlm, tiny.pictures(2))) == 4


def test_a_llava_that_drops_a_siglips_first_patch_for_a_class_token_is_refused(tiny, tmp_path):
    host = registry.make_lvlm(f"llava:{siglip_llava(tiny, tmp_path / 'default', 'default')}", PLACE)
    with pytest.raises(ModelError, match="has no class token, and its configuration drops the first patch"):
        ask(host(None), tiny.pictures(1))
