"""All that decides an LVLM's answers is part of its identity; what decides none of them is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaTokenizer, LlavaForConditionalGeneration, SiglipConfig

from harness import registry
from harness.asking import run_identity
from harness.lvlms.micro import WEIGHTS
from harness.types import Place
from harness.vision_language import identity, tokenizing, unusual

registry.load()
SHIPPED = {"language_model", "tokenizer", "projector", "tower"}
Told = dict[str, Any]


def edit(path: Path, change: Callable[[Told], Any]) -> None:
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told, indent=1))


def of(folder: Path, options: str = "") -> dict[str, Any]:
    return run_identity.of_lvlm(registry.make_lvlm(f"llava:{folder}{options}", Place("cpu"))(None))


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(WEIGHTS, tmp_path / "model")


@pytest.fixture(scope="module")
def untouched():
    return of(WEIGHTS)


def text(**values: Any) -> tuple[str, Callable[[Told], Any]]:
    return "config.json", lambda told: told["text_config"].update(values)


def whole(**values: Any) -> tuple[str, Callable[[Told], Any]]:
    return "config.json", lambda told: told.update(values)


def images(**values: Any) -> tuple[str, Callable[[Told], Any]]:
    return "processor_config.json", lambda told: told["image_processor"].update(values)


def words(**values: Any) -> tuple[str, Callable[[Told], Any]]:
    return "tokenizer.json", lambda told: told.update(values)


REPLACED = {"type": "Replace", "pattern": {"String": "is"}, "content": "a"}
DECIDES = {
    "rope_theta": text(rope_parameters={"rope_theta": 100.0, "rope_type": "default"}),
    "rope_type": text(rope_parameters={"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}),
    "rms_norm_eps": text(rms_norm_eps=1e-3),
    "heads": text(num_attention_heads=4, num_key_value_heads=4, head_dim=32),
    "hidden_act": text(hidden_act="gelu"),
    "projector_hidden_act": whole(projector_hidden_act="relu"),
    "vision_feature_layer": whole(vision_feature_layer=-1),
    "do_normalize": images(do_normalize=False),
    "do_rescale": images(do_rescale=False),
    "rescale_factor": images(rescale_factor=0.01),
    "size": images(size={"shortest_edge": 96}),
    "resample": images(resample=0),
    "mean": images(image_mean=[0.4, 0.5, 0.5]),
    "normalizer": words(normalizer=REPLACED),
    "pre_tokenizer": words(pre_tokenizer={"type": "WhitespaceSplit"}),
    "decoder": words(decoder={"type": "WordPiece", "prefix": "##", "cleanup": False}),
    "start token": words(post_processor=None),
    "a word added": ("tokenizer.json", lambda told: told["added_tokens"].append(
        {"id": 40, "content": next(w for w, n in told["model"]["vocab"].items() if n == 40), "special": False,
         "single_word": False, "lstrip": False, "rstrip": False, "normalized": False})),
    "a token that takes the space before it": (
        "tokenizer.json", lambda told: told["added_tokens"][4].update(lstrip=True)),
    "words in another order": ("tokenizer.json", lambda told: told["model"]["vocab"].update(
        {w: {40: 41, 41: 40}.get(n, n) for w, n in told["model"]["vocab"].items()})),
    "end tokens": ("generation_config.json", lambda told: told.update(eos_token_id=[3, 20])),
    "cleaned up": ("tokenizer_config.json", lambda told: told.update(clean_up_tokenization_spaces=True)),
}  # fmt: skip


@pytest.mark.parametrize(("file", "change"), DECIDES.values(), ids=DECIDES.keys())
def test_what_decides_an_answer_makes_another_model(folder, untouched, file, change):
    edit(folder / file, change)
    assert of(folder) != untouched


NOTHING = {
    "who wrote it": whole(transformers_version="4.40.0", _name_or_path="/elsewhere", architectures=["Other"]),
    "what it is stored in": whole(dtype="float32", torch_dtype="float32"),
    "what training reads": text(attention_dropout=0.5, initializer_range=1.0, use_cache=False, pretraining_tp=2),
    "how long a text may be": text(max_position_embeddings=4096),
    "one number, written otherwise": text(rope_parameters={"rope_theta": 10000, "rope_type": "default"}),
    "rope as transformers 4 has it": ("config.json", lambda told: (
        told["text_config"].pop("rope_parameters"), told["text_config"].update(rope_theta=10000.0, rope_scaling=None))),
    "images are RGB": images(do_convert_rgb=False),
    "a crop of what is padded to its size": images(do_center_crop=False, size={"height": 64, "width": 64}),
    "other settings of generate": ("generation_config.json", lambda told: told.update(
        temperature=0.2, do_sample=True, transformers_version="4.40.0")),
    "the same end twice": ("generation_config.json", lambda told: told.update(eos_token_id=[3, 3])),
    "length and side of padding": ("tokenizer_config.json", lambda told: told.update(
        model_max_length=4096, padding_side="left")),
    "what a tokenizer was last asked": words(padding={"strategy": "BatchLongest", "direction": "Left", "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<pad>", "pad_to_multiple_of": None},
        truncation={"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0}),
}  # fmt: skip


@pytest.mark.parametrize(("file", "change"), NOTHING.values(), ids=NOTHING.keys())
def test_what_decides_no_answer_leaves_the_identity_alone(folder, untouched, file, change):
    edit(folder / file, change)
    assert of(folder) == untouched


def test_the_shipped_models_tell_nothing_that_is_unusual(untouched):
    assert untouched["digests"].keys() == SHIPPED
    assert not {"pixels", "ends", "image_token", "without_a_picture"} & untouched["describe"].keys()
    (run,) = Path("results").glob("micro+micro-llava@micro-f*/run.json")
    made = registry.make_lvlm("micro-llava", Place("cpu"))(registry.make_encoder("micro", Place("cpu")))
    kept = json.loads(run.read_text())["lvlm"]
    assert run_identity.of_lvlm(made) == {"digests": kept["digests"], "describe": kept["describe"]}


def test_a_model_that_is_read_and_saved_again_is_the_same(folder, untouched, tmp_path):
    host = registry.make_lvlm(f"llava:{folder}", Place("cpu"))
    host.model.save_pretrained(tmp_path / "again")
    host.processor.save_pretrained(tmp_path / "again")
    assert of(tmp_path / "again", "?template=chat") == untouched


def test_without_a_picture_a_question_is_part_of_it_where_it_is_written_otherwise(folder, untouched):
    template = folder / "chat_template.jinja"
    written = template.read_text()
    template.write_text(written + "{% if messages[0]['content'] | length == 1 %} blind{% endif %}")
    assert of(folder)["describe"]["without_a_picture"].endswith("blind")
    template.write_text(written)
    assert of(folder) == untouched


def test_an_edit_in_place_is_another_run_and_a_new_answer(cli, folder, tmp_path):
    asked = ["run", "--lvlm", f"llava:{folder}", "-t", "pope", "--limit", 2, "--results", tmp_path / "results"]
    assert cli(*asked).code == 0
    edit(folder / "config.json", lambda told: told.update(projector_hidden_act="relu"))
    assert cli(*asked).code == 0
    records = [path.read_text() for path in (tmp_path / "results").glob("*/pope/records.jsonl")]
    assert len(records) == 2 and records[0] != records[1]


def test_llava_1_5_goes_without_saying():
    seven = LlamaConfig(vocab_size=32064, max_position_embeddings=4096, rms_norm_eps=1e-5)
    wide = {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40}
    thirteen = LlamaConfig(
        **wide, num_attention_heads=40, num_key_value_heads=40, max_position_embeddings=4096, rms_norm_eps=1e-5
    )
    assert unusual.of_config(seven) == unusual.of_config(thirteen) == {}
    assert unusual.of_config(LlamaConfig(rms_norm_eps=1e-6)) == {"rms_norm_eps": 1e-6}
    assert unusual.of_family(SiglipConfig()) == {}


def merged_pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary in the manner of sentencepiece, and its merges."""
    pieces = ["<unk>", "<s>", "</s>", "ab", "abc", "bc", "a", "b", "c", "▁", "▁a"]
    ids = {piece: n for n, piece in enumerate(pieces)}
    return ids, [("a", "b"), ("ab", "c"), ("a", "bc"), ("b", "c"), ("▁", "a")]


def test_merges_that_the_vocabulary_tells_go_without_saying_and_others_do_not():
    ids, merges = merged_pieces()

    def digest(merges: list[tuple[str, str]], **more: Any) -> str:
        made = LlamaTokenizer(vocab=ids, merges=merges, add_bos_token=True, **more)
        return identity.text_digest(made)

    usual = digest(merges)
    assert tokenizing.beyond_vocabulary(LlamaTokenizer(vocab=ids, merges=merges, add_bos_token=True)) == ""
    # the other order of two ways to make one token, as sentencepiece's own reader has it
    assert digest([merges[0], merges[2], merges[1], *merges[3:]]) == usual
    assert digest([merges[3], *merges[:3], merges[4]]) != usual
    assert digest(merges[:-1]) != usual
    assert digest(merges, legacy=True) != usual


def test_a_merged_folder_is_another_where_anything_that_is_written_is(folder, tmp_path, monkeypatch):
    from harness.vision_language.layouts import merged

    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))

    def written() -> Path:
        return merged.folder(registry.make_lvlm(f"llava:{folder}", Place("cpu"))(None))

    first = written()
    assert written() == first
    edit(folder / "generation_config.json", lambda told: told.update(temperature=0.2, do_sample=True))
    second = written()
    edit(folder / "config.json", text(rms_norm_eps=1e-3)[1])
    assert len({first, second, written()}) == 3


def test_other_families_are_known_by_their_configuration_and_pixels_too(tiny, tmp_path):
    place = tiny.save_llava(tiny.llava_model(), tmp_path / "model")
    assert isinstance(tiny.llava_model(), LlavaForConditionalGeneration)

    def told() -> dict[str, Any]:
        return run_identity.of_lvlm(registry.make_lvlm(f"vlm:{place}", Place("cpu"))(None))

    seen = [told()]
    for file, change in (text(rms_norm_eps=1e-3), images(rescale_factor=0.01)):
        edit(place / file, change)
        seen.append(told())
    edit(place / "generation_config.json", lambda one: one.update(eos_token_id=[2, 5]))
    seen.append(told())
    assert len({json.dumps(one) for one in seen}) == len(seen)
