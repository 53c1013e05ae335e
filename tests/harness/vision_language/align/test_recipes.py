"""LLaVA-1.5's recipes: schedule, groups, LoRA's targets and padding; one update done plainly."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from harness.errors import UsageError
from harness.vision_language import preprocess
from harness.vision_language.align import batches, conversation, recipes, rows, trained, trainer
from harness.vision_language.layouts.weight_names import in_original


@pytest.fixture(scope="module")
def told(shared):
    return json.loads((shared / "oracle" / "align" / "recipe.json").read_text())


def test_the_presets_are_llavas():
    pretrain, lora, full = (make() for make in (recipes.pretrain, recipes.lora, recipes.full))
    same = {"schedule": "cosine", "warmup": 0.03, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
            "clip_norm": 0.0, "max_length": 2048, "epochs": 1.0, "seed": 42, "loss": "mean of means", "tf32": True,
            "gradient_checkpointing": True, "vision_feature_layer": -2, "validation": 0.0}  # fmt: skip
    for stage in (pretrain, lora, full):
        assert {name: getattr(stage, name) for name in same} == same
    assert (pretrain.rate, pretrain.batch, pretrain.micro_batch, pretrain.pad) == (1e-3, 256, 32, "crop")
    assert (full.rate, full.projector_rate, full.batch, full.micro_batch, full.pad) == (2e-5, 0.0, 128, 16, "pad")
    assert (lora.rate, lora.projector_rate) == (2e-4, 2e-5)
    assert (lora.lora_rank, lora.lora_alpha, lora.lora_dropout) == (128, 256.0, 0.05)
    assert (pretrain.template, lora.template, full.template) == ("plain", "own", "own")
    assert not pretrain.group_by_length and lora.group_by_length and full.group_by_length
    rows_of = {"pretrain": 558_128, "full": 665_298}
    assert trainer.plan_rows(pretrain, [1] * rows_of["pretrain"])[1] == 2181
    assert trainer.plan_rows(replace(full, group_by_length=False), [1] * rows_of["full"])[1] == 5198


def test_the_rate_is_llavas_at_every_update(told, tmp_path):
    for case in told["schedule"]:
        stage = replace(recipes.pretrain(), precision="fp32", rate=1.0)
        arguments = trainer.arguments(stage, tmp_path, case["steps"], 0, torch.nn.Linear(1, 1))
        weight = torch.nn.Linear(1, 1)
        made = trainer.Trainer(weight, arguments)
        made.optimizer = torch.optim.SGD(weight.parameters(), lr=1.0)
        schedule = made.create_scheduler(case["steps"])
        factors = []
        for _ in range(case["steps"]):
            factors.append(schedule.get_last_lr()[0])
            made.optimizer.step()
            schedule.step()
        assert factors == pytest.approx(case["factor_at_each_update"], abs=1e-12)
        assert factors[0] == 0.0


@pytest.fixture
def model(tiny):
    """A LLaVA of one language block, whose weights have the names of the oracle's."""
    config = tiny.llava_model().config
    config.text_config.num_hidden_layers = 1
    return LlavaForConditionalGeneration(config)


def test_groups_are_llavas(told, model, tmp_path):
    for case in told["optimizer_groups"]:
        stage = replace(recipes.full(), rate=case["learning_rate"], projector_rate=case["mm_projector_lr"] or 0.0,
                        weight_decay=case["weight_decay"], precision="fp32")  # fmt: skip
        trained.opened(model, stage)
        made = trainer.AlignTrainer(stage, [0], model=model, args=trainer.arguments(stage, tmp_path, 1, 0, model))
        names = {weight: in_original(name) for name, weight in model.named_parameters()}
        groups = made.create_optimizer().param_groups
        assert len(groups) == len(case["groups"])
        for ours, theirs in zip(groups, case["groups"], strict=True):
            assert sorted(names[weight] for weight in ours["params"]) == sorted(theirs["params"])
            for key in ("lr", "weight_decay", "eps"):
                assert ours[key] == theirs[key]
            assert tuple(ours["betas"]) == tuple(theirs["betas"])


def test_lora_goes_to_every_linear_layer_of_the_language_model_and_to_nothing_else(told, model):
    assert trained.lora_targets(model.model.language_model) == told["lora_targets"]
    wrapped = trained.opened(model, recipes.lora())
    touched = {name for name, weight in wrapped.named_parameters() if weight.requires_grad}
    assert all(("language_model" in name and "lora_" in name) or "multi_modal_projector" in name for name in touched)
    layers = {name.split(".lora_")[0].rpartition(".")[2] for name in touched if "lora_" in name}
    assert layers == set(told["lora_targets"])
    assert sum("multi_modal_projector" in name for name in touched) == 4


def test_padding_is_llavas_to_the_pixel(told):
    processor = CLIPImageProcessorPil(size={"shortest_edge": 6}, crop_size={"height": 6, "width": 6})
    colour = preprocess.mean_colour(processor)
    assert list(colour) == told["padding"]["colour"]
    for case in told["padding"]["images"]:
        image = Image.fromarray(np.array(case["pixels"], dtype=np.uint8))
        assert np.asarray(preprocess.expand_to_square(image, colour)).tolist() == case["padded"]
        pixels = preprocess.pipeline(processor, "pad")(image)
        torch.testing.assert_close(pixels, torch.tensor(case["pixel_values_at_6"]), atol=2e-5, rtol=0)


# One update, done plainly


@pytest.fixture
def made(world, tmp_path):
    """Makes a stage's examples and a fresh model."""

    def make(stage):
        processor = AutoProcessor.from_pretrained(world / "llava", backend="pil")
        model = LlavaForConditionalGeneration.from_pretrained(world / "llava").eval()
        template = "plain" if stage.template == "plain" else "vicuna-v1"
        reader = batches.Reader(
            conversation.writing(template, processor), preprocess.pipeline(processor.image_processor, stage.pad),
            model.config.image_token_id, model.config.image_seq_length, 512,
        )  # fmt: skip
        found = rows.load(
            world / ("captions.json" if template == "plain" else "mixed.json"), None, reader.unusable, 0.0
        )
        return model, batches.Examples(found, range(len(found)), reader)

    return make


@pytest.mark.parametrize("name", ["pretrain", "lora", "full"])
def test_an_update_is_the_mean_of_micro_batches_at_the_groups_rates(made, name, tmp_path):
    """Adam's first step moves every weight by its rate against its gradient's sign, scaled by g / (|g| + eps)."""
    stage = replace(
        recipes.PRESETS[name](), batch=6, micro_batch=2, updates=1, warmup=0.0, schedule="constant", precision="fp32",
        gradient_checkpointing=False, lora_rank=2, lora_dropout=0.0, weight_decay=0.1,
    )  # fmt: skip
    model, examples = made(stage)
    torch.manual_seed(0)
    ours = trained.opened(model, stage)
    before = {name: weight.clone() for name, weight in trained.state(ours).items()}
    torch.manual_seed(0)
    plain = trained.opened(made(stage)[0], stage)
    order, updates = trainer.plan_rows(stage, examples.lengths)
    assert updates == 1 and len(order) == 6
    losses = []
    for start in (0, 2, 4):
        batch = batches.together([examples[n] for n in order[start : start + 2]])
        logits = plain(**{key: value for key, value in batch.items() if key != "labels"}).logits[:, :-1]
        wanted = batch["labels"][:, 1:]
        picked = torch.log_softmax(logits[wanted != -100], -1).gather(-1, wanted[wanted != -100][:, None])
        losses.append(-picked.mean())
    (sum(losses) / 3).backward()
    log = trainer.train(ours, stage, (examples, batches.Examples(examples.rows, [], examples.reader)), tmp_path).log
    assert log[0]["loss"] == pytest.approx((sum(losses) / 3).item(), abs=1e-5)
    after, moved = trained.state(ours), 0
    for weight_name, weight in plain.named_parameters():
        if not weight.requires_grad:
            continue
        rate = stage.projector_rate if "projector" in weight_name and stage.projector_rate else stage.rate
        slope = weight.grad if weight.grad is not None else torch.zeros_like(weight)
        decay = 1 - rate * (0.1 if weight.ndim > 1 else 0.0)
        expected = before[weight_name] * decay - rate * slope / (slope.abs() + 1e-8)
        clear = slope.abs() > 1e-5  # where the gradient is nothing but rounding its sign is too
        torch.testing.assert_close(after[weight_name][clear], expected[clear], atol=rate * 2e-2, rtol=1e-5)
        moved += int(clear.sum())
    assert moved > 100
    assert math.isfinite(log[0]["loss"])


def test_a_batch_without_images_gives_the_projector_a_gradient_of_zero(made, tmp_path):
    stage = replace(recipes.lora(), batch=2, micro_batch=2, updates=1, precision="fp32", gradient_checkpointing=False,
                    lora_rank=2)  # fmt: skip
    model, examples = made(stage)
    ours = trained.opened(model, stage)
    wordy = [n for n, length in enumerate(examples.lengths) if length < 0]
    text = batches.Examples(examples.rows, wordy, examples.reader)
    before = {name: weight.clone() for name, weight in trained.state(ours).items()}
    trainer.train(ours, stage, (text, batches.Examples(examples.rows, [], examples.reader)), tmp_path)
    for name, weight in ours.named_parameters():
        if trained.PROJECTOR in name:
            assert torch.equal(weight.detach(), before[name])
    assert "pixel_values" not in batches.together([text[0]])


NUMBERS = [field.name for field in fields(recipes.Stage) if type(getattr(recipes.Stage(), field.name)) in (int, float)]
FREE = ("vision_feature_layer",)
"""Counted from the end: below 0."""


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "-0.5", "abc", "true", ""])
@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in FREE])
def test_every_number_of_a_recipe_has_its_range(name, value):
    with pytest.raises(UsageError, match=f"^{name}="):
        recipes.chosen(["pretrain"], {name: value})


@pytest.mark.parametrize("name", ["updates", "batch", "workers", "seed"])
def test_no_whole_number_is_larger_than_libraries_take(name):
    with pytest.raises(UsageError, match=rf"^{name}=1{{30}} cannot be: {name} is a whole number .* at most"):
        recipes.chosen(["pretrain"], {name: "1" * 30})


def test_a_deepspeed_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="there is no such file; right would be a DeepSpeed configuration"):
        recipes.chosen(["pretrain"], {"deepspeed": str(tmp_path / "none.json")})
