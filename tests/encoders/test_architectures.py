"""What bare weights and architectures' names leave open is taken from what was published, or refused, or said."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from encoders.towers import bare, convert, hub, openclip, pixels
from harness import registry
from harness.console import say_assumed
from harness.errors import ModelError, UsageError
from harness.types import Place

registry.load()
PLACE = Place(device="cpu")
STANDARD = [name for name in open_clip.list_models() if not convert.why_not_standard(open_clip.get_model_config(name))]


@pytest.mark.parametrize("name", STANDARD)
def test_bare_weights_get_the_heads_of_the_published_architecture(name):
    config = open_clip.get_model_config(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    assert bare.vision_heads(vision["width"]) == vision["width"] // vision.get("head_width", 64)
    assert bare.text_heads(text["width"]) == text["heads"]


def test_the_widest_published_towers_are_among_them():
    assert {"ViT-H-14", "ViT-g-14", "ViT-bigG-14"} <= set(STANDARD)


def test_bare_weights_of_an_unpublished_width_are_refused(tiny, tmp_path):
    model = tiny.clip_model(width=48)
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"open-clip:ARCH\?weights=FILE"):
        registry.make_encoder(f"clip:{tmp_path / 'x.safetensors'}?activation=gelu", PLACE)


def test_the_tower_inside_a_llava_keeps_its_own_activation_and_follows_the_revision(tiny, tmp_path, monkeypatch):
    folder = tiny.save_llava(tiny.llava_model(), tmp_path / "llava")
    with pytest.raises(UsageError, match=r"no \?activation="):
        registry.make_encoder(f"clip:{folder}?activation=gelu", PLACE)
    asked = []
    local, of_folder = hub.local, pixels.of_folder
    monkeypatch.setattr(hub, "local", lambda *told, **more: asked.append(more) or local(*told, **more))
    monkeypatch.setattr(pixels, "of_folder", lambda *told, **more: asked.append(more) or of_folder(*told, **more))
    registry.make_encoder(f"clip:{folder}?revision=abc", PLACE)
    assert asked == [{"revision": "abc"}] * 2


def test_a_revision_of_a_llava_is_what_is_fetched(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **more: asked.update(more) or str(tmp_path))
    assert hub.local("some/llava", revision="abc") == tmp_path
    assert asked["revision"] == "abc"


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "ViT-B-32", "ViT-L-14-CLIPA", "ViT-L-14-336"])
def test_a_named_architecture_has_the_pixels_of_its_published_weights(name, tmp_path):
    found = openclip._found(registry.parse_spec(f"open-clip:{name}?weights={tmp_path / 'x.pt'}"))
    known = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    assert {tuple(one["mean"]) for one in known} == {tuple(found.preprocess["mean"])}
    assert {one["resize_mode"] for one in known} == {found.preprocess["resize_mode"]}
    assert not found.assumed


@pytest.mark.parametrize(("tags", "why"), [(["one", "other"], "differ"), ([], "are none")])
def test_pixels_that_the_published_weights_do_not_agree_on_are_recorded_as_assumed(
    tiny, tmp_path, monkeypatch, tags, why
):
    cfgs = {"one": {"mean": (0.5, 0.5, 0.5)}, "other": {"mean": (0.4, 0.4, 0.4)}}
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: tags)
    monkeypatch.setattr(openclip.pretrained, "get_pretrained_cfg", lambda name, tag: cfgs[tag])
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: {**tiny.OPEN_CLIP})
    monkeypatch.setattr(openclip, "_tokenizer", lambda name: open_clip.SimpleTokenizer(context_length=24))
    torch.save(tiny.open_clip_model().state_dict(), tmp_path / "x.pt")
    told = registry.make_encoder(f"open-clip:ViT-B-32?weights={tmp_path / 'x.pt'}", PLACE).describe()
    assert told["preprocessing"].startswith("assumed: ")
    assert why in told["preprocessing"]
    assert told["mean"][0] == pytest.approx(0.481, abs=1e-3)


def test_an_encoder_that_brings_its_own_code_is_refused_without_running_it(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}'
    )
    (tmp_path / "own.py").write_text("raise SystemExit('this ran')\n")
    with pytest.raises(ModelError, match="custom code"):
        registry.make_encoder(f"clip:{tmp_path}", PLACE)


def test_an_activation_that_was_only_assumed_is_recorded_and_said(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: {**tiny.OPEN_CLIP, "quick_gelu": False})
    torch.save(tiny.open_clip_model().state_dict(), tmp_path / "x.pt")
    encoder = registry.make_encoder(f"open-clip:ViT-B-32?weights={tmp_path / 'x.pt'}", PLACE)
    say_assumed(encoder)
    assert encoder.describe()["activation"] == "gelu"
    assert encoder.describe()["activation_from"].startswith("assumed: gelu, as open_clip's ViT-B-32 computes it")
    assert "activation assumed: gelu" in " ".join(capsys.readouterr().err.split())
    asked = registry.make_encoder(f"open-clip:ViT-B-32?weights={tmp_path / 'x.pt'}&activation=quick_gelu", PLACE)
    assert "activation_from" not in asked.describe()
    assert asked.digest() != encoder.digest()


PUBLISHED = [("ViT-B-32-quickgelu", "laion400m_e32"), ("ViT-B-32", "laion2b_e16"), ("ViT-B-16-quickgelu", "dfn2b")]


@pytest.mark.parametrize(("name", "tag"), PUBLISHED)
def test_a_file_named_as_published_weights_is_not_loaded_with_the_other_activation(tiny, tmp_path, name, tag):
    known = open_clip.get_pretrained_cfg(name, tag)
    file = str(known.get("url", "")).rpartition("/")[2]
    if not file:
        pytest.skip(f"open_clip gives no address for {name} {tag}")
    other = name.removesuffix("-quickgelu") if "quickgelu" in name else f"{name}-quickgelu"
    torch.save(tiny.open_clip_model().state_dict(), tmp_path / file)
    trained = "quick_gelu" if known.get("quick_gelu") else "gelu"
    with pytest.raises(ModelError, match=f"was trained with {trained}"):
        registry.make_encoder(f"open-clip:{other}?weights={tmp_path / file}", PLACE)


def test_a_configuration_that_names_no_activation_is_said_to_be_assumed(tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(), tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    del told["vision_config"]["hidden_act"]
    (tmp_path / "config.json").write_text(json.dumps(told))
    told = registry.make_encoder(f"clip:{tmp_path}", PLACE).describe()
    assert told["activation_from"].startswith("assumed: quick_gelu, transformers' default")
