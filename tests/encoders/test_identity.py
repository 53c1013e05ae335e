"""All that decides an encoder's rows is part of its identity; what decides none of them is not."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer

from encoders.micro import WEIGHTS
from encoders.towers.tokens import OpenClipWords
from harness import registry
from harness.asking import run_identity
from harness.types import Place
from harness.vision_language import tokenizing

registry.load()
Told = dict[str, Any]


def edit(path: Path, change: Callable[[Told], Any]) -> None:
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told, indent=1))


def of(folder: Path, options: str = "", kind: str = "clip") -> dict[str, Any]:
    return run_identity.of_encoder(registry.make_encoder(f"{kind}:{folder}{options}", Place("cpu")))


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(WEIGHTS / "micro", tmp_path / "model")


@pytest.fixture(scope="module")
def untouched():
    return of(WEIGHTS / "micro")


def images(**values: Any) -> tuple[str, Callable[[Told], Any]]:
    return "preprocessor_config.json", lambda told: told.update(values)


def part(name: str, **values: Any) -> tuple[str, Callable[[Told], Any]]:
    return "config.json", lambda told: told[name].update(values)


def words(**values: Any) -> tuple[str, Callable[[Told], Any]]:
    return "tokenizer.json", lambda told: told.update(values)


def shuffled(told: Told) -> None:
    vocabulary = told["model"]["vocab"]
    some = [word for word in vocabulary if vocabulary[word] > 5]
    ids = [vocabulary[word] for word in some]
    random.Random(0).shuffle(ids)
    vocabulary.update(zip(some, ids, strict=True))


DECIDES = {
    "rescale_factor": images(rescale_factor=0.01),
    "do_rescale": images(do_rescale=False),
    "do_normalize": images(do_normalize=False),
    "size": images(size={"shortest_edge": 96}),
    "resample": images(resample=0),
    "std": images(image_std=[0.4, 0.5, 0.5]),
    "vocabulary": ("tokenizer.json", shuffled),
    "normalizer": words(normalizer=None),
    "pre_tokenizer": words(pre_tokenizer={"type": "WhitespaceSplit"}),
    "start token": words(post_processor={"type": "TemplateProcessing", "pair": [], "single": [
        {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [3], "tokens": ["</s>"]}}}),
    "side that is cut": ("tokenizer_config.json", lambda told: told.update(truncation_side="left")),
    "where a text is read": part("text_config", eos_token_id=2),
    "heads": part("text_config", num_attention_heads=2),
    "epsilon": part("vision_config", layer_norm_eps=1e-3),
}  # fmt: skip


@pytest.mark.parametrize(("file", "change"), DECIDES.values(), ids=DECIDES.keys())
def test_what_decides_a_row_makes_another_encoder(folder, untouched, file, change):
    edit(folder / file, change)
    assert of(folder) != untouched


NOTHING = {
    "who wrote it": ("config.json", lambda told: told.update(
        transformers_version="4.40.0", _name_or_path="/elsewhere", architectures=["Other"], dtype="float32")),
    "what training reads": part("text_config", attention_dropout=0.5, initializer_range=1.0, bos_token_id=5),
    "images are RGB": images(do_convert_rgb=False),
    "size of a word": images(crop_size=64, size=64),
    "length and side of padding": ("tokenizer_config.json", lambda told: told.update(
        model_max_length=4096, padding_side="left")),
}  # fmt: skip


@pytest.mark.parametrize(("file", "change"), NOTHING.values(), ids=NOTHING.keys())
def test_what_decides_no_row_leaves_the_identity_alone(folder, untouched, file, change):
    edit(folder / file, change)
    assert of(folder) == untouched


@pytest.mark.parametrize("name", ["micro", "micro-ohd", "micro-plain"])
def test_the_shipped_encoders_are_what_kept_runs_say_they_are(name):
    kept = json.loads(next(Path("results").glob(f"{name}+micro-llava@micro-*/run.json")).read_text())["encoder"]
    assert of(WEIGHTS / name) == {"digest": kept["digest"], "describe": kept["describe"]}


def test_padded_texts_are_read_at_their_last_token_whatever_the_configuration_says(folder):
    before = of(folder, "?text=padded")
    edit(folder / "config.json", part("text_config", eos_token_id=2)[1])
    assert of(folder, "?text=padded") == before


def test_an_encoder_that_is_read_and_saved_again_is_the_same_in_either_layout(folder, untouched, tmp_path):
    encoder = registry.make_encoder(f"clip:{folder}", Place("cpu"))
    encoder.encode_texts(["a dog", "two red cats"])
    for to, kind in (("hf", "clip"), ("open-clip", "open-clip")):
        encoder.save(tmp_path / to, to)
        assert of(tmp_path / to, kind=kind) == untouched


def openai(folder: Path) -> CLIPTokenizer:
    import open_clip

    OpenClipWords(open_clip.SimpleTokenizer(), None).save(folder)
    return CLIPTokenizer.from_pretrained(folder)


def test_openais_tokenizer_goes_without_saying_in_every_layout(tmp_path):
    import open_clip

    assert OpenClipWords(open_clip.SimpleTokenizer(), None).told() == ""
    assert tokenizing.of_clip(openai(tmp_path / "new")) == ""
    told = json.loads((tmp_path / "new" / "tokenizer.json").read_text())["model"]
    old = tmp_path / "old"
    old.mkdir()
    (old / "vocab.json").write_text(json.dumps(told["vocab"]))
    pairs = (one if isinstance(one, str) else " ".join(one) for one in told["merges"])
    (old / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n")
    assert tokenizing.of_clip(CLIPTokenizer.from_pretrained(old)) == ""


def test_another_way_to_clean_texts_is_told():
    import open_clip

    assert OpenClipWords(open_clip.SimpleTokenizer(clean="canonicalize"), None).told()
    assert OpenClipWords(open_clip.SimpleTokenizer(reduction_mask="simple"), None).told()


@pytest.mark.parametrize("task", ["ohd-caps", "zero-shot"])
def test_an_edit_in_place_is_another_run_and_no_row_of_before(cli, folder, tmp_path, task):
    asked = ["run", "-e", f"clip:{folder}", "-t", task, "--limit", 3, "--results", tmp_path / "results"]
    assert cli(*asked).code == 0
    for file, change in (images(rescale_factor=0.01), ("tokenizer.json", shuffled)):
        edit(folder / file, change)
        assert cli(*asked).code == 0
    scores = {path.read_text() for path in (tmp_path / "results").glob(f"*/{task}/records.jsonl")}
    assert len(scores) == 3


def test_two_encoders_that_differ_in_their_pixels_are_two_runs(cli, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    edit(other / "preprocessor_config.json", images(rescale_factor=0.01)[1])
    asked = ["run", "-e", f"clip:{folder}", "-e", f"clip:{other}", "-t", "ohd-caps", "--limit", 2]
    assert cli(*asked, "--results", tmp_path / "results").code == 0
    assert len([*(tmp_path / "results").glob("*/run.json")]) == 2
