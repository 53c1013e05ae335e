"""One tower as an open_clip .pt, as a transformers folder and inside a LLaVA: one digest, one set of answers."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file, save_file

from harness import registry
from harness.types import Place


@pytest.fixture(scope="module")
def specs(tiny, tmp_path_factory):
    """The same random CLIP three ways, and two LLaVAs: one that carries it, one that carries another."""
    registry.load()
    root = tmp_path_factory.mktemp("one-tower")
    tiny.save_pt(tiny.open_clip_model(6), root / "epoch_3.pt")
    pt = f"open-clip:{root / 'epoch_3.pt'}?activation=quick_gelu"
    encoder = registry.make_encoder(pt, Place(device="cpu"))
    encoder.save(root / "hf", "hf")
    tiny.save_llava(tiny.llava_model(), root / "other")
    carrier = tiny.llava_model()
    carrier.model.vision_tower.load_state_dict(encoder.tower().state_dict())
    tiny.save_llava(carrier, root / "carrier")
    return {"pt": pt, "hf": f"clip:{root / 'hf'}", "inside": f"clip:{root / 'carrier'}",
            "carrier": f"llava:{root / 'carrier'}", "other": f"llava:{root / 'other'}"}  # fmt: skip


def test_one_digest_wherever_the_tower_lies(cli, specs):
    found = [cli("encoder", "inspect", specs[form], "--json").json() for form in ("pt", "hf", "inside")]
    assert len({one["tower"] for one in found}) == 1
    assert found[0]["digest"] == found[1]["digest"]


def records(results, task):
    """What was answered, by sample, in the one run of this folder."""
    (path,) = results.glob(f"*/{task}/records.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["id"]: row["answer"] for row in rows}


def test_the_same_ohd_caps_scores_from_both_files(cli, specs, tmp_path):
    kept = {}
    for form in ("pt", "hf"):
        said = cli("run", "--encoder", specs[form], "-t", "ohd-caps", "--limit", 4, "--results", tmp_path / form)
        assert said.code == 0, said.err
        kept[form] = records(tmp_path / form, "ohd-caps")
    assert len(kept["pt"]) >= 4
    assert kept["pt"].keys() == kept["hf"].keys()
    for id, answer in kept["pt"].items():
        assert answer["scores"] == pytest.approx(kept["hf"][id]["scores"], abs=1e-5)


def test_the_same_lvlm_answers_swapped_in_from_either_file_or_carried_from_the_start(cli, specs, tmp_path):
    kept = {}
    for name, words in {
        "pt": ("--encoder", specs["pt"], "--lvlm", specs["other"]),
        "hf": ("--encoder", specs["hf"], "--lvlm", specs["other"]),
        "inside": ("--encoder", specs["inside"], "--lvlm", specs["other"]),
        "carried": ("--lvlm", specs["carrier"]),
        "untouched": ("--lvlm", specs["other"]),
    }.items():
        said = cli("run", *words, "-t", "pope", "--limit", 2, "--results", tmp_path / name)
        assert said.code == 0, said.err
        kept[name] = records(tmp_path / name, "pope")
    for name in ("hf", "inside", "carried"):
        assert {id: a["text"] for id, a in kept[name].items()} == {id: a["text"] for id, a in kept["pt"].items()}, name
        for id, answer in kept[name].items():
            assert answer["p_yes"] == pytest.approx(kept["pt"][id]["p_yes"], abs=1e-5)
    assert kept["untouched"] != kept["pt"]


def test_the_manifest_records_the_tower_in_memory_beside_the_one_asked_for(cli, specs, tmp_path):
    said = cli("run", "-e", specs["pt"], "-l", specs["other"], "-t", "pope", "--limit", 1, "--results", tmp_path)
    assert said.code == 0, said.err
    (manifest,) = tmp_path.glob("*/run.json")
    told = json.dumps(json.loads(manifest.read_text()))
    tower = cli("encoder", "inspect", specs["pt"], "--json").json()["tower"]
    assert f'"tower": "{tower}"' in told
    assert f'"tower_asked": "{tower}"' in told


def test_a_tower_of_the_wrong_width_and_nan_weights_end_a_run_in_one_line(cli, specs, tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(width=48), tmp_path / "narrow")
    words = ("--lvlm", specs["other"], "-t", "pope", "--limit", 1, "--results", tmp_path / "results")
    said = cli("run", "--encoder", f"clip:{tmp_path / 'narrow'}", *words)
    assert said.code == 4
    assert "48 wide" in said.err
    folder = tiny.save_clip(tiny.clip_model(), tmp_path / "nan")
    tensors = load_file(folder / "model.safetensors")
    tensors["visual_projection.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    said = cli("run", "--encoder", f"clip:{folder}", "-t", "ohd-caps", "--limit", 1, "--results", tmp_path / "results")
    assert said.code == 6
    assert "visual_projection" in said.err
