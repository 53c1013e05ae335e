"""``ohd-bench encoder …`` and ``ohd-bench align`` through the front door, on tiny models in the real layouts."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from harness import registry
from harness.types import Asked, Place, Sample

PLACE = Place(device="cpu")


@pytest.fixture(scope="module")
def root(tiny, tmp_path_factory):
    """A LLaVA, its own CLIP, a CLIP that was tuned a little, and misfits."""
    root = tmp_path_factory.mktemp("encoder")
    base = tiny.clip_model(2)
    tiny.save_clip(base, root / "base")
    tiny.save_llava(tiny.llava_model(tower=base), root / "llava")
    torch.manual_seed(11)
    with torch.no_grad():
        for weight in base.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    tiny.save_clip(base, root / "tuned")
    misfits = {"narrow": {"width": 48}, "gelu": {"activation": "gelu"}, "large": {"size": 48}, "coarse": {"patch": 16},
               "deep": {"blocks": 4}}  # fmt: skip
    for name, change in misfits.items():
        tiny.save_clip(tiny.clip_model(3, **change), root / name)
    for name, key, values in (("grey", "image_mean", [0.5, 0.5, 0.5]), ("flat", "image_std", [0.5, 0.5, 0.5])):
        path = tiny.save_clip(tiny.clip_model(3), root / name) / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: values}))
    tiny.save_pt(tiny.open_clip_model(), root / "x.pt")
    return root


def answers(text, tiny, encoder=None):
    lvlm = registry.make_lvlm(text, PLACE)(registry.make_encoder(encoder, PLACE) if encoder else None)
    sample = Sample("1", None, "", prompt="Is there a dog?", tokens=6)
    return [reply for _, reply in lvlm.answers(Asked(image, (sample,)) for image in tiny.pictures())]


def test_inspect_says_what_an_encoder_is(cli, root):
    said = cli("encoder", "inspect", f"clip:{root / 'base'}", "--json")
    found = said.json()
    assert said.code == 0
    assert re.fullmatch("[0-9a-f]{64}", found["tower"])
    shown = {key: found[key] for key in ("activation", "width", "blocks", "patches", "resolution", "pooling")}
    assert shown == {"activation": "quick_gelu", "width": 64, "blocks": 3, "patches": 16, "resolution": 32,
                     "pooling": "class token, post-norm"}  # fmt: skip
    assert "quick_gelu" in cli("encoder", "inspect", f"clip:{root / 'base'}").out


def test_inspect_refuses_bare_weights_of_unknown_activation(cli, root):
    said = cli("encoder", "inspect", f"open-clip:{root / 'x.pt'}")
    assert said.code == 4
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert "?activation=quick_gelu or ?activation=gelu" in said.err


def test_a_conversion_there_and_back_keeps_digest_and_rows(cli, root, tmp_path):
    there = cli("encoder", "convert", f"clip:{root / 'base'}", "--to", "open-clip", "--out", tmp_path / "oc", "--json")
    assert there.code == 0, there.err
    assert f"now: ohd-bench run --encoder open-clip:{tmp_path / 'oc'}" in " ".join(there.err.split())
    back = cli("encoder", "convert", f"open-clip:{tmp_path / 'oc'}", "--to", "hf", "--out", tmp_path / "hf", "--json")
    for found in (there.json(), back.json()):
        assert found["digest"] == found["digest_after"]
        assert found["max_image_difference"] < 1e-6
        assert found["max_text_difference"] < 1e-5
    first, last = load_file(root / "base/model.safetensors"), load_file(tmp_path / "hf/model.safetensors")
    assert first.keys() == last.keys()
    assert all(torch.equal(first[name], last[name]) for name in first)


def test_open_clip_itself_loads_what_was_converted(cli, root, tiny, tmp_path):
    import open_clip

    cli("encoder", "convert", f"clip:{root / 'base'}", "--to", "open-clip", "--out", tmp_path / "oc")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'oc'}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'oc'}")
    encoder = registry.make_encoder(f"clip:{root / 'base'}", PLACE)
    squares = [image.resize((32, 32)) for image in tiny.pictures()]
    with torch.no_grad():
        images = model.eval().encode_image(torch.stack([preprocess(image) for image in squares]), normalize=True)
        texts = model.encode_text(tokenizer(list(tiny.TEXTS)), normalize=True)
    torch.testing.assert_close(encoder.encode_images(squares), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode_texts(tiny.TEXTS), texts, atol=1e-5, rtol=0)


def test_nothing_is_overwritten_by_a_conversion(cli, root):
    said = cli("encoder", "convert", f"clip:{root / 'base'}", "--to", "hf", "--out", root / "tuned")
    assert said.code == 2
    assert "nothing is overwritten" in said.err
    assert cli("encoder", "convert", f"clip:{root / 'base'}", "--to", "onnx", "--out", root / "new").code == 2


def test_check_reports_drift_and_the_share_of_the_update_that_the_lvlm_sees(cli, root):
    said = cli(
        "encoder", "check", f"clip:{root / 'tuned'}", "--lvlm", f"llava:{root / 'llava'}", "--count", 4, "--json"
    )
    assert said.code == 0, said.err
    found = said.json()
    assert found["fits"]
    assert found["swap"] == "swapped"
    assert found["layer"] == -2
    for where in ("patch_tokens", "projected"):
        drift = found[where]
        assert 0 < drift["cosine"]["p05"] <= drift["cosine"]["p50"] < 1
        assert 0 < drift["relative_l2"]["p50"] < 1
        assert 0.5 < drift["norm_ratio"] < 2
        assert 0.5 < drift["linear_cka"] < 1
    # A third of the blocks, and the post-norm, are never read.
    assert 0.5 < found["weights"]["visible_share"] < 0.85


def test_check_of_the_own_tower_finds_no_drift(cli, root):
    said = cli("encoder", "check", f"clip:{root / 'base'}", "--lvlm", f"llava:{root / 'llava'}", "--count", 4, "--json")
    found = said.json()
    assert found["swap"] == "own tower"
    assert found["tower"] == found["own_tower"]
    assert found["patch_tokens"]["relative_l2"]["p95"] == 0
    assert found["patch_tokens"]["linear_cka"] == pytest.approx(1)
    assert found["weights"] == {"relative_update": 0, "visible_share": None}


def test_a_change_that_the_lvlm_never_reads_is_no_drift(cli, root, tiny, tmp_path):
    late = tiny.clip_model(2)
    with torch.no_grad():
        late.vision_model.encoder.layers[-1].mlp.fc1.weight.add_(0.1)
        late.vision_model.post_layernorm.weight.add_(0.1)
    tiny.save_clip(late, tmp_path / "late")
    said = cli(
        "encoder", "check", f"clip:{tmp_path / 'late'}", "--lvlm", f"llava:{root / 'llava'}", "--count", 4, "--json"
    )
    found = said.json()
    assert found["swap"] == "swapped"
    assert found["weights"]["visible_share"] == 0
    assert found["patch_tokens"]["relative_l2"]["p95"] == 0


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("clip:{root}/narrow", "it is 48 wide, the projector reads 64"),
        ("clip:{root}/gelu", "its activation is gelu, the LVLM's own has quick_gelu"),
        ("clip:{root}/large", "it reads 48 pixels, the LVLM gives 32; it gives 36 patch tokens, the LVLM expects 16"),
        ("clip:{root}/coarse", "its patches are 16 pixels, the LVLM's 8; it gives 4 patch tokens, the LVLM expects 16"),
        ("clip:{root}/deep", "it has 4 blocks, the LVLM's own has 3"),
        ("clip:{root}/grey", "normalised with mean (0.500, 0.500, 0.500), the LVLM's with (0.481, 0.458, 0.408)"),
        ("clip:{root}/flat", "normalised with std (0.500, 0.500, 0.500), the LVLM's with (0.269, 0.261, 0.276)"),
        ("hashing", "hashing has no vision tower"),
        ("clip:{root}/none", "no folder and no file at"),
        ("clip:no/such-model", "no model at no/such-model: there is no such folder here, and on the hub: "),
    ],
)
def test_check_of_a_misfit_is_exit_4_and_one_line(cli, root, spec, says):
    said = cli("encoder", "check", spec.format(root=root), "--lvlm", f"llava:{root / 'llava'}")
    assert said.code == 4
    assert says in said.err
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1


def test_check_of_a_misfit_says_what_would_fit(cli, root):
    said = cli("encoder", "check", f"clip:{root / 'narrow'}", "--lvlm", f"llava:{root / 'llava'}")
    assert "What fits is a CLIP ViT 64 wide with 3 blocks, patches of 8 at 32 pixels and quick_gelu" in said.err


def test_check_with_other_troubles_ends_with_their_codes(cli, root, tiny, tmp_path):
    good, lvlm = f"clip:{root / 'tuned'}", f"llava:{root / 'llava'}"
    (tmp_path / "empty").mkdir()
    assert cli("encoder", "check", good, "--lvlm", lvlm, "--images", tmp_path / "empty").code == 3
    assert cli("encoder", "check", good, "--lvlm", f"{lvlm}?colour=red").code == 2
    assert cli("encoder", "check", good, "--lvlm", "lava").code == 2
    assert cli("encoder", "check", good, "--lvlm", f"llava:{tmp_path / 'empty'}").code == 4
    assert cli("encoder", "check", f"open-clip:{root / 'x.pt'}", "--lvlm", lvlm).code == 4
    broken = tiny.clip_model(2)
    broken.vision_model.pre_layrnorm.weight.data[3] = float("inf")
    tiny.save_clip(broken, tmp_path / "nan")
    said = cli("encoder", "check", f"clip:{tmp_path / 'nan'}", "--lvlm", lvlm)
    assert said.code == 6
    assert "pre_layrnorm" in said.err


def test_check_needs_an_lvlm_with_a_tower(cli, root):
    said = cli("encoder", "check", f"clip:{root / 'base'}", "--lvlm", "parrot")
    assert said.code == 4
    assert "carries no tower" in said.err


def test_diff_shows_which_part_of_the_weights_changed(cli, root, tiny, tmp_path):
    late = tiny.clip_model(2)
    with torch.no_grad():
        late.vision_model.encoder.layers[1].mlp.fc1.weight.mul_(1.5)
    tiny.save_clip(late, tmp_path / "late")
    found = cli("encoder", "diff", f"clip:{root / 'base'}", f"clip:{tmp_path / 'late'}", "--count", 4, "--json").json()
    assert not found["same"]
    assert {name for name, one in found["weights"].items() if one["share"]} == {"vision block  1"}
    assert found["image_cosine"]["p50"] < 1
    assert found["text_cosine"]["p05"] == pytest.approx(1)
    same = cli("encoder", "diff", f"clip:{root / 'base'}", f"clip:{root / 'base'}", "--count", 4, "--json").json()
    assert same["same"]
    other = cli("encoder", "diff", f"clip:{root / 'base'}", f"clip:{root / 'gelu'}", "--count", 4, "--json").json()
    assert other["settings"]["activation"] == ["quick_gelu", "gelu"]
    narrow = cli("encoder", "diff", f"clip:{root / 'base'}", f"clip:{root / 'narrow'}", "--count", 4, "--json").json()
    assert narrow["weights"].startswith("other architectures")


def hub_names(vision_blocks: int, language_blocks: int) -> set[str]:
    """The tensors of llava-hf/llava-1.5-7b-hf by name, for towers of so many blocks."""
    names = {
        "language_model.lm_head.weight",
        "language_model.model.embed_tokens.weight",
        "language_model.model.norm.weight",
    }
    for n in range(language_blocks):
        layer = f"language_model.model.layers.{n}"
        names |= {f"{layer}.self_attn.{x}_proj.weight" for x in "qkvo"}
        names |= {f"{layer}.mlp.{x}_proj.weight" for x in ("gate", "up", "down")}
        names |= {f"{layer}.input_layernorm.weight", f"{layer}.post_attention_layernorm.weight"}
    tower = "vision_tower.vision_model"
    names |= {f"{tower}.embeddings.{x}" for x in ("class_embedding", "patch_embedding.weight")}
    names |= {f"{tower}.embeddings.position_embedding.weight"}
    both = ("weight", "bias")
    names |= {f"{tower}.{norm}.{x}" for norm in ("pre_layrnorm", "post_layernorm") for x in both}
    for n in range(vision_blocks):
        parts = [f"self_attn.{x}_proj" for x in ("q", "k", "v", "out")] + [
            "mlp.fc1",
            "mlp.fc2",
            "layer_norm1",
            "layer_norm2",
        ]
        names |= {f"{tower}.encoder.layers.{n}.{part}.{x}" for part in parts for x in both}
    return names | {f"multi_modal_projector.linear_{n}.{x}" for n in (1, 2) for x in both}


def test_the_merged_folder_is_a_standard_llava_with_the_swapped_tower(cli, root, tiny, tmp_path):
    out = tmp_path / "merged"
    said = cli(
        "encoder", "merge", f"clip:{root / 'tuned'}", "--into", f"llava:{root / 'llava'}", "--out", out, "--json"
    )
    assert said.code == 0, said.err
    assert said.json()["swap"] == "swapped"
    assert set(load_file(out / "model.safetensors")) == hub_names(3, 2)
    swapped = answers(f"llava:{root / 'llava'}", tiny, f"clip:{root / 'tuned'}")
    assert answers(f"llava:{out}", tiny) == swapped != answers(f"llava:{root / 'llava'}", tiny)
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert config["model_type"] == "llava"
    assert config["torch_dtype"] == "float32"
    images = json.loads((out / "preprocessor_config.json").read_text())
    assert images["image_processor_type"] == "CLIPImageProcessor"
    assert json.loads((out / "processor_config.json").read_text())["patch_size"] == 8
    assert "ASSISTANT" in json.loads((out / "chat_template.json").read_text())["chat_template"]
    assert (out / "tokenizer.json").is_file()
    # transformers 4 knows neither transformers 5's tokenizer class nor its rope_parameters.
    assert json.loads((out / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["text_config"]["rope_theta"] == 10000.0
    assert str(root) not in "".join(path.read_text() for path in out.glob("*.json"))


def test_an_original_llava_is_merged_into_the_hub_layout_with_a_chat_template(cli, root, tiny, tmp_path):
    tiny.save_original(tiny.llava_model(tower=tiny.clip_model(2)), tmp_path / "original", root / "base")
    out = tmp_path / "merged"
    said = cli("encoder", "merge", f"clip:{root / 'tuned'}", "--into", f"llava:{tmp_path / 'original'}", "--out", out)
    assert said.code == 0, said.err
    assert set(load_file(out / "model.safetensors")) == hub_names(3, 2)
    rendered = registry.make_lvlm(f"llava:{out}?template=chat", PLACE)(None).render("Is it red?")
    assert rendered.endswith("user's questions. USER: <image>\nIs it red? ASSISTANT:")


def test_a_closed_form_alignment_is_in_the_merged_folder(cli, root, tiny, tmp_path):
    for n, image in enumerate(tiny.pictures(6)):
        image.save(tmp_path / f"{n}.png")
    into, encoder = f"llava:{root / 'llava'}?align=ridge&images={tmp_path}", f"clip:{root / 'tuned'}"
    said = cli("encoder", "merge", encoder, "--into", into, "--out", tmp_path / "merged")
    assert said.code == 0, said.err
    assert answers(f"llava:{tmp_path / 'merged'}", tiny) == answers(into, tiny, encoder)


# The alignment ladder


@pytest.mark.parametrize("how", ["stats", "ridge"])
def test_a_closed_form_map_undoes_a_change_of_every_channel(root, tiny, tmp_path, how):
    """A tower that differs by one gain and offset a channel reads as the own one does once the map is folded in."""
    from harness.vision_language.align import closed

    host = registry.make_lvlm(f"llava:{root / 'llava'}", PLACE)
    own_NC = torch.randn(200, 64)
    gain, offset = torch.rand(64) + 0.5, torch.randn(64)
    new_NC = own_NC * gain + offset
    found = (closed.per_channel if how == "stats" else lambda a, b: closed.ridge(a, b, 1e-9))(new_NC, own_NC)
    projector = host.projector
    expected = projector(own_NC)
    before = (projector(new_NC) - expected).abs().max()
    projector.load_state_dict(closed.folded(projector, found))
    assert (projector(new_NC) - expected).abs().max() < 1e-4 < before


def test_ridge_on_unchanged_tokens_is_the_identity():
    from harness.vision_language.align import closed

    torch.manual_seed(0)
    tokens = torch.randn(100, 8)
    found = closed.ridge(tokens, tokens)
    torch.testing.assert_close(found.matrix, torch.eye(8, dtype=torch.double))
    torch.testing.assert_close(found.shift, torch.zeros(8, dtype=torch.double), atol=1e-9, rtol=0)


@pytest.mark.parametrize("how", ["stats", "ridge"])
def test_a_closed_form_alignment_brings_the_projected_tokens_nearer(root, tiny, tmp_path, how):
    from harness.vision_language import drift

    for n, image in enumerate(tiny.pictures(12)):
        image.save(tmp_path / f"{n}.png")
    encoder = registry.make_encoder(f"clip:{root / 'tuned'}", PLACE)
    text = f"llava:{root / 'llava'}?align={how}&images={tmp_path}"
    plain, aligned = (registry.make_lvlm(t, PLACE) for t in (f"llava:{root / 'llava'}", text))
    drop_in, mapped = plain(encoder), aligned(encoder)
    assert mapped.describe()["align"] == how
    assert mapped.digests()["projector"] != drop_in.digests()["projector"]
    assert mapped.digests()["language_model"] == drop_in.digests()["language_model"]
    own, new = (drift.tokens(plain, tower, tiny.pictures(4)) for tower in (plain.own, mapped.view.tower))
    with torch.no_grad():
        wanted = drop_in.view.projector(own)
        distance = [(view.projector(new) - wanted).norm() for view in (drop_in.view, mapped.view)]
    assert distance[1] < (0.97 if how == "stats" else 0.9) * distance[0]
    assert aligned(None).digests()["projector"] == plain(None).digests()["projector"]


def test_a_closed_form_alignment_needs_images_and_a_known_name(root):
    from harness.errors import UsageError

    encoder = registry.make_encoder(f"clip:{root / 'tuned'}", PLACE)
    with pytest.raises(UsageError, match=r"add &images=FOLDER"):
        registry.make_lvlm(f"llava:{root / 'llava'}?align=stats", PLACE)(encoder)
    with pytest.raises(UsageError, match="there is none, stats, ridge, projector:DIR and lora:DIR"):
        registry.make_lvlm(f"llava:{root / 'llava'}?align=magic", PLACE)
