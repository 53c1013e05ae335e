"""One CLIP, however it was saved: one digest, the same rows; and what cannot be loaded says why."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2

from harness import registry
from harness.errors import DegenerateError, ModelError, UsageError
from harness.types import Place
from harness.vision_language import identity

registry.load()
PLACE = Place(device="cpu")


def load(text):
    return registry.make_encoder(text, PLACE)


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory) -> dict[str, str]:
    """One random CLIP: open_clip's folder and its bare .pt, and transformers' folder, converted by the product."""
    root = tmp_path_factory.mktemp("formats")
    model = tiny.open_clip_model()
    tiny.save_open_clip(model, root / "oc")
    tiny.save_pt(model, root / "epoch_3.pt")
    load(f"open-clip:{root / 'oc'}").save(root / "hf", "hf")
    load(f"clip:{root / 'hf'}").save(root / "back", "open-clip")
    return {
        "folder": f"open-clip:{root / 'oc'}",
        "pt": f"open-clip:{root / 'epoch_3.pt'}?activation=quick_gelu",
        "hf": f"clip:{root / 'hf'}",
        "back": f"open-clip:{root / 'back'}",
        "padded": f"clip:{root / 'hf'}?text=padded",
    }


@pytest.mark.parametrize("form", ["pt", "hf", "back", "padded"])
def test_every_format_of_one_clip_has_one_digest_and_the_same_rows(saved, tiny, form):
    first, other = load(saved["folder"]), load(saved[form])
    assert other.digest() == first.digest()
    assert other.tower_digest == first.tower_digest
    images, texts = tiny.pictures(4), tiny.TEXTS
    torch.testing.assert_close(other.encode_images(images), first.encode_images(images), atol=1e-6, rtol=0)
    torch.testing.assert_close(other.encode_texts(texts), first.encode_texts(texts), atol=1e-5, rtol=0)


@pytest.mark.parametrize("quick", [True, False])
def test_a_converted_clip_computes_what_open_clip_computes(tiny, tmp_path, quick):
    model = tiny.open_clip_model(3, quick_gelu=quick)
    tiny.save_pt(model, tmp_path / "x.pt")
    encoder = load(f"open-clip:{tmp_path / 'x.pt'}?activation={'quick_gelu' if quick else 'gelu'}")
    squares = [image.resize((32, 32)) for image in tiny.pictures()]
    transform = image_transform_v2(PreprocessCfg(size=32), is_train=False)
    ids = open_clip.SimpleTokenizer(context_length=24)(list(tiny.TEXTS))
    with torch.no_grad():
        pixels = torch.stack([transform(image) for image in squares])
        image_rows = model.encode_image(pixels, normalize=True)
        text_rows = model.encode_text(ids, normalize=True)
        blocks = model.visual.forward_intermediates(pixels, output_fmt="NLC", output_extra_tokens=True)
        ours = encoder.tower()(pixels, output_hidden_states=True).hidden_states
    torch.testing.assert_close(encoder.encode_images(squares), image_rows, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode_texts(tiny.TEXTS), text_rows, atol=1e-5, rtol=0)
    for patches, hidden in zip(blocks["image_intermediates"], ours[1:], strict=True):
        torch.testing.assert_close(hidden[:, 1:], patches, atol=1e-5, rtol=0)


def test_vit_b32_keeps_its_hidden_states(tmp_path):
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu").eval()
    torch.save(model.state_dict(), tmp_path / "b32.pt")
    encoder = load(f"open-clip:ViT-B-32-quickgelu?weights={tmp_path / 'b32.pt'}")
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        patches = model.visual.forward_intermediates(pixels, output_fmt="NLC")["image_intermediates"]
        hidden = encoder.tower()(pixels, output_hidden_states=True).hidden_states
    worst = max((h[:, 1:] - p).abs().max() for h, p in zip(hidden[1:], patches, strict=True))
    assert worst < 1e-5
    assert encoder.describe()["activation"] == "quick_gelu"


def test_pixels_are_those_of_transformers_own_processor(tiny, saved):
    encoder = load(saved["hf"])
    images = tiny.pictures(4)
    reference = tiny.image_processor()(images=images, return_tensors="pt")["pixel_values"]
    assert torch.equal(encoder.pixels(images), reference)


def test_a_changed_weight_changes_the_digest_and_half_precision_of_the_same_values_does_not(tiny):
    tower = tiny.clip_model().vision_model
    halved = {name: tensor.half() for name, tensor in tower.state_dict().items()}
    wide = {name: tensor.float() for name, tensor in halved.items()}
    same = [identity.values(identity.canonical(tensors)) for tensors in (halved, wide)]
    assert same[0] == same[1] != identity.weights_digest(tower)
    with torch.no_grad():
        tower.embeddings.class_embedding[0] += 1e-6
    assert identity.values(identity.canonical(tower.state_dict())) != same[0]


def test_a_lone_vision_tower_can_be_carried_and_has_no_words(tiny, tmp_path):
    model = tiny.open_clip_model(4)
    whole = load(f"open-clip:{tiny.save_pt(model, tmp_path / 'all.pt')}?activation=quick_gelu")
    torch.save(model.visual.state_dict(), tmp_path / "visual.pt")
    lone = load(f"open-clip:{tmp_path / 'visual.pt'}?activation=quick_gelu")
    assert lone.tower_digest == whole.tower_digest
    with pytest.raises(ModelError, match="no text tower"):
        lone.encode_texts(["a dog"])


def test_bare_weights_of_unknown_activation_are_refused(tiny, tmp_path):
    path = tiny.save_pt(tiny.open_clip_model(), tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"QuickGELU.*\?activation=quick_gelu or \?activation=gelu"):
        load(f"open-clip:{path}")


def test_nan_weights_are_degenerate(tiny, tmp_path):
    model = tiny.open_clip_model()
    model.visual.conv1.weight.data[0, 0, 0, 0] = float("nan")
    path = tiny.save_pt(model, tmp_path / "x.pt")
    with pytest.raises(DegenerateError, match="patch_embedding"):
        load(f"open-clip:{path}?activation=gelu")


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path):
    torch.save({"state_dict": Path("x")}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load(f"open-clip:{tmp_path / 'evil.pt'}?activation=gelu")


def test_torchscript_is_refused_as_the_program_it_is(tmp_path):
    path = tmp_path / "jit.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("jit/constants.pkl", b"")
    with pytest.raises(ModelError, match="TorchScript, a program"):
        load(f"open-clip:{path}?activation=gelu")


def test_missing_weights_are_no_random_numbers(tiny, tmp_path):
    folder = tiny.save_clip(tiny.clip_model(), tmp_path / "hf")
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["vision_model.post_layernorm.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights.*post_layernorm"):
        load(f"clip:{folder}")


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("open-clip:ViT-B-33?weights=x.pt", UsageError, "near it are ViT-B-32"),
        ("open-clip:ViT-B-32", UsageError, r"\?pretrained=TAG; ViT-B-32 has the tags openai"),
        ("open-clip:ViT-B-32?pretrained=openai", ModelError, "trained with quick_gelu, ViT-B-32 computes the other"),
        ("open-clip:ViT-B-32?weights=none.pt", ModelError, "no checkpoint at none.pt"),
        ("clip:/nowhere/at/all?activation=relu", UsageError, "quick_gelu or gelu"),
    ],
)
def test_what_cannot_be_loaded_says_why(text, kind, says):
    with pytest.raises(kind, match=says):
        load(text)


def test_a_folder_of_the_other_library_is_told_apart(saved, tmp_path):
    folder = saved["folder"].removeprefix("open-clip:")
    with pytest.raises(ModelError, match="write open-clip:"):
        load(f"clip:{folder}")
    with pytest.raises(ModelError, match="write clip:"):
        load(f"open-clip:{saved['hf'].removeprefix('clip:')}")


def test_another_resolution_is_an_error_and_not_an_interpolation(tiny, tmp_path):
    folder = tiny.save_open_clip(tiny.open_clip_model(), tmp_path / "oc")
    config = folder / "open_clip_config.json"
    config.write_text(config.read_text().replace('"image_size": 32', '"image_size": 48'))
    with pytest.raises(ModelError, match=r"position_embedding.*\(17, 64\).*\(37, 64\)"):
        load(f"open-clip:{folder}")


def test_a_timm_tower_keeps_open_clips_own_code_and_fits_no_llava(tmp_path):
    from encoders.towers import convert

    config = open_clip.get_model_config("EVA02-B-16")
    assert "timm_model_name" in convert.why_not_standard(config)
    assert "timm" in convert.why_not_standard(open_clip.get_model_config("ViT-B-16-SigLIP"))
    assert convert.why_not_standard(open_clip.get_model_config("ViT-L-14-336-quickgelu")) == ""
    shutil.rmtree(tmp_path)


def test_an_open_clip_model_that_is_no_standard_clip_is_computed_by_open_clip(tiny, tmp_path):
    import json

    config = {**tiny.OPEN_CLIP, "vision_cfg": {**tiny.OPEN_CLIP["vision_cfg"], "pool_type": "avg"}}
    torch.manual_seed(0)
    model = open_clip.CLIP(**config).eval()
    folder = tiny.save_open_clip(model, tmp_path / "oc")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    encoder = load(f"open-clip:{folder}")
    rows = encoder.encode_images(tiny.pictures())
    assert rows.shape == (3, 32)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3))
    texts = open_clip.SimpleTokenizer(context_length=24)(list(tiny.TEXTS))
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_texts(tiny.TEXTS), model.encode_text(texts, normalize=True))
    with pytest.raises(ModelError, match="avg pooling of patches"):
        encoder.tower()


def test_siglip_of_transformers_is_an_encoder_whose_tower_fits_no_llava_with_a_clip(tiny, tmp_path):
    from transformers import SiglipConfig, SiglipModel, SiglipProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokenizer = tiny.language_tokenizer()
    torch.manual_seed(0)
    model = SiglipModel(
        SiglipConfig(
            vision_config={**small, "image_size": 32, "patch_size": 8},
            text_config={**small, "vocab_size": len(tokenizer), "max_position_embeddings": 16},
        )
    )
    model.save_pretrained(tmp_path)
    SiglipProcessor(SiglipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(tmp_path)
    encoder = load(f"clip:{tmp_path}")
    assert encoder.encode_images(tiny.pictures()).shape == (3, 32)
    assert encoder.encode_texts(["a dog", "a cat"]).shape == (2, 32)
    llava = registry.make_lvlm(f"llava:{tiny.save_llava(tiny.llava_model(), tmp_path / 'llava')}", PLACE)
    with pytest.raises(ModelError, match="does not fit behind the same projector; ohd-bench align trains a new one"):
        llava(encoder)


def test_hashing_needs_no_weights_and_gives_unit_rows_that_depend_on_every_word(tiny):
    encoder = load("hashing")
    texts = encoder.encode_texts(["a dog", "a dog", "a cat"])
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(3))
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])
    images = encoder.encode_images(tiny.pictures())
    assert len({tuple(row.tolist()) for row in images}) == 3
    with pytest.raises(ModelError, match="no vision tower"):
        encoder.tower()


@pytest.mark.parametrize("name", ["ViT-L-14-336-quickgelu", "ViT-B-32", "ViT-H-14"])
def test_full_size_names_and_shapes_go_over_and_back(name):
    from transformers import CLIPModel

    from encoders.towers import convert

    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        theirs = open_clip.CLIP(**config).state_dict()
        ours = CLIPModel(convert.hub_config(config, "quick_gelu", 49407)).state_dict()
    converted = convert.to_hub(theirs)
    assert {n: tuple(t.shape) for n, t in converted.items()} == {n: tuple(t.shape) for n, t in ours.items()}
    back = convert.to_open_clip(converted)
    assert {n: tuple(t.shape) for n, t in back.items()} == {n: tuple(t.shape) for n, t in theirs.items()}
    again = convert.open_clip_config(convert.hub_config(config, "quick_gelu", 49407))
    with torch.device("meta"):
        assert {n: t.shape for n, t in open_clip.CLIP(**again).state_dict().items()} == {
            n: t.shape for n, t in theirs.items()
        }


@pytest.mark.parametrize("kind", ["clip", "tower"])
def test_a_folder_that_holds_a_block_more_than_its_configuration_is_refused(tiny, tmp_path, kind):
    model = tiny.clip_model()
    tiny.save_clip(model, tmp_path)
    if kind == "tower":
        model.vision_model.save_pretrained(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    vision = told if kind == "tower" else told["vision_config"]
    vision["num_hidden_layers"] -= 1
    (tmp_path / "config.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match=r"holds 16 weights that its config.json has no place for, '.*layers\.2\."):
        registry.make_encoder(f"clip:{tmp_path}", PLACE)


def test_a_folder_without_a_tokenizer_is_refused_when_it_is_loaded(tiny, tmp_path):
    tiny.clip_model().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no tokenizer files"):
        registry.make_encoder(f"clip:{tmp_path}", PLACE)


@pytest.mark.parametrize("inside", [True, False])
def test_the_tower_of_a_llava_in_its_own_layout_is_read_or_named(tiny, tmp_path, inside):
    model = tiny.llava_model()
    tiny.save_clip(tiny.clip_model(2), tmp_path / "tower")
    folder = tiny.save_original(model, tmp_path / "original", tmp_path / "tower", inside=inside)
    if inside:
        tower = registry.make_encoder(f"clip:{folder}", PLACE)
        assert tower.tower_digest == identity.tower_digest(model.model.vision_tower)
    else:
        with pytest.raises(ModelError, match=f"holds no tower; the one it names is clip:{tmp_path / 'tower'}"):
            registry.make_encoder(f"clip:{folder}", PLACE)


def test_a_tower_saved_as_robustvlm_saves_it_is_read_and_not_the_prompter_beside_it(tiny, tmp_path):
    model = tiny.open_clip_model()
    torch.save(
        {"epoch": 2, "state_dict": {"pad_up": torch.zeros(3)}, "vision_encoder_state_dict": model.visual.state_dict()},
        tmp_path / "x.pt",
    )
    torch.save(model.state_dict(), tmp_path / "whole.pt")
    towers = [
        registry.make_encoder(f"clip:{tmp_path / name}?activation=quick_gelu", PLACE) for name in ("x.pt", "whole.pt")
    ]
    assert towers[0].tower_digest == towers[1].tower_digest


def test_an_epsilon_that_open_clips_layout_cannot_say_is_refused(tiny, tmp_path):
    model = tiny.clip_model()
    model.config.vision_config.layer_norm_eps = 1e-3
    encoder = registry.make_encoder(f"clip:{tiny.save_clip(model, tmp_path / 'clip')}", PLACE)
    with pytest.raises(ModelError, match="epsilon"):
        encoder.save(tmp_path / "out", "open-clip")


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_a_vit_of_timm_that_transformers_has_as_well_is_an_eye_for_an_lvlm(kind, tiny, tmp_path):
    from timm.models import register_model
    from timm.models.vision_transformer import _create_vision_transformer

    name, form = {
        "siglip": ("vit_base_patch16_siglip_224", {"class_token": False, "global_pool": "map"}),
        "clip": ("vit_base_patch16_clip_224", {"pre_norm": True}),
    }[kind]

    small = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}

    def architecture(pretrained=False, **told):
        return _create_vision_transformer(name, **small, **form, **told)

    architecture.__name__, architecture.__module__ = f"vit_tiny_{kind}_of_a_test", "timm.models.vision_transformer"
    register_model(architecture)
    vision = {"image_size": 32, "timm_model_name": architecture.__name__, "timm_pool": "", "timm_proj": "linear"}
    config = {**tiny.OPEN_CLIP, "vision_cfg": vision}
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight.data, std=0.1)
    folder = tiny.save_open_clip(model, tmp_path / "oc")
    told = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    told = {"model_cfg": {**config, "custom_text": True}, "preprocess_cfg": told}
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    encoder = load(f"open-clip:{folder}")
    pixels = encoder.image_processor()(images=tiny.pictures(2), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels, torch.stack([encoder.transform(image) for image in tiny.pictures(2)]))
    tower = encoder.tower()
    assert tower.config.model_type == {"siglip": "siglip_vision_model", "clip": "clip_vision_model"}[kind]
    trunk, caught = model.visual.trunk, []
    trunk.blocks[1].register_forward_hook(lambda *given: caught.append(given[-1]))
    with torch.no_grad():
        trunk(pixels)
        read = tower(pixels, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(read, caught[0], atol=1e-4, rtol=1e-4)
