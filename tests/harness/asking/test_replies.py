"""What a plug-in's model gives back is a reply, or the model is refused in a line; nothing odd is kept or counted."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.asking import replies
from harness.errors import DegenerateError, ModelError
from harness.types import Answer, Failure, Sample

MODEL = '''
from dataclasses import replace

from harness.registry import lvlm
from harness.types import Answer, Failure


class Odd:
    batch = 0

    def __init__(self, spec):
        self.spec = spec.text

    def __call__(self, encoder):
        return self

    def render(self, prompt):
        return prompt

    def digests(self):
        return {}

    def describe(self):
        return {}

    def answers(self, asked):
        for one in asked:
            for sample in one.samples:
                SAYS


@lvlm("odd")
def odd(spec, place):
    """Odd in one way."""
    return Odd(spec)
'''
ODD = {
    "yield sample, None": "right would be an Answer or a Failure",
    'yield sample, "Yes"': "right would be an Answer or a Failure",
    "yield sample, Answer(3)": "the text 3, which is none",
    'yield sample, Answer("\\ud800")': "which is none",
    'yield sample, Answer("Yes", p_yes=7.0)': "p_yes = 7; right would be a probability",
    'yield sample, Answer("Yes", p_yes="0.5")': "no numbers",
    "yield sample, Failure(None)": "a failure whose reason is None",
    'yield sample, Answer("a"); yield sample, Answer("b")': "was not asked or has an answer",
    'yield replace(sample, id="zz"), Answer("a")': "was not asked or has an answer",
}


@pytest.mark.parametrize(("says", "told"), ODD.items())
def test_a_model_whose_reply_is_odd_is_refused_in_a_line_and_its_run_goes_on_with_another(cli, bench, says, told):
    plugin = bench.plugin / "odd.py"
    words = [word.replace("eye?", "odd?").partition("?")[0] if "eye" in word else word for word in bench.words()]
    plugin.write_text(MODEL.replace("SAYS", says))
    said = cli(*words)
    assert (said.code, said.err.count("error: ")) == (4, 1), said
    assert told in " ".join(said.err.split())
    plugin.write_text(MODEL.replace("SAYS", 'yield sample, Answer("Yes", p_yes=1.0)'))
    assert cli(*words).code == 0


ODD_ABOUT = {
    "digests": ["None", "{'tower': None}", "{'tower': ''}", "'tower'", "{'tower': {'a'}}", "{'tower': b'1'}"],
    "describe": ["None", "{'a': {1, 2}}", "{'a': object()}", "{'a': float('nan')}", "['a']", "{'a': '\\ud800'}"],
}


@pytest.mark.parametrize(("method", "told"), [(method, told) for method, every in ODD_ABOUT.items() for told in every])
def test_a_model_that_tells_odd_things_of_itself_is_refused_in_a_line_and_writes_no_run(cli, bench, method, told):
    plugin = bench.plugin / "odd.py"
    words = [word.replace("eye?", "odd?").partition("?")[0] if "eye" in word else word for word in bench.words()]
    sound = MODEL.replace("SAYS", 'yield sample, Answer("Yes", p_yes=1.0)')
    plugin.write_text(
        sound.replace(f"def {method}(self):\n        return {{}}", f"def {method}(self):\n        return {told}")
    )
    said = cli(*words)
    assert (said.code, said.err.count("error: ")) == (4, 1), said
    assert f"{method}() gives " in said.err
    assert not bench.results.exists() or not [*bench.results.iterdir()]


ENCODER = """
import torch

from harness.registry import encoder


class Odd:
    width = 4

    def __init__(self, spec):
        self.spec = spec.text

    def encode_images(self, images):
        return torch.eye(4)[[0] * len(images)]

    def encode_texts(self, texts):
        return torch.eye(4)[[n % 4 for n in range(len(texts))]]

    def digest(self):
        return DIGEST

    def describe(self):
        return DESCRIBE


@encoder("odd-eye")
def odd(spec, place):
    \"\"\"Odd in one way.\"\"\"
    return Odd(spec)
"""


@pytest.mark.parametrize(
    ("digest", "describe", "method"),
    [("None", "{}", "digest"), ("7", "{}", "digest"), ("''", "{}", "digest"), ("'1'", "{'a': {1}}", "describe")],
)
def test_so_is_an_encoder(cli, tmp_path, digest, describe, method):
    (tmp_path / "odd.py").write_text(ENCODER.replace("DIGEST", digest).replace("DESCRIBE", describe))
    words = ["run", "-e", "odd-eye", "-t", "ohd-caps", "--limit", "2", "--include", tmp_path]
    said = cli(*words, "--results", tmp_path / "results")
    assert (said.code, said.err.count("error: ")) == (4, 1), said
    assert f"{method}() gives " in said.err
    assert not (tmp_path / "results").exists() or not [*(tmp_path / "results").iterdir()]


ANSWERS = st.one_of(
    st.builds(Failure, st.text()),
    st.builds(
        Answer,
        st.none() | st.text(st.characters(codec="utf-8")),
        st.none() | st.floats(0, 1),
        st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3).map(tuple),
    ),
)
WRONG = st.one_of(st.none(), st.text(), st.builds(Answer, st.integers()), st.builds(Answer, st.none(), st.floats(1.1)))


@given(st.lists(ANSWERS, max_size=5), st.none() | WRONG, st.data())
def test_sound_replies_pass_as_they_are_up_to_the_first_that_is_none(given_replies, odd, data):
    samples = [Sample(str(n), None, "yes") for n in range(len(given_replies) + 1)]
    said = [*given_replies]
    at = data.draw(st.integers(0, len(said)))
    if odd is not None:
        said.insert(at, odd)
    pairs = list(zip(samples, said, strict=False))
    passed = replies.sound(iter(pairs), [one.id for one in samples], "task")
    if odd is None:
        assert list(passed) == pairs
        return
    assert list(itertools.islice(passed, at)) == pairs[:at]
    with pytest.raises((ModelError, DegenerateError)) as caught:
        next(passed)
    assert isinstance(caught.value, ModelError) or not math.isfinite(odd.p_yes)
