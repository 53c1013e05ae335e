"""NLTK's data for the cases that need it, from the shared folder."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _nltk_data(shared, monkeypatch):
    import nltk

    monkeypatch.setenv("NLTK_DATA", str(shared / "data" / "nltk_data"))
    monkeypatch.setattr(nltk.data, "path", [str(shared / "data" / "nltk_data")])


@pytest.fixture
def data(shared):
    return shared / "data"
