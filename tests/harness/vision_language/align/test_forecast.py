"""What an alignment will cost is counted as it then trains, measured in a few updates, and leaves nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness import images, registry
from harness.types import Place
from harness.vision_language.align import forecast, stages, trainer
from harness.vision_language.align.batches import Examples, together
from harness.vision_language.align.one_stage import OneStage

registry.load()
SMALL = ("batch=4", "micro_batch=2", "rate=0.01", "lora_rank=2", "gradient_checkpointing=false", "validation=0.2")
HELD = {"pretrain": 2, "lora": 3}


@pytest.fixture
def asked(world, place):
    """The LVLM, the encoder and a plan of two stages."""
    rows = [str(world / "captions.json"), str(world / "mixed.json")]
    lvlm = f"llava:{world / 'llava'}"

    def make(*more):
        plan = stages.planned(lvlm, "pretrain,lora", rows, [*SMALL, *more], 3)
        return lvlm, f"clip:{world / 'tuned'}", replace(plan, place=place)

    return make


@pytest.mark.parametrize("grouped", ["true", "false"])
def test_tokens_are_those_of_every_micro_batch_as_it_is_padded(asked, tmp_path, grouped):
    lvlm, encoder, plan = asked("updates=7", "evaluate_every=2", f"lora.group_by_length={grouped}")
    found = forecast.forecast(lvlm, encoder, plan)
    tower = registry.make_encoder(encoder, Place(device="cpu"))
    for n, stage in enumerate(plan.stages):
        opened = OneStage(lvlm, tower, stages.resolved(stage, plan.place), plan, tmp_path).opened(n)
        order, _ = trainer.plan_rows(stage, opened.learn.lengths)
        padded = [together([opened.learn[row] for row in order[at : at + 2]]) for at in range(0, len(order), 2)]
        tokens, held = found[stage.name].parts
        assert tokens.of == sum(batch["input_ids"].numel() for batch in padded)
        assert 0 < tokens.done < tokens.of
        assert (held.what, held.of) == ("rows held out", (1 + 7 // 2) * HELD[stage.name])


@pytest.mark.parametrize("updates", [1, 2, 500])
def test_a_few_updates_speak_for_all_and_nothing_is_written(asked, tmp_path, monkeypatch, updates):
    monkeypatch.chdir(tmp_path)
    for name, one in forecast.forecast(*asked(f"updates={updates}", "save_every=1")).items():
        assert one.counts["updates"] == updates
        assert one.counts["rows"] == min(updates * 4, {"pretrain": 8, "lora": 10}[name])
        assert one.parts[0].done <= one.parts[0].of and one.seconds > one.start_s > 0
        assert one.read_bytes > 0 and one.peak_bytes > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("updates", "validation"), [(1, 0), (2, 0.2), (9, 0)])
def test_rows_and_bytes_are_those_that_the_training_then_reads(
    cli, words, world, tmp_path, monkeypatch, updates, validation
):
    rows = json.loads((world / "mixed.json").read_text())
    rows = [{**row, "image": f"{n % 3}.png"} if "image" in row else row for n, row in enumerate(rows)]  # shared
    data = world / f"shared-{updates}.json"
    data.write_text(json.dumps(rows))
    asked = words(tmp_path / "grown", "lora", updates=updates, validation=validation)
    asked[asked.index("--data") + 1] = data
    [told] = cli(*asked, "--estimate", "--json").json()
    read, opened = set(), images.open_image
    taken, item = set(), Examples.__getitem__
    monkeypatch.setattr(images, "open_image", lambda path: read.add(path) or opened(path))
    monkeypatch.setattr(Examples, "__getitem__", lambda self, n: taken.add(self.chosen[n]) or item(self, n))
    assert cli(*asked).code == 0
    assert told["read_bytes"] == sum(path.stat().st_size for path in {data, *read})
    assert told["counts"]["rows"] == len(taken) - round(len(rows) * validation)


def test_a_later_stage_is_measured_though_the_one_before_it_would_make_its_projector(asked, world):
    lvlm, _, plan = asked("updates=2")
    odd = f"clip:{world / 'odd'}"  # whose width the LVLM's own projector does not read
    assert list(forecast.forecast(lvlm, odd, plan)) == ["pretrain", "lora"]


def test_the_command_says_it_by_stage_and_writes_nothing(cli, words, tmp_path):
    said = cli(*words(tmp_path / "grown", "pretrain,lora", updates=2), "--estimate", "--json")
    assert [one["stage"] for one in said.json()] == ["pretrain", "lora"], said.err
    assert not (tmp_path / "grown").exists()
