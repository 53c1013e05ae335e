"""An LVLM gives the same answers packed and one by one, whatever is asked together."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import registry
from harness.asking.verify import alone, verify
from harness.errors import UsageError
from harness.types import Answer, Asked, Failure, Place, Sample

QUESTIONS = ("Is there a dog in this image?", "Is there a cat?", "Is the couch red in this image?", "Describe it.")


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    registry.load()
    return tiny.save_llava(tiny.llava_model(), tmp_path_factory.mktemp("inference") / "hub")


@pytest.fixture(scope="module")
def asked(tiny):
    return [
        Asked(image, tuple(Sample(f"{n}/{k}", None, "", prompt=q, tokens=5) for k, q in enumerate(QUESTIONS)))
        for n, image in enumerate(tiny.pictures(5))
    ]


@pytest.fixture(scope="module")
def plain(folder, asked):
    return by_id(speaker(folder, "?inference=plain").answers(asked))


def speaker(folder, options="", batch_size=0):
    return registry.make_lvlm(f"llava:{folder}{options}", Place("cpu", batch_size=batch_size))(None)


def by_id(replies):
    return {sample.id: answer for sample, answer in replies}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for id, answer in found.items():
        assert answer.text == expected[id].text
        assert answer.p_yes == pytest.approx(expected[id].p_yes, abs=1e-5)


@pytest.mark.parametrize("batch_size", [0, 1, 2, 5])
def test_packed_answers_are_those_of_one_by_one(folder, asked, plain, batch_size):
    assert_same(by_id(speaker(folder, "", batch_size).answers(asked)), plain)


def test_order_and_what_was_answered_before_change_no_answer(folder, asked, plain):
    lvlm = speaker(folder)
    late = [Asked(one.image, one.samples[1:3]) for one in asked[::-1]]
    early = [Asked(one.image, (one.samples[0], one.samples[3])) for one in asked]
    assert_same(by_id(lvlm.answers(late)) | by_id(lvlm.answers(early)), plain)


def test_the_way_is_part_of_the_description(folder):
    assert speaker(folder).describe()["inference"] == "packed"
    assert speaker(folder, "?inference=plain").describe()["inference"] == "plain"


def test_a_model_that_cannot_be_packed_is_asked_one_by_one_and_says_so(folder, asked, plain):
    lvlm = speaker(folder)
    lvlm.host.model.config.get_text_config().rope_parameters["rope_type"] = "dynamic"
    assert lvlm.describe()["inference"] == "plain: its 'dynamic' positions depend on the length of the batch"
    assert_same(by_id(lvlm.answers(asked)), plain)


def test_an_unknown_way_is_refused(folder):
    with pytest.raises(UsageError, match="there is packed"):
        speaker(folder, "?inference=vllm").describe()


def test_verifying_asks_by_generate_alone_and_finds_no_flip(folder, asked):
    lvlm = speaker(folder)
    ask, way = alone(lvlm)
    verdict = verify(ask, by_id(lvlm.answers(asked)), asked, 0.5, 0, way)
    assert 4 <= verdict.asked <= 16
    assert verdict.flipped == ()
    assert verdict.p_yes_moved <= 1e-5
    assert verdict.way == "alone by generate"


def test_until_ends_a_packed_answer_where_it_ends_a_plain_one(folder, asked):
    some = [Asked(one.image, tuple(Sample(s.id, None, "", prompt=s.prompt, tokens=12, until="e") for s in one.samples))
            for one in asked]  # fmt: skip
    assert_same(by_id(speaker(folder).answers(some)), by_id(speaker(folder, "?inference=plain").answers(some)))


@pytest.fixture(scope="module")
def endless(tiny, tmp_path_factory):
    """A LLaVA that never ends an answer of itself."""
    folder = tiny.save_llava(tiny.llava_model(), tmp_path_factory.mktemp("endless") / "hub")
    for name, key in (("generation_config.json", "eos_token_id"), ("tokenizer_config.json", "eos_token")):
        told = json.loads((folder / name).read_text())
        told.pop(key, None)
        (folder / name).write_text(json.dumps(told))
    return folder


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=st.lists(st.integers(1, 9), min_size=2, max_size=6), together=st.integers(2, 4))
def test_every_answer_ends_at_its_own_limit_whatever_is_asked_beside_it(endless, tiny, limits, together):
    samples = (Sample(f"{n}", None, "", prompt=QUESTIONS[n % 4], tokens=limit) for n, limit in enumerate(limits))
    asked = [Asked(tiny.pictures(1)[0], tuple(samples))]
    packed, one, several = (
        by_id(speaker(endless, how, size).answers(asked))
        for how, size in (("", 0), ("?inference=plain", 1), ("?inference=plain", together))
    )
    assert len(speaker(endless).tokenizer(one["0"].text)["input_ids"]) <= limits[0] + 1
    assert_same(several, one)
    assert_same(packed, one)


@pytest.mark.parametrize("options", ["?a=1", "?inference=plain", "?template=chat", "?template=chat&inference=plain"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_question_that_writes_the_image_token_fails_alone(folder, asked, options, batch_size):
    options = options.removeprefix("?a=1")
    first, second = asked[:2]
    odd = Sample("odd", None, "", prompt="Is there a <image> here?")
    some = [Asked(first.image, (odd, *first.samples)), Asked(second.image, (odd,)), Asked(None, (odd,)), second]
    replies = list(speaker(folder, options, batch_size).answers(some))
    failed = [reply.reason for sample, reply in replies if isinstance(reply, Failure)]
    assert (
        failed
        == ["the question's text holds <image>, which stands for a picture that it is not asked about; leave it out"]
        * 3
    )
    clean = by_id(speaker(folder, options, batch_size).answers([first, second]))
    assert_same({sample.id: reply for sample, reply in replies if isinstance(reply, Answer)}, clean)


def test_other_special_tokens_in_a_question_are_read_as_the_tokenizer_reads_them(folder, asked):
    odd = [Asked(one.image, (Sample("1", None, "", prompt="Is </s> a <s> dog <pad> here?", tokens=5), *one.samples))
           for one in asked[:2]]  # fmt: skip
    assert_same(by_id(speaker(folder).answers(odd)), by_id(speaker(folder, "?inference=plain", 4).answers(odd)))
