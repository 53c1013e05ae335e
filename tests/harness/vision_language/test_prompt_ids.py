"""Prompts are tokenised as the models' authors do it: LLaVA's ids by its own code's output, others by transformers'."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness import registry
from harness.types import Answer, Asked, Failure, Place, Sample
from harness.vision_language import template, tokens

registry.load()
PLACE = Place(device="cpu")
LLAVA = -200
_FILE = importlib.util.spec_from_file_location("families", Path(__file__).parent / "families.py")
families = importlib.util.module_from_spec(_FILE)
_FILE.loader.exec_module(families)


@pytest.fixture(scope="module")
def oracle(shared):
    """Rows made by LLaVA's own code, and the tokenizers they were made with."""
    from transformers import AutoTokenizer

    folder = shared / "oracle" / "align"
    cases = json.loads((folder / "cases.json").read_text())["cases"]
    names = {case["tokenizer"] for case in cases}
    return cases, {name: AutoTokenizer.from_pretrained(folder / "tokenizers" / name) for name in names}


def rows(oracle):
    cases, tokenizers = oracle
    for case in cases:
        for row in case["conversations"]:
            yield tokenizers[case["tokenizer"]], row["prompt"], row["input_ids"]


def test_every_row_of_llavas_own_code_has_our_ids(oracle):
    for tokenizer, prompt, ids in rows(oracle):
        assert tokens.around(tokenizer, prompt, [LLAVA])[: len(ids)] == ids, prompt


def test_vicunas_template_asks_llavas_own_questions(oracle):
    """The part before the first answer, question and template apart, is what LLaVA's code wrote and tokenised."""
    asked = 0
    for tokenizer, prompt, ids in rows(oracle):
        before, found, after = prompt.partition(" USER: <image>\n")
        question = after.partition(" ASSISTANT:")[0]
        if not found or before != template.SYSTEM:
            continue
        rendered = template.vicuna_v1(question, picture=True)
        got = tokens.around(tokenizer, rendered, [LLAVA])
        assert prompt.startswith(rendered)
        assert got == ids[: len(got)], prompt
        asked += 1
    assert asked >= 10


def test_a_question_without_a_picture_has_no_lone_space(oracle):
    _, tokenizers = oracle
    text = template.vicuna_v1("Is it red?", picture=False)
    for tokenizer in tokenizers.values():
        assert tokens.around(tokenizer, text, [LLAVA]) == tokenizer(text)["input_ids"]


def test_one_pass_through_the_image_gives_other_ids(oracle):
    """Why the way of tokenising is part of a template: LLaVA's newline stands behind a space of its own."""
    _, tokenizers = oracle
    tokenizer = tokenizers["vicuna_like"]
    text = template.vicuna_v1("Is it red?", picture=True)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    once = tokens.through(tokenizer, text, [LLAVA], "<image>")
    apart = tokens.around(tokenizer, text, [LLAVA])
    assert len(apart) == len(once) + 1
    assert tokenizer.convert_ids_to_tokens(apart[apart.index(LLAVA) + 1]) == "▁"


words = st.lists(st.sampled_from(["<image>", " ", "\n", "a cat", "USER:", " the", "<s>x"]), max_size=6).map("".join)


@given(words)
def test_there_is_one_start_token_and_one_picture_for_each_marker(oracle, text):
    _, tokenizers = oracle
    ids = tokens.around(tokenizers["vicuna_like"], text.replace("<s>", ""), [LLAVA] * 3)
    assert ids[0] == 1
    assert ids.count(1) == 1
    assert ids.count(LLAVA) == 3 * text.count("<image>")


def test_a_run_records_the_ids_of_its_first_prompt(cli, tmp_path):
    said = cli("run", "-l", "micro-llava", "-t", "pope", "--data", "micro", "--limit", 2, "--results", tmp_path)
    assert said.code == 0, said.err
    (manifest,) = (json.loads(path.read_text()) for path in tmp_path.glob("*/run.json"))
    told = manifest["tasks"]["pope"]["first_prompt"]
    lvlm = registry.make_lvlm("micro-llava", PLACE)(None)
    question = told["text"].removeprefix("<s>USER: <image>\n").removesuffix(" ASSISTANT:")
    ids = lvlm.prompt_ids(Asked(object(), (Sample("1", None, "", prompt=question),)))
    from harness import digest

    assert told == {"text": lvlm.render(question), "ids": len(ids), "digest": digest.of_json(list(ids))}


FAMILIES = ("gemma3", "llava_next", "llava_next, no start token in its template", "qwen2_5_vl")


def family(name, folder, tiny):
    words = tiny.language_tokenizer()
    if name == "gemma3":
        return families.save_gemma3(folder, words)
    if name == "qwen2_5_vl":
        return families.save_qwen(folder)
    chat = families.NEXT_CHAT if name == "llava_next" else families.NEXT_CHAT.removeprefix("{{ bos_token }}")
    return families.save_next(folder, families.starting(words), chat, tiny.clip_config().vision_config)


def by_transformers(folder, image, prompt):
    """What transformers itself makes of a question."""
    from transformers import AutoImageProcessor, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    content = [{"type": "image", "image": image}] if image is not None else []
    talk = [{"role": "user", "content": [*content, {"type": "text", "text": prompt}]}]
    return processor.apply_chat_template(
        talk, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_asked_with_the_ids_of_its_own_chat_template(name, tiny, tmp_path):
    from transformers import AutoModelForImageTextToText

    folder = family(name, tmp_path / "model", tiny)
    lvlm = registry.make_lvlm(f"vlm:{folder}", PLACE)(None)
    (image,) = tiny.pictures(1)
    sample = Sample("1", None, "", prompt="Is there a dog?", tokens=6)
    theirs = by_transformers(folder, image, sample.prompt)
    ids = lvlm.prompt_ids(Asked(image, (sample,)))
    assert ids == theirs["input_ids"][0].tolist()
    start = lvlm.tokenizer.bos_token_id
    assert ids.count(start) == (0 if start is None else 1)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    with torch.inference_mode():
        out = model.generate(**theirs, max_new_tokens=6, do_sample=False, repetition_penalty=1.0)
    words = lvlm.tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True).strip()
    [(_, reply)] = lvlm.answers([Asked(image, (sample,))])
    assert reply.text == words


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_asked_with_its_own_image_token_fails_at_that_question_alone(name, tiny, tmp_path):
    lvlm = registry.make_lvlm(f"vlm:{family(name, tmp_path / 'model', tiny)}", PLACE)(None)
    processor = lvlm.host.processor
    mark = getattr(processor, "boi_token", processor.image_token)
    odd = Sample("odd", None, "", prompt=f"Is there a {mark} here?", tokens=2)
    (image,) = tiny.pictures(1)
    asked = [Asked(image, (odd, Sample("1", None, "", prompt="Is there a dog?", tokens=2))), Asked(None, (odd,))]
    replies = [reply for _, reply in lvlm.answers(asked)]
    assert [type(reply) for reply in replies] == [Failure, Answer, Failure]
    assert f"the question's text holds {mark}, which stands for a picture" in replies[0].reason
    assert lvlm.prompt_ids(Asked(image, (odd,))) is None


@pytest.mark.parametrize("start", ["", "{{ bos_token }}"])
def test_llava_in_its_folders_template_has_the_ids_of_transformers(start, tiny, tmp_path):
    folder = tiny.save_llava(tiny.llava_model(), tmp_path / "llava")
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    families.starting(processor.tokenizer)
    processor.chat_template = start + tiny.CHAT
    processor.save_pretrained(folder)
    lvlm = registry.make_lvlm(f"llava:{folder}?template=chat", PLACE)(None)
    for image in (*tiny.pictures(1), None):
        sample = Sample("1", None, "", prompt="Is there a dog?")
        ids = list(lvlm.prompt_ids(Asked(image, (sample,))))
        assert ids == by_transformers(folder, image, sample.prompt)["input_ids"][0].tolist()
        assert ids.count(1) == 1
