"""What a GPU would wait for, counted where there is none: waits of the host, padded tokens, columns, bytes copied."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from harness.vision_language.packed import kv_cache
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.yes_no_tokens import YesNoTokens

_spec = importlib.util.spec_from_file_location("packed_models", Path(__file__).with_name("test_packed.py"))
assert _spec and _spec.loader
packed = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(packed)


class Waits(TorchDispatchMode):
    """Counts the operators for whose numbers the host waits on a GPU, whoever calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.scalars = self.unknown_sizes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        self.scalars += name.startswith(("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"))
        self.unknown_sizes += name.startswith(("aten::nonzero", "aten::masked_select", "aten::unique"))
        if name.startswith("aten::index"):
            masks = args[1] if isinstance(args[1], list | tuple) else []
            self.unknown_sizes += any(isinstance(one, torch.Tensor) and one.dtype == torch.bool for one in masks)
        return func(*args, **(kwargs or {}))


def test_the_host_waits_once_a_step_and_twice_a_prefill_and_for_nothing_else():
    requests = packed.seeded_pages(6)
    decoder = PackedDecoder(packed.llava(), packed.ends, 3, YesNoTokens((9,), (10,)).of_all)
    with Waits() as counted:
        said = list(decoder.answers(requests))
    work = decoder.work
    assert work.waits == work.steps + 2 * work.prefills
    assert (counted.scalars, counted.unknown_sizes) == (0, 0)
    assert len(said) == sum(len(one.prompts) for one in requests)


def test_answers_are_handed_over_while_the_next_step_is_computed(monkeypatch):
    decoder, told = PackedDecoder(packed.llava(), packed.ends, 2), []
    for name in ("step", "landed"):
        real = getattr(decoder.forward, name)
        monkeypatch.setattr(decoder.forward, name, lambda *a, name=name, real=real: (told.append(name), real(*a))[1])
    for _ in decoder.answers(packed.seeded_pages(6)):
        told.append("answer")
    last = max(n for n, what in enumerate(told) if what == "landed")  # after it nothing is left to compute
    answers = [n for n, what in enumerate(told[:last]) if what == "answer"]
    assert len(answers) > 10
    assert all(next(what for what in reversed(told[:n]) if what != "answer") == "step" for n in answers)


def test_p_yes_is_read_once_a_prefill_and_is_that_of_each_answer_alone():
    words = YesNoTokens((9, 4), (10,))
    for one in PackedDecoder(packed.llava(), packed.ends, 3, words.of_all).answers(packed.seeded_pages(4)):
        assert one.read == pytest.approx(words.p_yes(one.first), abs=1e-6)


def test_padded_tokens_are_those_of_the_shorter_rows():
    def alike(image):
        return packed.request(image, [((9, 10), 4)] * 2 + [((11,), 4)])

    even = PackedDecoder(packed.llava(), lambda tokens, prompt: False, 3)
    list(even.answers([alike(n) for n in range(3)]))
    wide = packed.request(3, [((n,), 4) for n in range(3, 9)])
    odd = PackedDecoder(packed.llava(), lambda tokens, prompt: False, 3)
    list(odd.answers([alike(0), alike(1), wide]))
    steps = 3  # four tokens each, the first of the prefill
    assert odd.work.padded_tokens - even.work.padded_tokens >= steps * 2 * (6 - 3)
    assert even.work.copied_bytes > 0


def described(image, questions=5):
    """A page of questions of three tokens and a caption of forty, as AMBER asks."""
    return packed.request(image, [((9, 10), 40), *[((3 + n,), 3) for n in range(questions)]])


def never(tokens, prompt) -> bool:
    return False


@given(st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_no_caption_is_padded_to_the_questions_of_another_image(images, rows):
    decoder = PackedDecoder(packed.llava(), never, rows)
    said = list(decoder.answers([described(n) for n in range(images)]))
    asked = decoder.work.step_tokens
    assert asked == images * (39 + 5 * 2) and len(said) == images * 6
    prompt = len(packed.tree([one.tokens for one in described(0).prompts], packed.IMAGE))
    assert decoder.work.padded_tokens == images * (kv_cache.aligned(prompt) - prompt)  # of prefills; of steps none


def test_a_caption_reads_its_own_columns_once_the_questions_beside_it_are_answered(monkeypatch):
    page, read = described(0, questions=12), []
    decoder = PackedDecoder(packed.llava(), never, 1)
    real = decoder.forward._language

    def seen(embeds, sees, positions, cache):
        read.append((sees.shape[-1], int(sees[0, 0].sum())))
        return real(embeds, sees, positions, cache)

    monkeypatch.setattr(decoder.forward, "_language", seen)
    list(decoder.answers([page]))
    laid_out, own = read[-1]
    assert own == len(page.prompts[0].tokens) + 39
    assert laid_out == kv_cache.aligned(own)


def test_a_long_limit_lays_out_few_columns_and_more_only_where_an_answer_is_long(monkeypatch):
    monkeypatch.setattr(kv_cache, "GROWTH", 16)
    short = PackedDecoder(packed.llava(), lambda tokens, prompt: len(tokens) >= 5, 2)
    list(short.answers([packed.request(n, [((9,), 60)]) for n in range(4)]))
    long = PackedDecoder(packed.llava(), lambda tokens, prompt: False, 2)
    said = list(long.answers([packed.request(n, [((9,), 60)]) for n in range(4)]))
    prompt = len(packed.request(0, [((9,), 60)]).prompts[0].tokens)
    assert short.work.growths == 0 and short.work.columns <= kv_cache.aligned(prompt + 16)
    assert long.work.growths == 2 and long.work.columns <= kv_cache.aligned(prompt + 60)
    assert all(len(one.tokens) == 60 for one in said)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=packed.st.lists(packed.questions, min_size=1, max_size=4))
def test_answers_from_columns_that_grew_are_those_of_one_generate_per_question(asked, monkeypatch):
    monkeypatch.setattr(kv_cache, "GROWTH", 1)
    requests = [packed.request(image, one) for image, one in enumerate(asked)]
    for one in PackedDecoder(packed.llava(), packed.ends, 2).answers(requests):
        packed.assert_as_alone(one)
