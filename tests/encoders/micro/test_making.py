"""What the micro models are taught, and that making them again gives the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from encoders.micro.making import __main__ as make
from encoders.micro.making import clips, conversations, language_model
from encoders.micro.making.tokenizers import caption_tokenizer, caption_words, talk_tokenizer, talk_words
from harness import registry
from harness.micro import amber, pope, talk
from harness.micro.captions import row, web_caption
from harness.micro.scene import Mix, Scene, Thing, scene
from harness.vision_language import tokens
from harness.vision_language.identity import tower_digest

KINDS = ("random", "popular", "adversarial", "delete")
SCENES = [scene(f"words/{n}", Mix(least=3)) for n in range(120)]


@pytest.fixture(scope="module")
def llava() -> LlavaForConditionalGeneration:
    return language_model.fresh(0).eval()


def test_no_end_token_has_the_id_2_at_which_clip_pools_elsewhere() -> None:
    assert caption_tokenizer(48).eos_token_id not in (None, 2)
    assert talk_tokenizer(48).eos_token_id not in (None, 2)
    assert clips.config().text_config.eos_token_id == caption_tokenizer(48).eos_token_id


def test_every_word_of_every_caption_is_known() -> None:
    words = caption_tokenizer(clips.LENGTH)
    captions = [web_caption(item, take) for item in SCENES for take in range(3)]
    for item in SCENES:
        annotation = row(item)
        captions += [annotation["positive_sample"]]
        captions += [text for kind in KINDS for text in annotation[f"{kind}_samples"].values()]
    read = words(captions)["input_ids"]
    assert all(words.unk_token_id not in ids for ids in read)
    assert max(map(len, read)) <= clips.LENGTH


def test_every_word_of_every_question_is_known() -> None:
    words = talk_tokenizer(conversations.LENGTH)
    _, queries = amber.files(SCENES)
    asked = [query["query"] for query in queries["query_all"]]
    asked += [item["text"] for sampling in pope.SAMPLINGS for item in pope.rows(SCENES, sampling)]
    assert all(words.unk_token_id not in ids for ids in words(asked)["input_ids"])


def test_every_word_is_listed_once() -> None:
    assert len(caption_words()) == len(set(caption_words()))
    assert len(talk_words()) == len(set(talk_words()))


def test_a_caption_is_read_at_its_end_whatever_the_padding() -> None:
    clip = clips.fresh(0)
    clip.model.eval()
    with torch.no_grad():
        alone = clip.texts(["a car and a tree"])
        beside = clip.texts(["a car and a tree", "a car and a tent", "a car, a tree, a cat, a bed and a book"])
        ids = clip.words(["a car and a tree"], return_tensors="pt")["input_ids"]
        last = clip.model.text_model(input_ids=ids).last_hidden_state[:, -1]
        at_end = torch.nn.functional.normalize(clip.model.text_projection(last), dim=-1)
    assert torch.allclose(alone, beside[:1], atol=1e-6)
    assert torch.allclose(alone, at_end, atol=1e-6)
    assert not torch.allclose(beside[0], beside[1], atol=1e-3)


def test_a_turn_sees_the_scene_and_itself_and_nothing_of_the_other_turns(llava: LlavaForConditionalGeneration) -> None:
    words = talk_tokenizer(conversations.LENGTH)
    turns = talk.turns(SCENES[0], Random(0), 4)
    slots = torch.randn(1, talk.SLOTS, 128)
    together = conversations.lesson(words, [turns])
    with torch.no_grad():
        whole = hidden(llava, together, slots)
        at = together.slots.stop
        for turn in turns:
            one = conversations.lesson(words, [[turn]])
            alone = hidden(llava, one, slots)[:, one.slots.stop :]
            assert torch.allclose(whole[:, at : at + alone.shape[1]], alone, atol=1e-4)
            at += alone.shape[1]


def hidden(model: LlavaForConditionalGeneration, taught: conversations.Lesson, slots: torch.Tensor) -> torch.Tensor:
    language = model.model.language_model
    embeds = language.embed_tokens(taught.ids_BL)
    embeds = torch.cat([embeds[:, : taught.slots.start], slots, embeds[:, taught.slots.stop :]], dim=1)
    return language(
        inputs_embeds=embeds, attention_mask=taught.mask_B1LL, position_ids=taught.positions_BL, use_cache=False
    ).last_hidden_state


def test_a_lesson_has_the_tokens_that_the_shipped_template_gives() -> None:
    words = talk_tokenizer(conversations.LENGTH)
    words.chat_template = conversations.TEMPLATE
    content = [{"type": "image"}, {"type": "text", "text": "Is there a cup in this image?"}]
    text = words.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)
    taught = conversations.lesson(words, [[("Is there a cup in this image?", "Yes")]])
    picture = [words.convert_tokens_to_ids("<image>")] * talk.SLOTS
    prompt = tokens.through(words, text, picture, "<image>")
    assert taught.ids_BL[0, : len(prompt)].tolist() == prompt
    assert words.decode(taught.ids_BL[0, len(prompt) :]) == "Yes</s>" or taught.ids_BL[0, -1] == words.eos_token_id
    assert (taught.labels_BL[0, : len(prompt)] == -100).all()


def test_answers_are_true_of_the_scene() -> None:
    drawn = Scene("true", "beach", (Thing("cat", "red", "sit", 0), Thing("cat", "red", "sit", 5)))
    assert talk.caption(drawn) == "there is a red cat."
    assert talk.cells(drawn).split().count("cat") == 2
    rng = Random(0)
    asked = {query: answer for _ in range(60) for query, answer in (talk.count(drawn, rng), talk.pose(drawn, rng))}
    assert asked["Are there two cats in this image?"] == "Yes"
    assert asked["Is there one cat in this image?"] == "No"
    assert asked["Does the cat lie in this image?"] == "No"


def test_the_same_recipe_gives_the_same_encoder(tmp_path: Path) -> None:
    recipe = clips.Pretraining(scenes=48, steps=3, batch=16)
    tuning = clips.Tuning(rows=16, steps=2, batch=8, negatives=3, replay_batch=8)
    found = []
    for name in ("one", "two"):
        clip = clips.tune(clips.pretrain(recipe), tuning, clips.Web(recipe))
        clip.save(tmp_path / name)
        found.append(tower_digest(clips.load(tmp_path / name).model.vision_model))
    assert found[0] == found[1]
    control = clips.tune(clips.pretrain(recipe), replace(tuning, negatives=0), clips.Web(recipe))
    assert tower_digest(control.model.half().float().vision_model) != found[0]


def test_the_shipped_projectors_are_what_align_makes_for_each_tower(tmp_path: Path) -> None:
    model, tower = language_model.fresh(0), clips.fresh(1).model.vision_model
    registry.load()
    one, other = (make.aligned(name, ["updates=2", "validation=0"]) for name in ("micro", "micro-ohd"))
    assert all((one[name] != other[name]).any() for name in one)
    make.seeing(model, tower, one)
    make.save(model, tmp_path)
    again = LlavaForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    assert tower_digest(again.model.vision_tower) == tower_digest(tower.half().float())
    assert all(again.model.multi_modal_projector.get_parameter(name).equal(one[name].half().float()) for name in one)


def test_the_language_model_learns_from_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model = language_model.fresh(0)
    losses: list[float] = []
    real = language_model._loss
    monkeypatch.setattr(language_model, "_loss", lambda *given: (losses.append((v := real(*given)).item()), v)[1])
    language_model.teach(model, language_model.Talking(steps=12, batch=8, questions=2))
    assert losses[-1] < losses[0] - 0.5
    assert make.hub_names(model).keys() >= {
        "language_model.model.embed_tokens.weight",
        "multi_modal_projector.linear_1.weight",
        "vision_tower.vision_model.post_layernorm.weight",
    }
