"""Packed trees give the tokens and the logits of one ``generate`` per question, whatever is asked together."""

from __future__ import annotations

import gc
import random
import weakref
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from harness.errors import DegenerateError, ModelError
from harness.vision_language.packed import decode, kv_cache
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.packed.forward import why_not_packed
from harness.vision_language.packed.prefix_tree import tree
from harness.vision_language.packed.requests import ImageRequest, Prompt

IMAGE, END, PATCHES = 63, 2, 4
BEFORE = (1, 5, 6, *[IMAGE] * PATCHES, 7, 8)


@lru_cache
def llava(heads: int = 4, attention: str = "sdpa") -> LlavaForConditionalGeneration:
    torch.manual_seed(heads)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=heads,
            vocab_size=64,
            max_position_embeddings=512,
            eos_token_id=None,
            bos_token_id=None,
        ),
        image_token_index=IMAGE,
        attn_implementation=attention,
    )
    model = LlavaForConditionalGeneration(config).eval()
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.25)
    return model


def pixels(seed: int) -> torch.Tensor:
    return torch.randn(3, 28, 28, generator=torch.Generator().manual_seed(seed))


def ends(tokens, prompt) -> bool:
    return tokens[-1] == END


@lru_cache(maxsize=4096)
def alone(image: int | None, tokens: tuple[int, ...], limit: int, heads: int = 4):
    """The reference: one ``generate`` for one question."""
    seen = {} if image is None else {"pixel_values": pixels(image)[None]}
    ids = torch.tensor([tokens])
    out = llava(heads).generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=limit,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
        **seen,
    )
    return tuple(out.sequences[0, len(tokens) :].tolist()), out.logits[0][0]


words = st.lists(st.integers(3, 12), min_size=1, max_size=7).map(tuple)
questions = st.lists(st.tuples(words, st.integers(1, 7)), min_size=1, max_size=5)


def request(image: int | None, asked) -> ImageRequest:
    before = BEFORE if image is not None else (1, 5, 6, 7, 8)
    prompts = [Prompt((image, n), before + text + (3, 4), limit) for n, (text, limit) in enumerate(asked)]
    return ImageRequest(None if image is None else pixels(image), tuple(prompts))


def assert_as_alone(said, heads: int = 4) -> None:
    tokens, logits = alone(said.prompt.key[0], said.prompt.tokens, said.prompt.limit, heads)
    assert said.tokens == tokens
    assert (said.first - logits).abs().max() <= 1e-4
    share = torch.sigmoid(said.first[9] - said.first[10]) - torch.sigmoid(logits[9] - logits[10])
    assert abs(share) <= 1e-5


@settings(max_examples=25, deadline=None)
@given(st.lists(questions, min_size=1, max_size=6), st.integers(0, 4), st.sampled_from([4, 2]), st.booleans())
def test_answers_are_those_of_one_generate_per_question(asked, rows, heads, blind):
    requests = [request(image, one) for image, one in enumerate(asked)]
    if blind:
        requests.append(request(None, asked[0]))
    said = list(PackedDecoder(llava(heads), ends, rows).answers(requests))
    assert sorted(str(s.prompt.key) for s in said) == sorted(str(p.key) for one in requests for p in one.prompts)
    for one in said:
        assert_as_alone(one, heads)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(questions, words, st.integers(8, 20)), min_size=1, max_size=5), st.integers(0, 4))
def test_a_long_answer_is_the_same_when_the_questions_beside_it_are_dropped(asked, rows):
    requests = [request(image, [(text, limit), *short]) for image, (short, text, limit) in enumerate(asked)]
    before, decode.MOVING = decode.MOVING, 0  # wherever a column is seen in vain, not only where many are
    try:
        for one in PackedDecoder(llava(), ends, rows).answers(requests):
            assert_as_alone(one)
    finally:
        decode.MOVING = before


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(3, 6), max_size=6).map(tuple), min_size=1, max_size=8))
def test_a_tree_holds_every_distinct_prefix_once_and_each_prompt_as_a_path(texts):
    prompts = [BEFORE + text for text in texts]
    packed = tree(prompts, IMAGE)
    assert len(packed) == len({prompt[:n] for prompt in prompts for n in range(1, len(prompt) + 1)})
    for prompt, leaf in zip(prompts, packed.leaves, strict=True):
        path = packed.path(leaf)
        assert tuple(packed.tokens[path]) == prompt
        assert packed.positions[path].tolist() == list(range(len(prompt)))
        assert packed.picture[path].tolist() == [-1] * 3 + [0, 1, 2, 3] + [-1] * (2 + len(prompt) - len(BEFORE))


def test_an_image_behind_the_question_is_shared_by_no_one_and_still_read():
    prompts = [Prompt((3, n), (1, 9 + n, *[IMAGE] * PATCHES, 5), 4) for n in range(3)]
    decoder = PackedDecoder(llava(), ends)
    for one in decoder.answers([ImageRequest(pixels(3), tuple(prompts))]):
        assert_as_alone(one)
    assert decoder.work.vision_calls == 1
    assert decoder.work.prompt_tokens == 1 + 3 * 6


def test_eager_attention_gives_the_same():
    asked = request(1, [((9, 10), 5), ((11,), 6)])
    for one in PackedDecoder(llava(4, "eager"), ends).answers([asked]):
        assert_as_alone(one)


def seeded_pages(images: int, per_image: int = 4) -> list[ImageRequest]:
    rng = random.Random(4)
    return [
        request(i, [(tuple(rng.randrange(3, 13) for _ in range(rng.randrange(1, 6))), 6) for _ in range(per_image)])
        for i in range(images)
    ]


def answers_by_key(decoder, requests):
    return {one.prompt.key: one.tokens for one in decoder.answers(requests)}


def test_order_and_rows_and_what_is_asked_together_change_no_answer():
    requests = seeded_pages(7)
    reference = answers_by_key(PackedDecoder(llava(), ends, 1), requests)
    split = [ImageRequest(one.pixels, (prompt,)) for one in requests for prompt in one.prompts]
    for some in (requests[::-1], split, split[3:] + split[:3]):
        for rows in (1, 3, 16):
            assert answers_by_key(PackedDecoder(llava(), ends, rows), some) == reference


def test_each_image_goes_through_the_tower_once_and_each_shared_token_through_the_model_once():
    requests = seeded_pages(5)
    decoder = PackedDecoder(llava(), ends, 2)
    list(decoder.answers(requests))
    assert decoder.work.images == decoder.work.vision_calls == 5
    distinct = sum(len({p.tokens[:n] for p in one.prompts for n in range(1, len(p.tokens) + 1)}) for one in requests)
    assert decoder.work.prompt_tokens == distinct


def test_a_row_is_refilled_as_soon_as_it_ends():
    limits = [2, 2, 2, 8, 2, 2, 2]
    requests = [request(i, [((9, 10, 11), limit)]) for i, limit in enumerate(limits)]
    decoder = PackedDecoder(llava(), lambda tokens, prompt: False, 2)
    list(decoder.answers(requests))
    # Fixed batches of two take 1 + 7 + 1 + 1 steps: the long answer holds its neighbour's place for six of them.
    assert decoder.work.steps == 8
    assert decoder.work.step_tokens == sum(limits) - len(limits)


def test_an_answer_that_ends_takes_no_further_step():
    asked = request(0, [((9,), 6), ((10,), 6)])
    decoder = PackedDecoder(llava(), lambda tokens, prompt: True)
    assert [len(one.tokens) for one in decoder.answers([asked])] == [1, 1]
    assert decoder.work.steps == 0


class Scarce:
    """Wraps a forward so that it runs out of memory where more than so many trees or branches are asked at once."""

    def __init__(self, real, most_rows: int, most_branches: int) -> None:
        self.real, self.most_rows, self.most_branches = real, most_rows, most_branches

    def __getattr__(self, name):
        return getattr(self.real, name)

    def prefill(self, cache, rows, start):
        if sum(len(row.request.prompts) for row in rows) > self.most_branches:
            raise torch.OutOfMemoryError("no memory for this prefill")
        return self.real.prefill(cache, rows, start)

    def step(self, cache, rows, start):
        if len(rows) > self.most_rows:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return self.real.step(cache, rows, start)


def test_running_out_of_memory_halves_the_rows_and_loses_no_answer():
    requests = seeded_pages(9)
    reference = answers_by_key(PackedDecoder(llava(), ends, 1), requests)
    decoder = PackedDecoder(llava(), ends, 8)
    decoder.forward = Scarce(decoder.forward, most_rows=2, most_branches=3)
    said = list(decoder.answers(requests))
    assert len(said) == len(reference)
    assert {one.prompt.key: one.tokens for one in said} == reference
    assert decoder.work.halvings >= 2


def test_an_answer_begun_goes_on_where_memory_ran_out_and_keeps_its_first_logits():
    every = [request(n, [((9, 10, n + 3), 30)]) for n in range(9)]
    # One that says the image's own token has to begin anew.
    requests = [one for one in every if IMAGE not in alone(*one.prompts[0].key[:1], one.prompts[0].tokens, 30)[0]][:4]
    whole = PackedDecoder(llava(), lambda tokens, prompt: False, 4)
    reference = {one.prompt.key: one for one in whole.answers(requests)}
    late = PackedDecoder(llava(), lambda tokens, prompt: False, 4)
    late.forward = Scarce(late.forward, most_rows=9, most_branches=9)
    real = late.forward.step

    def step(cache, rows, start):
        if late.work.steps == 20:
            late.forward.most_rows = 2
        return real(cache, rows, start)

    late.forward.step = step
    for one in late.answers(requests):
        assert one.tokens == reference[one.prompt.key].tokens
        assert torch.equal(one.first, reference[one.prompt.key].first)
    assert late.work.halvings == 1 and late.work.prefills == 8
    assert late.work.step_tokens == whole.work.step_tokens - 4  # the prefill that goes on gives each its next token


def test_images_prefilled_together_as_on_a_gpu_get_the_same_answers(monkeypatch):
    monkeypatch.setitem(kv_cache.PREFILL_TOKENS, "cpu", 60)
    requests = [*seeded_pages(9), request(None, [((9, 10), 5)])]
    decoder = PackedDecoder(llava(), ends, 6)
    for one in decoder.answers(requests):
        assert_as_alone(one)
    assert decoder.work.images == 9
    assert decoder.work.vision_calls < 9
    assert decoder.work.prefills < 10


def test_one_question_that_does_not_fit_is_an_error_and_no_answer():
    decoder = PackedDecoder(llava(), ends, 2)
    decoder.forward = Scarce(decoder.forward, most_rows=0, most_branches=9)
    with pytest.raises(ModelError, match="does not fit into memory"):
        list(decoder.answers(seeded_pages(2)))


def test_other_runtime_errors_are_not_taken_for_lack_of_memory():
    decoder = PackedDecoder(llava(), ends)
    wrong = ImageRequest(pixels(0), (Prompt((0, 0), (1, IMAGE, 5), 2),))
    with pytest.raises(ModelError, match="image tokens"):
        list(decoder.answers([wrong]))


def test_logits_that_are_not_finite_are_degenerate():
    llava.cache_clear()
    broken = llava()
    with torch.no_grad():
        broken.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(DegenerateError, match="not finite"):
        list(PackedDecoder(broken, ends).answers([request(0, [((9,), 2)])]))
    llava.cache_clear()


def test_auto_rows_follow_free_memory():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    each = kv_cache.row_bytes(LlamaConfig(), 1016, 2)  # LLaVA-1.5-7B in bf16: half a megabyte a token
    assert each == 2 * 32 * 4096 * 1024 * 2
    assert kv_cache.auto_rows(each, cpu, lambda _: 0) == 1
    assert kv_cache.auto_rows(each, cuda, lambda _: 4 * each) == 3
    assert kv_cache.auto_rows(each, cuda, lambda _: 10**15) == 160


def test_the_cache_is_laid_out_anew_for_a_longer_request(monkeypatch):
    monkeypatch.setattr(decode, "PEEKED", 1)
    requests = [request(0, [((9,), 2)]), request(1, [(tuple(range(3, 12)), 7)] * 3), request(2, [((9,), 2)])]
    for one in PackedDecoder(llava(), ends, 2).answers(requests):
        assert_as_alone(one)


def test_the_old_cache_is_freed_before_it_is_measured_how_many_rows_of_the_new_one_fit(monkeypatch):
    monkeypatch.setattr(decode, "PEEKED", 1)
    tensors, alive, widths = [], [], []
    lay, honest = kv_cache.Layer.lazy_initialization, kv_cache.KVCache

    def laid(layer, *states):
        lay(layer, *states)
        tensors.extend([weakref.ref(layer.keys), weakref.ref(layer.values)])

    def measured(each, device):
        alive.append(sum(tensor() is not None for tensor in tensors))
        return 2

    def made(layers, rows, width):
        widths.append(width)
        return honest(layers, rows, width)

    monkeypatch.setattr(kv_cache.Layer, "lazy_initialization", laid)
    monkeypatch.setattr(kv_cache, "auto_rows", measured)
    monkeypatch.setattr(kv_cache, "KVCache", made)
    short, long = ((9,), 2), (tuple(range(3, 12)), 7)
    requests = [
        request(0, [short]),
        request(1, [long] * 2),
        request(2, [short]),
        request(3, [long] * 4),
        request(4, [long]),
    ]
    gc.disable()
    try:
        for one in PackedDecoder(llava(), ends).answers(requests):
            assert_as_alone(one)
        assert not any(tensor() is not None for tensor in tensors)
    finally:
        gc.enable()
    assert alive == [0, 0, 0]
    assert widths == sorted(set(widths))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"_attn_implementation": "flash_attention_2"}, "takes no tree mask"),
        ({"model_type": "mamba"}, "not known to follow"),
        ({"sliding_window": 64}, "slides over a window"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "length of the batch"),
    ],
)
def test_models_that_cannot_be_packed_say_why(change, why):
    class Model:
        class config:
            @staticmethod
            def get_text_config():
                text = LlamaConfig(attn_implementation="sdpa")
                for key, value in change.items():
                    object.__setattr__(text, key, value) if key == "model_type" else setattr(text, key, value)
                return text

    assert why in why_not_packed(Model()) if why else why_not_packed(Model()) == ""


def test_bf16_flips_no_more_answers_than_batching_does():
    requests = seeded_pages(12, 3)
    model = llava(2).to(torch.bfloat16)
    try:
        packed = answers_by_key(PackedDecoder(model, ends, 4), requests)
        single = {}
        batched = {}
        for one in requests:
            for size, kept in ((1, single), (3, batched)):
                for start in range(0, len(one.prompts), size):
                    kept.update(generated(model, one, one.prompts[start : start + size]))
        flips = sum(packed[key] != single[key] for key in single)
        own = sum(batched[key] != single[key] for key in single)
        assert flips <= max(own, 2)
    finally:
        model.float()
        llava.cache_clear()


def generated(model, one, prompts):
    """``generate`` over several questions of one image, padded on the left."""
    width = max(len(p.tokens) for p in prompts)
    ids = torch.tensor([[0] * (width - len(p.tokens)) + list(p.tokens) for p in prompts])
    out = model.generate(
        input_ids=ids,
        attention_mask=(torch.arange(width) >= torch.tensor([[width - len(p.tokens)] for p in prompts])).long(),
        pixel_values=one.pixels[None].expand(len(prompts), -1, -1, -1).bfloat16(),
        max_new_tokens=6,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=0,
    )
    rows = zip(prompts, out[:, width:].tolist(), strict=True)
    return {p.key: tuple(t[: t.index(END) + 1] if END in t else t) for p, t in rows}
