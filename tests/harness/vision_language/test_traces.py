"""A model that reasons before it answers: what ends an answer ends no trace; a trace without an end is no answer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness import registry, traces
from harness.types import Answer, Failure, Place
from harness.vision_language.family import _Until
from harness.vision_language.packed.requests import Completion, Prompt
from harness.vision_language.tokens import spoken

WORDS = ["Yes", "No", "yes", "no", ".", "dog", "cat"]


@pytest.fixture(scope="module")
def tokenizer(tiny):
    found = tiny.language_tokenizer()
    found.add_tokens(["<think>", "</think>"], special_tokens=True)
    found.add_tokens(["."])
    return found


def ids(tokenizer, words) -> list[int]:
    return [id for word in words for id in tokenizer(word, add_special_tokens=False)["input_ids"]]


def stops_at(tokenizer, tokens, opened="") -> int | None:
    """After how many new tokens an answer that a full stop ends is over, asked as ``generate`` asks: one by one."""
    until, prompt = _Until(tokenizer, ".", opened), [1, 5, 6]
    for n in range(1, len(tokens) + 1):
        if until(torch.tensor([prompt + tokens[:n]]), None).item():
            return n
    return None


def test_generation_ends_at_the_first_full_stop_behind_the_trace(tokenizer):
    words = st.lists(st.sampled_from(WORDS), max_size=8)

    @given(words, words, st.booleans())
    def holds(trace, answer, by_template):
        thought = ids(tokenizer, [*([] if by_template else ["<think>"]), *trace, "</think>"])
        told = ids(tokenizer, answer)
        stop = tokenizer.convert_tokens_to_ids(".")
        expected = len(thought) + told.index(stop) + 1 if stop in told else None
        assert stops_at(tokenizer, thought + told, "<think>" if by_template else "") == expected

    holds()


def test_the_marks_of_a_trace_are_kept_where_they_are_special_tokens_and_all_others_are_not(tokenizer):
    said = [*ids(tokenizer, ["<think>", "No", ".", "</think>", "Yes"]), tokenizer.eos_token_id]
    text = spoken(tokenizer, said)
    assert traces.answer_of(text).strip() == "Yes"
    assert text.startswith("<think>") and "</think>" in text and "</s>" not in text


@pytest.mark.parametrize(
    ("prompt", "mark"),
    [("USER: Is it?\nASSISTANT: <think>\n", "<think>"), ("<think>a</think> Is it?", ""), ("…◁think▷", "◁think▷")],
)
def test_a_template_that_opens_the_trace_is_seen(prompt, mark):
    assert traces.opened(prompt) == mark


@pytest.fixture(scope="module")
def lvlm(tiny, tmp_path_factory):
    registry.load()
    folder = tiny.save_llava(tiny.llava_model(), tmp_path_factory.mktemp("traces") / "llava")
    found = registry.make_lvlm(f"llava:{folder}", Place("cpu"))(None)
    found.tokenizer.add_tokens(["<think>", "</think>"], special_tokens=True)
    found.tokenizer.add_tokens(["."])
    return found


def told(lvlm, words: list[str]) -> Answer | Failure:
    """What a LLaVA's tokens for these words come to, up to where they end."""
    prompt = Prompt("1", (1,), 40, ".")
    tokens = tuple(ids(lvlm.tokenizer, words))
    end = next((n for n in range(1, len(tokens) + 1) if lvlm.finished(tokens[:n], prompt)), len(tokens))
    return lvlm.answer(Completion(prompt, tokens[:end], torch.zeros(len(lvlm.tokenizer))))


def test_a_llava_that_reasons_is_read_to_the_end_of_its_answer_and_has_no_p_yes(lvlm):
    found = told(lvlm, ["<think>", "No", ".", "</think>", "Yes", ".", "No", "."])
    assert isinstance(found, Answer)
    assert traces.answer_of(found.text).split() == ["Yes."] or traces.answer_of(found.text).split() == ["Yes", "."]
    assert found.p_yes is None
    assert told(lvlm, ["Yes", ".", "No"]).p_yes == pytest.approx(0.5)


def test_a_trace_without_an_end_is_a_failure_that_keeps_what_was_said(lvlm):
    found = told(lvlm, ["<think>", "Yes", ".", "yes"])
    assert isinstance(found, Failure)
    assert "no answer within 40 tokens" in found.reason
    assert "<think>" in found.reason and "yes" in found.reason
