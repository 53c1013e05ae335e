"""NLTK's packages from a folder, without a network."""

from __future__ import annotations

import pytest

from harness.errors import DataError
from harness.words.nltk_packages import PLACES, prepare


@pytest.fixture(autouse=True)
def _no_nltk_data(monkeypatch, tmp_path):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nothing")])


@pytest.fixture
def source(tmp_path):
    for name, place in PLACES.items():
        path = tmp_path / "from" / place
        if name == "wordnet":
            path.parent.mkdir(parents=True)
            path.with_suffix(".zip").write_bytes(b"PK\x05\x06" + bytes(18))
        else:
            path.mkdir(parents=True)
            (path / "data.json").write_text("{}")
    return tmp_path / "from"


def test_packages_are_copied_from_a_folder_and_found(source, tmp_path):
    said = prepare(source, tmp_path / "to")
    assert "NLTK finds them" in said and str(tmp_path / "to") in said
    assert (tmp_path / "to" / "tokenizers" / "punkt_tab" / "data.json").is_file()
    assert (tmp_path / "to" / "corpora" / "wordnet.zip").is_file()


def test_the_command_says_where_they_lie(cli, source, tmp_path):
    said = cli("data", "prepare", "nltk", "--from", source, "--to", tmp_path / "to")
    assert said.code == 0
    assert f"NLTK_DATA={tmp_path / 'to'}" in said.out
    assert cli("data", "prepare", "moon").code == 2


def test_a_folder_without_a_package_is_told(source, tmp_path):
    (source / "corpora" / "wordnet.zip").unlink()
    with pytest.raises(DataError, match="holds no corpora/wordnet"):
        prepare(source, tmp_path / "to")
