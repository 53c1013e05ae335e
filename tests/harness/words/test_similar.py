"""A table of synonyms from a spaCy model's vectors."""

from __future__ import annotations

import json

import pytest

from harness.errors import ModelError


def test_without_the_model_the_command_that_fetches_it_is_told(cli, tmp_path):
    said = cli("data", "synonyms", "--model", "no_such_model", "--data", "micro", "--out", tmp_path / "x.json")
    assert said.code == 4
    assert "spacy" in said.err.lower()
    assert not (tmp_path / "x.json").exists()


@pytest.fixture
def model(tmp_path):
    """A saved spaCy model with four vectors of our own; table and bureau share one row, as pruned vectors do."""
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed")
    np = pytest.importorskip("numpy")
    language = spacy.blank("en")
    rows = {"dog": [1, 0], "hound": [0.9, 0.1], "sky": [0, 1], "table": [0.6, 0.6]}
    for word, row in rows.items():
        language.vocab.set_vector(word, np.asarray(row, "float32"))
    language.vocab.vectors.add("bureau", row=language.vocab.vectors.find(key="table"))
    language.meta["version"] = "1.2.3"
    language.to_disk(tmp_path / "model")
    return tmp_path / "model"


def test_pairs_above_the_threshold_are_found_and_shared_vectors_are_not_certain(model, tmp_path):
    from harness.words.similar import table, write
    from tasks.amber.vocabulary import synonyms

    relation = tmp_path / "relation.json"
    relation.write_text(json.dumps({"dog": ["hound"], "sky": [], "table": ["bureau"], "unknown": []}))
    made = table(str(model), relation)
    assert [(a, b, certain) for a, b, _, certain in made["pairs"]] == [
        ("bureau", "table", False),
        ("dog", "hound", True),
    ]
    assert made["threshold"] == 0.8
    write(made, tmp_path / "own.json")
    assert synonyms(str(tmp_path / "own.json")).pairs == {("bureau", "table"), ("dog", "hound")}


def test_a_model_without_vectors_is_refused(tmp_path):
    spacy = pytest.importorskip("spacy", reason="spaCy is not installed")
    from harness.words.similar import table

    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ModelError, match="has no word vectors"):
        table(str(tmp_path / "blank"), tmp_path / "relation.json")
