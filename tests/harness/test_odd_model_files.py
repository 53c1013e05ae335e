"""A model whose files are odd does not load: one line, exit 4, whichever file and whatever a library makes of it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import registry
from harness.errors import ModelError
from harness.types import Place

FILES = {
    "clip": ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"],
    "llava": ["config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"],
}
ODD = {"no byte": b"", "a list": b"[]", "a word": b'"clip"', "no UTF-8": b"\xff\xfe\x00", "deep": b"[" * 100_000}
PARTS = ("vision_config", "text_config")
CONFIG = {
    "an unknown activation": lambda c: [c[part].update(hidden_act="swish9000") for part in PARTS],
    "heads that do not divide": lambda c: [c[part].update(num_attention_heads=3, head_dim=None) for part in PARTS],
    "no heads": lambda c: [c[part].update(num_attention_heads=0) for part in PARTS],
    "no patch": lambda c: c["vision_config"].update(patch_size=0),
    "a width in words": lambda c: [c[part].update(hidden_size="wide") for part in PARTS],
    "a list of layers": lambda c: c.update(vision_config=[]),
    "another kind": lambda c: c.update(model_type="nonsense"),
    "fewer blocks": lambda c: c["vision_config"].update(num_hidden_layers=1),
}
PIXELS = {
    "a mean in words": {"image_mean": ["a", "b", "c"]},
    "one mean": {"image_mean": [0.5]},
    "no spread": {"image_std": [0.0, 0.0, 0.0]},
    "no size": {"size": []},
    "another size": {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}},
    "an empty crop": {"crop_size": {"height": 0, "width": 0}},
    "an unknown filter": {"resample": 99},
}


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    registry.load()
    folder = tmp_path_factory.mktemp("whole")
    tiny.save_clip(tiny.clip_model(), folder / "clip")
    tiny.save_llava(tiny.llava_model(), folder / "llava")
    return folder


def loads(kind, folder) -> None:
    place = Place("cpu")
    if kind == "clip":
        registry.make_encoder(f"clip:{folder}", place)
    else:
        registry.make_lvlm(f"llava:{folder}", place)(None)


def refused(kind, folder) -> str:
    with pytest.raises(ModelError) as caught:
        loads(kind, folder)
    assert caught.value.code == 4
    return str(caught.value)


@pytest.fixture(params=["clip", "llava"])
def copied(request, whole, tmp_path):
    folder = shutil.copytree(whole / request.param, tmp_path / "model")
    loads(request.param, folder)
    return request.param, folder


def test_every_file_with_odd_bytes_is_refused(copied):
    kind, folder = copied
    for name in FILES[kind]:
        good = (folder / name).read_bytes()
        for odd, data in ODD.items():
            (folder / name).write_bytes(data)
            assert str(folder) in refused(kind, folder), (name, odd)
        (folder / name).write_bytes(good)


def test_every_config_that_no_model_can_have_is_refused(copied):
    kind, folder = copied
    good = (folder / "config.json").read_text()
    for change in CONFIG.values():
        config = json.loads(good)
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        refused(kind, folder)


def test_every_processor_whose_pixels_the_tower_cannot_read_is_refused_when_it_is_loaded(copied):
    kind, folder = copied
    path = folder / FILES[kind][1]
    good = path.read_text()
    for change in PIXELS.values():
        told = json.loads(good)
        told.get("image_processor", told).update(change)
        path.write_text(json.dumps(told))
        refused(kind, folder)


def test_the_command_ends_with_4_in_one_line(cli, whole, tmp_path):
    folder = shutil.copytree(whole / "clip", tmp_path / "model")
    (folder / "config.json").write_bytes(b"[]")
    said = cli("run", "--encoder", f"clip:{folder}", "-t", "ohd-caps", "--data", "micro", "--limit", 1)
    assert said.code == 4
    assert said.err.count("\n") == 1
    assert "cannot be loaded" in said.err


@pytest.mark.parametrize(("kind", "token"), [("clip", "bos_token"), ("clip", "eos_token"), ("llava", "bos_token")])
def test_a_tokenizer_whose_ids_the_model_has_no_row_for_is_refused_when_it_is_loaded(whole, tmp_path, kind, token):
    folder = tmp_path / kind
    shutil.copytree(whole / kind, folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            told = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps(told | {token: "a token that is new"}))
    assert "tokenizer" in refused(kind, folder)


@pytest.mark.parametrize("mean", [0.5, True, "0.5", {}])
def test_a_mean_that_is_no_list_of_channels_is_refused_when_a_tower_is_loaded(whole, tmp_path, mean):
    folder = tmp_path / "clip"
    shutil.copytree(whole / "clip", folder)
    told = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(told | {"image_mean": mean}))
    assert "clip" in refused("clip", folder)


def as_safetensors(held, folder):
    save_file(held, folder / "model.safetensors", {"format": "pt"})


def as_pickle(held, folder):
    (folder / "model.safetensors").unlink()
    torch.save(held, folder / "pytorch_model.bin")


def as_shards(held, folder):
    (folder / "model.safetensors").unlink()
    names = sorted(held)
    files = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, some in files.items():
        save_file({name: held[name] for name in some}, folder / file, {"format": "pt"})
    weight_map = {name: file for file, some in files.items() for name in some}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


PLACES = {"clip": ["vision_model", "text_model"], "llava": ["vision_tower", "language_model", "multi_modal_projector"]}


@pytest.mark.parametrize("write", [as_safetensors, as_pickle, as_shards])
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize(("kind", "part"), [(kind, part) for kind, parts in PLACES.items() for part in parts])
def test_weights_that_are_no_floats_are_refused_in_whatever_part_and_file(whole, tmp_path, kind, part, dtype, write):
    folder = shutil.copytree(whole / kind, tmp_path / "model")
    held = load_file(folder / "model.safetensors")
    name = next(name for name in held if part in name and name.endswith("weight"))
    write(held | {name: (held[name] * 100).to(dtype)}, folder)
    said = refused(kind, folder)
    assert "quantised weights are not read" in said and f"'{name}'" in said


@pytest.mark.parametrize("which", ["original", "bare", "open_clip", "projector"])
def test_nor_are_they_read_from_other_layouts(whole, tiny, tmp_path, which):
    torch.manual_seed(0)
    file = tmp_path / ("pytorch_model-00001-of-00002.bin" if which == "original" else "weights.pt")
    if which == "original":
        tiny.save_original(tiny.llava_model(), tmp_path, whole / "clip")
        held = torch.load(file, weights_only=True)
    elif which == "open_clip":
        held = tiny.open_clip_model().state_dict()
    else:
        held = load_file(whole / ("llava" if which == "projector" else "clip") / "model.safetensors")
        part = "multi_modal_projector." if which == "projector" else ""
        held = {name: tensor for name, tensor in held.items() if part in name}
    name = next(name for name in held if name.endswith("weight"))
    torch.save(held | {name: (held[name] * 100).to(torch.int16)}, file)
    lvlms = {"original": f"llava:{tmp_path}", "projector": f"llava:{whole / 'llava'}?projector={file}"}
    make = registry.make_lvlm if which in lvlms else registry.make_encoder
    with pytest.raises(ModelError, match="quantised weights are not read"):
        make(lvlms.get(which, f"clip:{file}?activation=gelu"), Place("cpu"))


@pytest.mark.parametrize("write", [as_safetensors, as_pickle, as_shards])
@pytest.mark.parametrize("kind", PLACES)
def test_floats_of_every_width_are_weights(whole, tmp_path, kind, write):
    folder = shutil.copytree(whole / kind, tmp_path / "model")
    held = load_file(folder / "model.safetensors")
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    held = {name: held[name].to(kinds[n % 4]) for n, name in enumerate(sorted(held))}
    held |= {"vision_model.embeddings.position_ids": torch.arange(5)} if kind == "clip" else {}
    write(held, folder)
    loads(kind, folder)


def test_the_command_says_in_one_line_that_a_llava_is_quantised(cli, whole, tmp_path):
    folder = shutil.copytree(whole / "llava", tmp_path / "model")
    held = load_file(folder / "model.safetensors")
    as_safetensors({n: (t * 100).to(torch.int8) if n.endswith("proj.weight") else t for n, t in held.items()}, folder)
    said = cli("run", "--lvlm", f"llava:{folder}", "-t", "pope", "--data", "micro", "--limit", 1)
    assert (said.code, said.err.count("\n")) == (4, 1)
    assert "quantised weights are not read" in said.err
