"""InstructBLIP and Qwen2.5-VL answer as they are, through the same protocol as LLaVA."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, InstructBlipForConditionalGeneration
from transformers import Qwen2_5_VLForConditionalGeneration as Qwen

from harness import registry
from harness.errors import ModelError
from harness.types import Answer, Asked, Failure, Place, Sample
from harness.vision_language import yes_no_tokens

registry.load()
PLACE = Place(device="cpu")
_FILE = importlib.util.spec_from_file_location("families", Path(__file__).parent / "families.py")
families = importlib.util.module_from_spec(_FILE)
_FILE.loader.exec_module(families)
SAMPLES = tuple(Sample(str(n), None, "", prompt=text, tokens=6) for n, text in enumerate(["Is there a dog?", "red?"]))


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    """Each family's folder, by name."""
    folder = tmp_path_factory.mktemp("families")
    return {
        "qwen2_5_vl": families.save_qwen(folder / "qwen"),
        "instructblip": families.save_instructblip(folder / "blip", tiny.language_tokenizer()),
        "instructblip-t5": families.save_instructblip(folder / "t5", tiny.language_tokenizer(), seq2seq=True),
    }


def spec(saved, name):
    return f"vlm:{saved[name]}" + ("" if name.startswith("qwen") else "?template=bare")


def ask(lvlm, images, samples=SAMPLES):
    return [reply for _, reply in lvlm.answers(Asked(image, samples) for image in images)]


def by_hand(folder, name, image, prompt):
    """The likeliest next token, over and over, by the model's own forward: no generate, no cache."""
    seq2seq = name.endswith("t5")
    kind = Qwen if name.startswith("qwen") else InstructBlipForConditionalGeneration
    model = kind.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    inputs = dict(processor(text=[prompt], images=[image], return_tensors="pt"))
    new = torch.zeros(1, 1 if seq2seq else 0, dtype=torch.long)
    ends = {2} if not name.startswith("qwen") else set(model.generation_config.eos_token_id)
    first = None
    with torch.inference_mode():
        while new.shape[1] < 6 + seq2seq:
            now = dict(inputs)
            if seq2seq:
                now["decoder_input_ids"] = new
            else:
                now["input_ids"] = torch.cat([inputs["input_ids"], new], 1)
                now["attention_mask"] = torch.ones_like(now["input_ids"])
                if "mm_token_type_ids" in now:
                    now["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(new)], 1)
            logits = model(**now).logits[0, -1]
            first = logits if first is None else first
            new = torch.cat([new, logits.argmax().view(1, 1)], 1)
            if int(new[0, -1]) in ends:
                break
    tokenizer = AutoTokenizer.from_pretrained(folder)
    p_yes = yes_no_tokens.of_tokenizer(tokenizer).p_yes(first)
    return tokenizer.decode(new[0], skip_special_tokens=True).strip(), p_yes


@pytest.mark.parametrize("name", ["qwen2_5_vl", "instructblip", "instructblip-t5"])
def test_answers_and_p_yes_are_those_of_the_models_own_forward_token_by_token(saved, name, tiny):
    lvlm = registry.make_lvlm(spec(saved, name), PLACE)(None)
    images = tiny.pictures()
    replies = ask(lvlm, images)
    for n, image in enumerate(images):
        for m, sample in enumerate(SAMPLES):
            text, p_yes = by_hand(saved[name], name, image, lvlm.render(sample.prompt))
            assert replies[n * len(SAMPLES) + m].text == text
            assert replies[n * len(SAMPLES) + m].p_yes == pytest.approx(p_yes, abs=1e-5)
    assert len({reply.p_yes for reply in replies}) == len(replies)  # the picture and the question both count


@pytest.mark.parametrize("name", ["qwen2_5_vl", "instructblip", "instructblip-t5"])
def test_a_run_knows_who_answered_and_how(saved, name):
    lvlm, again = (registry.make_lvlm(spec(saved, name), PLACE)(None) for _ in range(2))
    assert lvlm.digests() == again.digests()
    assert set(lvlm.digests()) == {"model", "tokenizer"}
    about = lvlm.describe()
    assert (about["family"], about["tower"], about["decoding"]) == (name.removesuffix("-t5"), "own", "greedy")


def test_prompts_stand_in_qwens_own_template_and_bare_before_an_instructblip(saved):
    qwen, blip = (registry.make_lvlm(spec(saved, name), PLACE)(None) for name in ("qwen2_5_vl", "instructblip"))
    assert blip.render("Is it red?") == "Is it red?"
    assert qwen.render("Is it red?") == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|>"
        "<|vision_end|>Is it red?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_a_checkpoint_wishes_for_decoding_changes_no_answer(saved, tiny, tmp_path):
    wishful = families.save_qwen(tmp_path / "q", repetition_penalty=50.0, num_beams=3, min_new_tokens=6)
    plain = registry.make_lvlm(spec(saved, "qwen2_5_vl"), PLACE)(None)
    host = registry.make_lvlm(f"vlm:{wishful}", PLACE)
    assert ask(host(None), tiny.pictures()) == ask(plain, tiny.pictures())
    assert host.model.generation_config.repetition_penalty == 50.0


def test_a_repetition_penalty_in_a_llavas_folder_changes_neither_the_plain_nor_the_packed_answers(tiny, tmp_path):
    model = tiny.llava_model()
    answers = []
    for penalty in (None, 50.0):
        model.generation_config.repetition_penalty = penalty
        folder = tiny.save_llava(model, tmp_path / str(penalty))
        for way in ("", "?inference=plain"):
            lvlm = registry.make_lvlm(f"llava:{folder}{way}", PLACE)(None)
            answers.append([reply.text for reply in ask(lvlm, tiny.pictures(1))])
    assert answers == [answers[0]] * 4


def test_qwen_answers_without_a_picture_and_an_instructblip_says_that_it_cannot(saved):
    [reply] = ask(registry.make_lvlm(spec(saved, "qwen2_5_vl"), PLACE)(None), [None], SAMPLES[:1])
    assert isinstance(reply, Answer)
    with pytest.raises(ModelError, match="instructblip answers nothing without a picture"):
        ask(registry.make_lvlm(spec(saved, "instructblip"), PLACE)(None), [None])


def test_a_picture_that_the_processor_refuses_is_one_failure_and_the_others_are_answered(saved, tiny):
    thread = Image.new("RGB", (4, 900))
    replies = ask(registry.make_lvlm(spec(saved, "qwen2_5_vl"), PLACE)(None), [thread, *tiny.pictures(1)], SAMPLES[:1])
    assert isinstance(replies[0], Failure) and "aspect ratio" in replies[0].reason
    assert isinstance(replies[1], Answer)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "instructblip"])
def test_a_tower_goes_only_into_a_clip_vit(saved, name, tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(), tmp_path / "clip")
    host = registry.make_lvlm(spec(saved, name), PLACE)
    with pytest.raises(ModelError, match=f"is a {name} without a CLIP ViT: it is evaluated as it is") as refused:
        host(registry.make_encoder(f"clip:{tmp_path / 'clip'}", PLACE))
    assert "\n" not in str(refused.value)


def test_a_template_that_leaves_no_place_for_the_picture_is_refused_before_the_run(saved):
    with pytest.raises(ModelError, match="no place for the picture"):
        registry.make_lvlm(f"vlm:{saved['qwen2_5_vl']}?template=bare", PLACE)
    with pytest.raises(ModelError, match=r"no chat template; \?template=bare needs none"):
        registry.make_lvlm(f"vlm:{saved['instructblip']}", PLACE)
