"""NLTK's data for the cases that need it, from the shared folder."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _nltk_data(nltk_data):
    pass


@pytest.fixture
def data(shared):
    return shared / "data"
