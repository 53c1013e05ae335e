"""What speaks against a whole file: ids that count rows, a truth offered as the reply, words that no rule reads."""

from __future__ import annotations

import json

import pytest

from harness.data import micro
from tasks.amber import Amber
from tasks.pope import Pope


@pytest.fixture(scope="module")
def pope():
    return list(Pope(micro()).samples())


@pytest.fixture(scope="module")
def amber():
    return list(Amber(micro()).samples())


def wrote(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(samples, **more):
    return [
        {"image": s.image.name, "question": s.prompt, "category": s.group, **{k: f(s) for k, f in more.items()}}
        for s in samples
    ]


def test_yes_no_answers_counted_from_1_are_not_scored_as_captions(cli, amber, tmp_path):
    asked = [sample for sample in amber if sample.target in ("yes", "no")]
    counted = [{"id": n, "response": s.target.capitalize()} for n, s in enumerate(asked, 1)]
    said = cli("score", "amber", wrote(tmp_path / "rows.json", counted), "--data", "micro")
    assert said.code == 2
    assert f"yes-no questions have the ids {asked[0].id} to {asked[-1].id}" in said.err
    whole = [{"id": sample.id, "response": "No"} for sample in amber]  # a model that says the same to everything
    assert cli("score", "amber", wrote(tmp_path / "no.json", whole), "--data", "micro").code == 0


@pytest.mark.parametrize("truth", ["labels", "expected", "real_answer", "y_true"])
def test_the_truth_is_never_offered_as_the_reply(cli, pope, tmp_path, truth):
    said = cli(
        "score", "pope", wrote(tmp_path / "a.json", rows(pope, **{truth: lambda s: s.target, "said": lambda s: "Yes"})),
        "--data", "micro",
    )  # fmt: skip
    assert said.code == 2
    assert "--field said, if that is it" in said.err
    alone = cli(
        "score", "pope", wrote(tmp_path / "b.json", rows(pope, **{truth: lambda s: s.target})), "--data", "micro"
    )
    assert alone.code == 2
    assert f"--field {truth}" not in alone.err


@pytest.mark.parametrize("name", ["score", "model", "said"])
def test_a_truth_in_answer_is_not_scored_beside_words_under_any_name(cli, pope, tmp_path, name):
    path = wrote(tmp_path / "a.json", rows(pope, answer=lambda s: s.target, **{name: lambda s: "Yes"}))
    said = cli("score", "pope", path, "--data", "micro")
    assert said.code == 2
    assert f"--field {name}" in said.err
    found = cli("score", "pope", path, "--data", "micro", "--field", name, "--json").json()
    assert found["metrics"]["pooled"]["yes_ratio"] == 100.0


@pytest.mark.parametrize("name", ["imageId", "Image ID", "image-id", "image_filename", "photo", "id"])
@pytest.mark.parametrize("asks", ["question", "text_input", "Question Text"])
def test_the_look_of_a_value_tells_image_and_question_where_the_name_does_not(cli, pope, tmp_path, name, asks):
    given = [
        {name: f"val/{s.image.name}", asks: s.prompt, "category": s.group, "answer": s.target.capitalize()}
        for s in pope
    ]
    found = cli("score", "pope", wrote(tmp_path / "a.json", given), "--data", "micro", "--json").json()
    assert found["n_scored"] == len(pope)
    assert found["metrics"]["pooled"]["accuracy"] == 100.0


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (lambda s: str(int(s.target == "yes")), "hold neither word"),
        (lambda s: "A" if s.target == "yes" else "B", "hold neither word"),
        (lambda s: f"<s> {s.target.capitalize()}</s>", "is there a mark, a prompt or a line break"),
        (lambda s: f"\n{s.target.capitalize()}", "is there a mark, a prompt or a line break"),
    ],
)
def test_answers_that_a_rule_reads_as_what_they_do_not_say_are_remarked_upon(cli, pope, tmp_path, say, why):
    path = wrote(tmp_path / "a.json", rows(pope, answer=say))
    said = cli("score", "pope", path, "--data", "micro", "--json")
    assert said.code == 0
    assert why in said.err
    sound = cli("score", "pope", wrote(path, rows(pope, answer=lambda s: "No")), "--data", "micro", "--json")
    assert "neither word" not in sound.err
    assert "line break" not in sound.err


@pytest.mark.parametrize("id", ["pope_1", "Q1", 10**20, 40_000_001, -1, "1.0e3"])
def test_an_id_that_is_none_says_what_ids_are_like(cli, pope, tmp_path, id):
    said = cli("score", "pope", wrote(tmp_path / "a.json", [{"question_id": id, "answer": "Yes"}]), "--data", "micro")
    assert said.code == 2
    assert f"its ids are like {pope[0].id}" in said.err
