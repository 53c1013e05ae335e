"""A merged folder is asked what was asked before the merge: by the printed command, by transformers, by a server."""

from __future__ import annotations

import json
import shlex
from itertools import product

import pytest
from safetensors.torch import load_file
from transformers import AutoProcessor, AutoTokenizer, LlavaProcessor

from harness import registry
from harness.types import Asked, Place, Sample

registry.load()
PLACE = Place(device="cpu")
QUESTIONS = ("Is there a dog in this image?", "Describe the photo. Is it red?\nAnswer yes or no.", " ")


def merged(cli, lvlm, out, *more):
    said = cli("encoder", "merge", "micro-ohd", "--into", lvlm, "--out", out, *more)
    assert said.code == 0, said.err
    return said


def values(cli, words, results):
    said = cli(*words, "--data", "micro", "--limit", 12, "--results", results, "--json", "-t", "amber", "-t", "pope")
    assert said.code == 0, said.err
    (path,) = results.glob("*/run.json")
    records = {}
    for file in sorted(results.glob("*/*/records.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        records |= {(file.parent.name, row["id"]): row["answer"] for row in rows}
    return records, json.loads(path.read_text())["tasks"]["pope"]["first_prompt"]["digest"]


@pytest.mark.parametrize("lvlm", ["micro-llava", "micro-llava?projector=aligned&pad=crop", "micro-llava?template=chat"])
def test_the_printed_command_measures_what_was_measured(cli, lvlm, tmp_path):
    before = values(cli, ["run", "-e", "micro-ohd", "-l", lvlm], tmp_path / "before")
    said = merged(cli, lvlm, tmp_path / "a folder")
    (printed,) = [line for line in said.err.splitlines() if line.startswith("now: ")]
    words = shlex.split(printed.removeprefix("now: "))
    assert words[0] == "ohd-bench"
    assert values(cli, words[1:], tmp_path / "after") == before


def served_ids(folder, question, picture):
    """What a server that adds no special token makes of a chat, by vLLM's way: one pass over the rendered text."""
    processor = AutoProcessor.from_pretrained(folder)
    content = [*([{"type": "image"}] if picture else []), {"type": "text", "text": question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


def without_places(ids, picture):
    """The ids with one place for the picture, as it stands in a rendered prompt."""
    return [id for n, id in enumerate(ids) if id != picture or ids[n - 1] != picture]


def same_ids(lvlm, folder):
    asked = registry.make_lvlm(lvlm, PLACE)(None)
    again = registry.make_lvlm(f"llava:{folder}?template=chat", PLACE)(None)
    token = asked.host.model.config.image_token_id
    for question, picture in product(QUESTIONS, (True, False)):
        one = Asked(object() if picture else None, (Sample("1", None, "", prompt=question),))
        ids = list(asked.prompt_ids(one))
        assert without_places(ids, token) == served_ids(folder, question, picture)
        assert list(again.prompt_ids(one)) == ids


def test_a_server_of_the_merged_micro_llava_reads_the_same_ids(cli, tmp_path):
    merged(cli, "micro-llava", tmp_path / "m")
    same_ids("micro-llava", tmp_path / "m")


def test_an_output_layer_tied_to_the_embeddings_is_written_under_their_name(cli, tmp_path):
    """As transformers writes it; vLLM leaves the embeddings unset where only ``lm_head`` is there."""
    merged(cli, "micro-llava", tmp_path / "m")
    names = set(load_file(tmp_path / "m" / "model.safetensors"))
    assert "language_model.model.embed_tokens.weight" in names
    assert not any("lm_head" in name for name in names)


@pytest.mark.parametrize("name", ["vicuna_like", "vicuna_like_legacy", "other", "other_legacy"])
@pytest.mark.parametrize("way", ["", "?template=chat"])
def test_a_server_of_a_merged_llava_reads_llavas_ids_whatever_its_tokenizer(cli, shared, tiny, tmp_path, name, way):
    """With sentencepiece's habits, old and new: start token and the space behind the picture are in the template."""
    words = AutoTokenizer.from_pretrained(shared / "oracle" / "align" / "tokenizers" / name)
    words.add_tokens(["<image>", "<pad>"], special_tokens=True)
    model = tiny.llava_model()
    model.resize_token_embeddings(len(words))
    model.config.image_token_id = model.config.image_token_index = words.convert_tokens_to_ids("<image>")
    model.save_pretrained(tmp_path / "llava")
    LlavaProcessor(
        image_processor=tiny.image_processor(), tokenizer=words, patch_size=8, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=tiny.CHAT,
    ).save_pretrained(tmp_path / "llava")  # fmt: skip
    tiny.save_clip(tiny.clip_model(2), tmp_path / "clip")
    lvlm = f"llava:{tmp_path / 'llava'}{way}"
    said = cli("encoder", "merge", f"clip:{tmp_path / 'clip'}", "--into", lvlm, "--out", tmp_path / "m")
    assert said.code == 0, said.err
    same_ids(lvlm, tmp_path / "m")
    ids = served_ids(tmp_path / "m", "Is it red?", True)
    assert ids[0] == words.bos_token_id and ids.count(words.bos_token_id) == 1


def test_several_turns_are_written_as_llava_writes_them(cli, tiny, tmp_path):
    folder = tiny.save_llava(tiny.llava_model(), tmp_path / "llava")
    tiny.save_clip(tiny.clip_model(2), tmp_path / "clip")
    merging = ("encoder", "merge", f"clip:{tmp_path / 'clip'}", "--into", f"llava:{folder}", "--out", tmp_path / "m")
    assert cli(*merging).code == 0
    talk = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Two."}]},
        {"role": "user", "content": "What color?"},
    ]
    text = AutoProcessor.from_pretrained(tmp_path / "m").apply_chat_template(talk, add_generation_prompt=True)
    assert text.endswith("USER: <image>\nHow many? ASSISTANT: Two.</s>USER: What color? ASSISTANT:")
