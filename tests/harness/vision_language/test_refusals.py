"""What would quietly give a wrong model is refused: quantised folding and writing, offloading, foreign code."""

from __future__ import annotations

import json
import shutil
import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module

from harness import registry
from harness.errors import ModelError
from harness.types import Place
from harness.vision_language import family
from harness.vision_language.layouts import checkpoint, lora, merge
from harness.vision_language.layouts.folder import require_in_memory

registry.load()
PLACE = Place(device="cpu")


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    return tiny.save_llava(tiny.llava_model(), tmp_path_factory.mktemp("llava") / "hub")


@pytest.fixture
def foreign(folder, tmp_path):
    """A LLaVA whose files ask for code of their own."""
    copy = shutil.copytree(folder, tmp_path / "foreign")
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        told = json.loads((copy / name).read_text()) if (copy / name).is_file() else {}
        calls = {"AutoProcessor": "own.Processor", "AutoTokenizer": ["own.Tokenizer", None]}
        foreign = {"processor_class": "OwnProcessor", "tokenizer_class": "OwnTokenizer", "auto_map": calls}
        (copy / name).write_text(json.dumps(told | foreign))
    (copy / "own.py").write_text("raise SystemExit('this ran')\n")
    return copy


def test_quantising_leaves_tower_projector_and_head_alone(tiny):
    model = tiny.llava_model()
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    changed = {name for name in linear if should_convert_module(name, list(checkpoint.NOT_QUANTISED))}
    assert changed == {name for name in linear if ".language_model." in name}
    assert len(changed) < len(linear)


def test_the_names_that_are_not_quantised_are_what_transformers_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
    monkeypatch.setattr("transformers.BitsAndBytesConfig", lambda **told: told)
    told = checkpoint.quantised("8bit", torch.float16)
    assert told["llm_int8_skip_modules"] == list(checkpoint.NOT_QUANTISED)


@pytest.mark.parametrize("option", ["lora=LORA", "align=lora:LORA"])
def test_a_lora_and_quantising_do_not_go_together(folder, option):
    with pytest.raises(ModelError, match="a LoRA is folded in before quantising: write the merged folder first"):
        registry.make_lvlm(f"llava:{folder}?quantize=8bit&{option}", PLACE)


def test_a_lora_is_not_added_to_weights_that_are_no_floats(tmp_path):
    model = nn.ModuleDict({"part": nn.Linear(4, 4)})
    model["part"].weight = nn.Parameter(torch.ones(4, 4, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match="a LoRA is folded in before quantising"):
        lora._add(model, "part.weight", torch.ones(4, 4), tmp_path)
    assert (model["part"].weight == 1).all()


@pytest.mark.parametrize("layer", [99, -99, 10**20, True])
def test_an_lvlm_that_reads_a_layer_its_tower_has_not_is_refused_when_it_is_loaded(folder, tmp_path, cli, layer):
    copy = shutil.copytree(folder, tmp_path / "odd")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"vision_feature_layer": layer}))
    said = cli("run", "--lvlm", f"llava:{copy}", "-t", "pope", "--limit", "1", "--results", tmp_path / "results")
    assert said.code == 4, said.err
    assert "vision_feature_layer" in said.err


@pytest.mark.parametrize(("part", "key"), [("text_config", "intermediate_size"), ("vision_config", "patch_size")])
def test_weights_of_other_shapes_than_the_configuration_says_are_named(folder, tmp_path, cli, part, key):
    copy = shutil.copytree(folder, tmp_path / "odd")
    config = json.loads((copy / "config.json").read_text())
    config[part][key] *= 2
    (copy / "config.json").write_text(json.dumps(config))
    for kind in ("llava", "vlm"):
        said = cli("run", "--lvlm", f"{kind}:{copy}", "-t", "pope", "--limit", "1", "--results", tmp_path / "results")
        assert said.code == 4, said.err
        assert "weights of other shapes than its config.json says, 'model." in said.err and " × " in said.err


def test_a_quantised_llava_is_not_written(folder, tmp_path):
    host = registry.make_lvlm(f"llava:{folder}", PLACE)
    host.model.hf_quantizer = object()
    with pytest.raises(ModelError, match="is quantised"):
        merge.merge(host, None, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_model_that_was_offloaded_in_part_is_refused(folder, monkeypatch):
    require_in_memory(nn.Linear(2, 2), "x")
    where = checkpoint.of_folder

    def offloaded(*told):
        loaded = where(*told)
        loaded.model.lm_head.to("meta")
        return loaded

    monkeypatch.setattr(checkpoint, "of_folder", offloaded)
    with pytest.raises(ModelError, match="does not fit on the GPUs: parts were offloaded"):
        registry.make_lvlm(f"llava:{folder}", PLACE)


def test_a_family_that_was_offloaded_in_part_is_refused(folder, monkeypatch):
    monkeypatch.setattr(family.Family, "_loaded", lambda self, folder: nn.Linear(2, 2, device="meta"))
    with pytest.raises(ModelError, match="does not fit on the GPUs: parts were offloaded"):
        registry.make_lvlm(f"vlm:{folder}", PLACE)


@pytest.mark.parametrize("name", ["llava", "vlm"])
def test_a_folder_that_brings_its_own_code_is_refused_without_running_it(foreign, name):
    with pytest.raises(ModelError, match="custom code"):
        registry.make_lvlm(f"{name}:{foreign}", PLACE)


def test_weights_of_another_shape_in_the_original_layout_are_named(tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(2), tmp_path / "tower")
    folder = tiny.save_original(tiny.llava_model(), tmp_path / "original", tmp_path / "tower")
    path = folder / "pytorch_model-00002-of-00002.bin"
    tensors = torch.load(path, weights_only=True)
    name = next(name for name in tensors if "norm" not in name)
    torch.save({**tensors, name: tensors[name][:-1].clone()}, path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        registry.make_lvlm(f"llava:{folder}", PLACE)
