"""POPE's questions, prompts and readings."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.data import micro
from harness.errors import DataError, UsageError
from harness.types import Answer
from tasks.pope import Pope


def test_every_question_has_its_own_id_and_stands_in_its_sampling():
    samples = list(Pope(micro()).samples())
    assert len({sample.id for sample in samples}) == len(samples)
    assert [group for group in dict.fromkeys(sample.group for sample in samples)] == [
        "random",
        "popular",
        "adversarial",
    ]
    assert samples[0].id == "coco/random/1"


def test_the_prompt_is_the_files_or_the_one_of_llavas_evaluation(tmp_path):
    plain = next(iter(Pope(micro()).samples())).prompt
    assert plain.startswith("Is there a") and plain.endswith("in the image?")
    llava = next(iter(Pope(micro(), prompt="llava").samples())).prompt
    assert llava == plain + "\nAnswer the question using a single word or phrase."
    shutil.copytree(micro() / "pope", tmp_path / "pope", ignore=shutil.ignore_patterns("*.jpg", "*.png"))
    (tmp_path / "pope" / "reading.json").write_text('{"prompt": "llava"}')
    assert next(iter(Pope(tmp_path).samples())).prompt == llava
    assert next(iter(Pope(tmp_path, prompt="plain").samples())).prompt == plain


@pytest.mark.parametrize(
    ("answer", "official", "strict"),
    [
        ("Yes", 1, 1),
        ("Yes, there is a dog.", 1, 1),
        ("No", 0, 0),
        ("NO", 1, 0),  # POPE's script knows "No" and "no" only
        ("There is a dog", 1, 0),
        ("", 1, 0),
    ],
)
def test_an_answer_to_a_present_object_is_right_as_its_reading_says(answer, official, strict):
    sample = next(s for s in Pope(micro()).samples() if s.target == "yes")
    assert Pope(micro()).count(sample, Answer(answer))["right"] == official
    assert Pope(micro(), rules="strict").count(sample, Answer(answer))["right"] == strict


@pytest.mark.parametrize("source", ["coco", "flickr", "nocaps"])
def test_the_three_sources_are_read_from_the_published_files(shared, source):
    samples = list(Pope(shared / "data", source=source).samples())
    assert len(samples) == 9000
    assert sum(sample.target == "yes" for sample in samples) == 4500


def test_words_that_pope_does_not_know_are_told(tmp_path):
    for options in ({"rules": "kind"}, {"source": "vg"}, {"prompt": "rude"}):
        with pytest.raises(UsageError, match="pope does not know"):
            Pope(tmp_path, **options)
    with pytest.raises(DataError, match=r"holds no coco_pope_random\.json"):
        next(iter(Pope(tmp_path).samples()))
    (tmp_path / "pope").mkdir()
    (tmp_path / "pope" / "coco_pope_random.json").write_text(json.dumps({"image": "a.jpg"}) + "\n")
    with pytest.raises(DataError, match="line 1: has no 'text'; it has 'image'"):
        next(iter(Pope(tmp_path).samples()))
