"""Hard negatives: what a model was found to invent is drawn oftener."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest

from encoders.training.dataset import Pair
from encoders.training.hard_negatives import Hard
from encoders.training.negatives import captions
from harness.errors import DataError

TRUE = "a plate on a table"
FALSE = ("a plate and a fork on a table", "a plate and a dog on a table", "a plate and a cup on a table")


@pytest.fixture
def listed(tmp_path):
    def write(*lines: dict) -> Hard:
        path = tmp_path / "hard.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Hard(path)

    return write


def test_a_caption_weighs_as_much_as_the_object_it_adds(listed):
    hard = listed(
        {"object": "fork", "drags": ["plate"], "weight": 3.0}, {"object": "table", "drags": [], "weight": 9.0}
    )
    assert [hard.weight(TRUE, text) for text in FALSE] == [3.0, 1.0, 1.0]


def test_an_object_counts_only_beside_what_drags_it_along(listed):
    hard = listed({"object": "fork", "drags": ["knife"], "weight": 3.0})
    assert hard.weight(TRUE, FALSE[0]) == 1.0


def test_captions_are_drawn_in_proportion_to_their_weights(listed):
    hard = listed({"object": "fork", "drags": [], "weight": 4.0})
    drawn = Counter(hard.drawn(TRUE, FALSE, 1, Random(n))[0] for n in range(3000))
    assert drawn[FALSE[0]] / 3000 == pytest.approx(4 / 6, abs=0.04)


def test_the_draw_hangs_on_the_key_alone_and_keeps_the_true_caption_first(listed):
    from pathlib import Path

    hard = listed({"object": "fork", "drags": [], "weight": 4.0})
    pair = Pair(Path("x.jpg"), (TRUE, *FALSE))
    first = captions(pair, "hallucinated", 2, "0/1/2", hard)
    assert first == captions(pair, "hallucinated", 2, "0/1/2", hard)
    assert first[0] == TRUE
    assert len(set(first)) == 3


@pytest.mark.parametrize(
    "line",
    [{"object": "fork"}, {"object": "fork", "drags": "x", "weight": 1}, {"object": "a", "drags": [], "weight": -1}],
)
def test_a_line_that_is_none_is_named(listed, line):
    with pytest.raises(DataError, match="line 1"):
        listed(line)


def test_what_objects_writes_the_trainer_reads(cli, tmp_path):
    run = ["run", "-e", "micro", "-l", "micro-llava", "-t", "pope", "--limit", "12", "--results", tmp_path / "r"]
    assert cli(*run).code == 0
    told = cli("objects", "micro", "--results", tmp_path / "r", "--to", tmp_path / "hard.jsonl")
    assert told.code == 0, told.err
    words = ["--set", f"hard_negatives={tmp_path / 'hard.jsonl'}", "--set", "steps=2", "--max-samples", "64"]
    said = cli("train", "micro-ohd", *words, "--out", tmp_path / "next", "--json")
    assert said.code == 0, said.err
    assert (
        json.loads((tmp_path / "next" / "recipe.json").read_text())["hard_negatives"]
        == Hard(tmp_path / "hard.jsonl").digest
    )
