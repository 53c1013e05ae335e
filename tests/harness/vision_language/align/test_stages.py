"""``ohd-bench align`` through the front door: what it writes, what it goes on from, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoProcessor, LlamaForCausalLM, LlavaForConditionalGeneration

from harness import registry
from harness.types import Asked, Sample
from harness.vision_language import identity
from harness.vision_language.align import stages

registry.load()


def answers(place, text, tiny, encoder=None):
    lvlm = registry.make_lvlm(text, place)(registry.make_encoder(encoder, place) if encoder else None)
    sample = Sample("1", None, "", prompt="Is there a dog?", tokens=6)
    return [reply for _, reply in lvlm.answers(Asked(image, (sample,)) for image in tiny.pictures())]


def weights(folder: Path) -> str:
    """A digest of everything that a stage wrote."""
    return identity.values(load_file(folder / "model.safetensors"))


def test_both_stages_leave_a_standard_llava_and_what_was_done(cli, words, world, tmp_path, place, tiny):
    out = tmp_path / "grown"
    said = cli(*words(out, "pretrain,lora", validation=0.2, evaluate_every=2), "--seed", 3, "--json")
    assert said.code == 0, said.err
    told = json.loads((out / "align.json").read_text())
    first, second = told["stages"]
    assert (first["recipe"]["name"], second["recipe"]["name"]) == ("pretrain", "lora")
    assert first["recipe"]["seed"] == second["recipe"]["seed"] == 3
    assert [step for step, _ in first["loss"]] == [1, 2, 3, 4]
    assert [step for step, _ in second["held_out_loss"]] == [0, 2, 4]
    assert second["data"]["rows"] == 13 and second["data"]["held_out"] == 3
    assert first["base"] == first["language_model"] == second["base"] != second["language_model"]
    assert first["tower"] == second["tower"] == registry.make_encoder(f"clip:{world / 'tuned'}", place).tower_digest
    assert (out / "loss.png").stat().st_size > 1000
    assert not (out / "checkpoints").exists()
    model = LlavaForConditionalGeneration.from_pretrained(out)
    assert identity.part_digest(model.model.multi_modal_projector) == second["projector"]
    assert answers(place, f"llava:{out}", tiny) == answers(place, f"llava:{out}", tiny, f"clip:{world / 'tuned'}")
    again = cli(*words(out, "pretrain,lora", validation=0.2, evaluate_every=2), "--seed", 3, "--json")
    assert again.json() == said.json()


@pytest.mark.parametrize("updates", [1, 3, 4, 21])
def test_first_and_last_loss_are_means_over_as_many_updates_and_share_none(updates):
    losses = [float(2**n) for n in range(updates)]
    stage = {"recipe": {"name": "pretrain"}, "data": {"rows": 9, "used": 9, "unusable": {}}, "updates": updates,
             "loss": list(enumerate(losses, 1)), "held_out_loss": [], "projector": "0"}  # fmt: skip
    told = stages.summary({"spec": "llava:P", "stages": [stage]})["pretrain"]
    each = {1: 1, 3: 1, 4: 2, 21: 10}[updates]
    assert told["first_loss"] == pytest.approx(sum(losses[:each]) / each)
    assert told["last_loss"] == pytest.approx(sum(losses[-each:]) / each)


def test_the_adapter_loads_in_peft_over_the_stage_before(cli, words, tmp_path, tiny):
    out = tmp_path / "grown"
    assert cli(*words(out, "pretrain,lora")).code == 0
    config = json.loads((out / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(out / "pretrain")
    base = LlavaForConditionalGeneration.from_pretrained(out / "pretrain")
    laid = PeftModel.from_pretrained(base, out / "adapter").merge_and_unload()
    whole = LlavaForConditionalGeneration.from_pretrained(out)
    expected = whole.state_dict()
    for name, tensor in laid.state_dict().items():
        torch.testing.assert_close(tensor, expected[name.replace(".modules_to_save.default", "")], msg=name)


def test_what_was_trained_can_be_laid_over_the_lvlm_it_came_from(cli, words, world, tmp_path, place, tiny):
    out = tmp_path / "grown"
    assert cli(*words(out, "pretrain,lora")).code == 0
    laid = f"llava:{world / 'llava'}?projector={out}&lora={out}"
    assert answers(place, laid, tiny, f"clip:{world / 'tuned'}") == answers(place, f"llava:{out}", tiny)
    host = registry.make_lvlm(laid, place)
    assert host(None).describe()["align"] == "lora+projector"


@pytest.mark.parametrize("encoder", ["siglip", "dino", "odd"])
def test_any_tower_is_grown_in_run_merged_and_read_by_plain_transformers(
    cli, words, world, tmp_path, place, tiny, encoder
):
    out, merged = tmp_path / "grown", tmp_path / "merged"
    said = cli(*words(out, "pretrain", encoder, updates=2), "--json")
    assert said.code == 0, said.err
    spec = f"clip:{world / encoder}"
    before = answers(place, f"llava:{out}", tiny)
    assert answers(place, f"llava:{out}", tiny, spec) == before
    assert cli("encoder", "merge", spec, "--into", f"llava:{out}", "--out", merged).code == 0
    assert answers(place, f"llava:{merged}", tiny) == before
    out = merged
    tokens = {"siglip": 9, "dino": 4, "odd": 36}[encoder]
    model = LlavaForConditionalGeneration.from_pretrained(out)
    processor = AutoProcessor.from_pretrained(out, backend="pil")
    prompt = "USER: <image>\nIs there a dog? ASSISTANT:"
    inputs = processor(images=tiny.pictures(1)[0], text=prompt, return_tensors="pt")
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == tokens
    host = registry.make_lvlm(f"llava:{out}?template=chat&pad=crop", place)
    speaker = host(None)
    page = speaker.request(Asked(tiny.pictures(1)[0], (Sample("1", None, "", prompt="Is there a dog?", tokens=6),)))
    with torch.no_grad():
        ids = torch.tensor([page.prompts[0].tokens])
        ours = host.model(input_ids=ids, pixel_values=page.pixels[None]).logits
        theirs = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_stage_one_starts_from_a_bare_language_model(cli, words, world, tmp_path, place, tiny):
    whole = LlavaForConditionalGeneration.from_pretrained(world / "llava")
    bare = LlamaForCausalLM(whole.config.text_config)
    bare.model.load_state_dict(whole.model.language_model.state_dict())
    bare.lm_head.load_state_dict(whole.lm_head.state_dict())
    bare.save_pretrained(tmp_path / "vicuna")
    tiny.language_tokenizer().save_pretrained(tmp_path / "vicuna")
    asked = [str(word) for word in words(tmp_path / "grown", "pretrain", "siglip", updates=2)]
    asked[asked.index("--lvlm") + 1] = f"llava:{tmp_path / 'vicuna'}"
    said = cli(*asked)
    assert said.code == 0, said.err
    told = json.loads((tmp_path / "grown" / "align.json").read_text())["stages"][0]
    assert told["image_tokens"] == 9
    assert told["base"] == told["language_model"]
    assert answers(place, f"llava:{tmp_path / 'grown'}", tiny)


def test_a_tower_that_does_not_fit_needs_a_projector_first(cli, words, tmp_path):
    said = cli(*words(tmp_path / "grown", "lora", "siglip"))
    assert said.code == 4
    assert "--stage pretrain,lora trains one for it first" in said.err


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"stage": "warmup"}, 2, "no stage is called 'warmup'; there is pretrain, lora, full"),
        ({"batch": 5}, 2, "batch=5 is no multiple of 1 processes of micro_batch=2"),
        ({"rate": "nan"}, 2, "rate=nan: right would be a number above 0"),
        ({"colour": "red"}, 2, "a recipe has no field 'colour'"),
        ({"vision_feature_layer": 9}, 4, "has hidden states -4 to 3"),
        ({"encoder": "siglip", "vision_feature_select_strategy": "default"}, 4, "its first patch would be lost"),
        ({"stage": "full", "max_length": 20}, 3, "nothing to learn is left within the limit"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(cli, words, tmp_path, change, code, says):
    said = cli(*words(tmp_path / "grown", **change))
    assert said.code == code
    assert says in said.err and said.err.count("\n") == 1


def test_another_plan_is_refused_in_the_same_folder(cli, words, tmp_path):
    out = tmp_path / "grown"
    assert cli(*words(out)).code == 0
    said = cli(*words(out, rate=0.02))
    assert said.code == 2
    assert "rate is 0.01 there, 0.02 here" in said.err
    (out / "plan.json").write_text("{")
    said = cli(*words(out))
    assert said.code == 3 and f"remove {out} or give another --out" in said.err


def test_a_folder_in_which_nothing_was_trained_may_be_filled_by_another_plan(cli, words, tmp_path):
    out = tmp_path / "grown"
    wrong = [tmp_path / "nowhere.json" if str(word).endswith("captions.json") else word for word in words(out)]
    assert cli(*wrong).code == 3
    said = cli(*words(out, rate=0.02))
    assert said.code == 0, said.err


def test_a_lora_over_a_quantised_base_is_laid_over_the_whole_one(cli, words, world, tmp_path, place, tiny):
    pytest.importorskip("bitsandbytes")
    first, out = tmp_path / "first", tmp_path / "grown"
    assert cli(*words(first, "pretrain")).code == 0
    more = words(out, "lora", quantize="4bit")
    more[more.index("--lvlm") + 1] = f"llava:{first}"
    said = cli(*more, "--json")
    assert said.code == 0, said.err
    assert not (out / "model.safetensors").exists()
    spec = json.loads((out / "align.json").read_text())["spec"]
    assert spec == f"llava:{first}?lora={out}&projector={out}"
    assert len(answers(place, spec, tiny, f"clip:{world / 'tuned'}")) == len(tiny.pictures())
