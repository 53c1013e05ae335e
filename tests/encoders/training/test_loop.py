"""Trainings of a tiny CLIP from the front: what is written, and that an interrupted one goes on to the bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from encoders.towers.clip_encoder import ClipEncoder
from encoders.training import loop, towers
from encoders.training.settings import Training
from harness import claim
from harness.errors import DataError, DegenerateError, UsageError


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(recipe: Training, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "1")
        return replace(recipe, replay=0.5, replay_batch=2).train(root, tmp_path_factory.mktemp("trained") / "run")


def test_the_folder_loads_as_an_encoder_with_the_digest_it_tells(trained: Path) -> None:
    encoder = towers.base(f"clip:{trained}")
    assert isinstance(encoder, ClipEncoder)
    assert encoder.digest() == json.loads((trained / "recipe.json").read_text())["digest"]
    assert encoder.encode_texts(["a red bird"]).shape == (1, 64)


def test_recipe_and_card_stand_beside_the_weights(trained: Path, recipe: Training) -> None:
    told = json.loads((trained / "recipe.json").read_text())
    assert told["recipe"]["base"] == recipe.base
    assert told["base_digest"] == towers.base(recipe.base).digest() != told["digest"]
    assert told["data"]["rows"] == 12
    assert set(told["measured"]["before"]) == {"step", "ohd_dev", "zero_shot", "drift_cosine", "drift_l2"}
    card = (trained / "README.md").read_text()
    assert "| OHD-Caps dev, top-1 % |" in card
    assert told["data"]["digest"] in card


def test_the_log_has_every_step_and_every_look(trained: Path) -> None:
    steps = [line for line in log(trained) if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert all(line["grad_norm"] > 0 and line["replay"] > 0 for line in steps)
    assert [line["step"] for line in log(trained) if "ohd_dev" in line] == [0, 2, 4]
    assert not list(trained.glob("checkpoint-*"))


def test_drift_starts_at_nothing_and_grows(trained: Path) -> None:
    looks = [line for line in log(trained) if "drift_l2" in line]
    assert looks[0]["drift_l2"] == 0
    assert looks[0]["drift_cosine"] == pytest.approx(1)
    assert looks[-1]["drift_l2"] > 1e-4


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"lora": 2}, {"chunk": 2, "accumulate": 2}])
def test_a_resumed_training_equals_an_uninterrupted_one_to_the_bit(
    recipe: Training, root: Path, tmp_path: Path, changes: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipe, replay=0.5, replay_batch=2, **changes)
    whole = recipe.train(root, tmp_path / "whole")
    honest, calls = loop.gradients, []

    def killed(*words):
        calls.append(words)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(*words)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "gradients", killed)
        with pytest.raises(KeyboardInterrupt):
            recipe.train(root, tmp_path / "cut")
    assert [path.name for path in (tmp_path / "cut").glob("checkpoint-*")] == ["checkpoint-000002"]
    torch.manual_seed(999)
    again = recipe.train(root, tmp_path / "cut")
    one, other = weights(whole), weights(again)
    assert all(torch.equal(one[name], other[name]) for name in one)
    told = [{key: value for key, value in line.items() if key != "images_per_s"} for line in log(whole)]
    assert told == [{key: value for key, value in line.items() if key != "images_per_s"} for line in log(again)]


def test_a_finished_training_is_not_repeated(trained: Path, recipe: Training, root: Path) -> None:
    before = (trained / "model.safetensors").stat().st_mtime_ns
    replace(recipe, replay=0.5, replay_batch=2).train(root, trained)
    assert (trained / "model.safetensors").stat().st_mtime_ns == before


def test_another_recipe_is_refused_in_the_same_folder(trained: Path, recipe: Training, root: Path) -> None:
    with pytest.raises(UsageError, match=r"lr is 0\.001 there, 0\.5 here"):
        replace(recipe, replay=0.5, replay_batch=2, lr=0.5).train(root, trained)


def test_it_stops_with_the_step_named_where_the_loss_is_not_finite(
    recipe: Training, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(DegenerateError, match=r"step [1-4]: .* is (nan|inf)"):
        replace(recipe, lr=1e30, warmup=0, clip_norm=0.0).train(root, tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(("warmup", "steps", "done"), [(50, 20, 2), (50, 4, 0), (1, 10, 1)])
def test_the_warm_up_is_at_most_a_tenth_of_the_steps_and_recorded_as_done(
    recipe: Training, root: Path, tmp_path: Path, warmup: int, steps: int, done: int
) -> None:
    told = replace(recipe, warmup=warmup, steps=steps, evaluate_every=steps).train(root, tmp_path / "run")
    rates = [line["lr"] for line in log(told) if "loss" in line]
    assert rates.index(max(rates)) == max(0, done - 1)
    assert max(rates) == recipe.lr
    assert json.loads((told / "recipe.json").read_text())["recipe"]["warmup"] == done


def test_frozen_parts_stay_as_they_are(recipe: Training, root: Path, tmp_path: Path) -> None:
    out = replace(recipe, frozen=("text_model.*", "logit_scale"), steps=2).train(root, tmp_path / "run")
    base, tuned = towers.base(recipe.base).model.state_dict(), weights(out)
    frozen = {name for name in tuned if name.startswith("text_model.") or name == "logit_scale"}
    assert all(torch.equal(base[name], tuned[name]) for name in frozen)
    moved = [name for name in tuned if name not in frozen and not torch.equal(base[name], tuned[name])]
    assert "visual_projection.weight" in moved
    with pytest.raises(UsageError, match="names no parameter"):
        replace(recipe, frozen=("txt.*",)).train(root, tmp_path / "other")


def test_low_rank_updates_are_merged_into_the_attention_alone(recipe: Training, root: Path, tmp_path: Path) -> None:
    out = replace(recipe, lora=2).train(root, tmp_path / "run")
    base, tuned = towers.base(recipe.base).model.state_dict(), weights(out)
    assert set(tuned) == {name for name in base if "position_ids" not in name}
    moved = {name for name in tuned if not torch.equal(base[name], tuned[name])}
    assert moved
    assert all("_proj.weight" in name and "self_attn" in name for name in moved)
    assert all(torch.linalg.matrix_rank(tuned[n] - base[n], rtol=1e-3) <= 2 for n in moved)


def test_interpolation_gives_the_line_between_base_and_tuned(recipe: Training, root: Path, tmp_path: Path) -> None:
    full = weights(recipe.train(root, tmp_path / "full"))
    half = replace(recipe, interpolate=0.5, front=(0.0, 1.0)).train(root, tmp_path / "half")
    base = towers.base(recipe.base).model.state_dict()
    for name, tensor in weights(half).items():
        torch.testing.assert_close(tensor, (base[name] + full[name]) / 2)
    told = json.loads((half / "recipe.json").read_text())["measured"]
    ends = [{key: look[key] for key in ("ohd_dev", "zero_shot")} for look in told["front"]]
    assert ends[0] == {key: told["before"][key] for key in ends[0]}
    assert told["front"][0]["drift_l2"] == 0


def test_the_average_trails_the_weights(recipe: Training, root: Path, tmp_path: Path) -> None:
    base = towers.base(recipe.base).model.state_dict()["visual_projection.weight"]
    plain = weights(recipe.train(root, tmp_path / "plain"))["visual_projection.weight"]
    trailing = weights(replace(recipe, ema=0.9).train(root, tmp_path / "ema"))["visual_projection.weight"]
    assert 0 < (trailing - base).norm() < 0.6 * (plain - base).norm()


def test_the_best_look_is_what_is_kept(recipe: Training, root: Path, tmp_path: Path) -> None:
    out = replace(recipe, keep="ohd_dev").train(root, tmp_path / "run")
    told = json.loads((out / "recipe.json").read_text())
    assert told["measured"]["after"]["ohd_dev"] == max(look["ohd_dev"] for look in told["looks"][1:])
    assert not list(out.glob("best-*"))
    with pytest.raises(UsageError, match="keep is one of last, ohd_dev, zero_shot"):
        replace(recipe, keep="luck")


def test_more_rows_than_a_batch_are_not_needed(recipe: Training, root: Path, tmp_path: Path) -> None:
    out = replace(recipe, fraction=0.25, batch=64, steps=2).train(root, tmp_path / "run")
    assert json.loads((out / "recipe.json").read_text())["data"]["rows"] == 3


def test_what_is_recorded_is_what_was_done_and_what_differs_from_what_was_asked_is_said(
    recipe: Training, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = replace(recipe, batch=64, replay=0.5, replay_batch=64, warmup=9, steps=2).train(root, tmp_path / "run")
    told = json.loads((out / "recipe.json").read_text())["recipe"]
    assert (told["batch"], told["replay_batch"], told["warmup"]) == (12, 4, 0)
    said = capsys.readouterr().err
    assert "batch is 12, not 64: there are no more rows" in said
    assert "replay_batch is 4, not 64" in said
    assert "warmup is 0, not 9" in said


@pytest.mark.parametrize("changes", [{"frozen": ("logit_scale",)}, {"lora": 2}])
def test_a_scale_that_is_not_trained_is_not_held_either(
    recipe: Training, root: Path, tmp_path: Path, changes: dict
) -> None:
    out = replace(recipe, max_scale=2.0, steps=2, **changes).train(root, tmp_path / "run")
    assert torch.equal(weights(out)["logit_scale"], towers.base(recipe.base).model.logit_scale)
    held = replace(recipe, max_scale=2.0, steps=2).train(root, tmp_path / "held")
    assert weights(held)["logit_scale"].exp().item() < 2.001


def test_one_process_trains_recipes_of_different_precision(recipe: Training, root: Path, tmp_path: Path) -> None:
    for precision in ("bf16", "no"):
        out = replace(recipe, precision=precision, steps=1).train(root, tmp_path / precision)  # type: ignore[arg-type]
        assert json.loads((out / "recipe.json").read_text())["recipe"]["precision"] == precision


def test_keeping_the_look_best_on_classes_asks_for_classes(recipe: Training, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "zero_shot")
    with pytest.raises(UsageError, match="holds no classes to watch"):
        replace(recipe, keep="zero_shot").train(tmp_path / "data", tmp_path / "run")


def test_a_folder_is_trained_in_by_one_command_at_a_time(recipe: Training, root: Path, tmp_path: Path) -> None:
    with (
        claim.alone(tmp_path / "run", "trained in"),
        pytest.raises(UsageError, match="is being trained in by another command"),
    ):
        recipe.train(root, tmp_path / "run")
    assert (recipe.train(root, tmp_path / "run") / "model.safetensors").is_file()


def test_a_folder_with_something_else_is_left_alone(recipe: Training, root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds something else"):
        recipe.train(root, tmp_path)


def test_tensorboard_is_written_beside_the_log(recipe: Training, root: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    out = replace(recipe, log_with=("tensorboard",), steps=2).train(root, tmp_path / "run")
    (written,) = out.rglob("events.out.tfevents.*.0")
    assert b"ohd_dev" in written.read_bytes()


def test_a_corrupt_image_is_named(recipe: Training, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "data")
    (tmp_path / "data" / "ohd_caps" / "images" / "train_3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"train_3\.png cannot be read"):
        replace(recipe, batch=12).train(tmp_path / "data", tmp_path / "run")


def test_corrupt_images_are_found_before_the_first_step_and_counted(
    recipe: Training, root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path / "data")
    for name in ("train_3", "train_7"):
        (tmp_path / "data" / "ohd_caps" / "images" / f"{name}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"train_3\.png cannot be read .* \(and 1 more of 12 pictures\)"):
        replace(recipe, batch=2, steps=1).train(tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_base_that_is_no_clip_is_refused(root: Path, recipe: Training, tmp_path: Path) -> None:
    from harness.errors import ModelError

    with pytest.raises(ModelError, match="hashing cannot be trained"):
        replace(recipe, base="hashing").train(root, tmp_path / "run")


def test_a_second_epoch_and_a_second_training_decode_nothing_and_lose_the_same_to_the_bit(
    recipe: Training, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losses(out: Path, kept: Path) -> tuple[list[float], list[int]]:
        monkeypatch.setenv("OHD_BENCH_CACHE", str(kept))
        run, decoded = loop.TrainingRun(replace(recipe, steps=6), root, out), []
        step = run._update
        monkeypatch.setattr(run, "_update", lambda: (step(), decoded.append(run.looker.files.decoded)))
        run.train()
        return [line["loss"] for line in log(out) if "loss" in line], decoded

    monkeypatch.setenv("OHD_BENCH_PIXELS", "0")
    plain, _ = losses(tmp_path / "plain", tmp_path / "none")
    monkeypatch.delenv("OHD_BENCH_PIXELS")
    first, decoded = losses(tmp_path / "first", tmp_path / "kept")
    again, anew = losses(tmp_path / "again", tmp_path / "kept")
    assert plain == first == again
    assert decoded[3] == decoded[-1] > 0  # three batches are an epoch, the next one is read ahead
    assert anew == [0] * 6
