"""Records as columns: nothing of a record is lost in them, and the many are held in little memory."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import record_cache, record_columns
from harness import records as kept_records
from harness.journal import Journal
from harness.records import Record, latest
from harness.types import Answer, Failure

NUMBER = st.floats(-1e9, 1e9) | st.integers(-1000, 1000)
ANSWER = st.builds(
    Answer,
    st.none() | st.text(max_size=30),
    st.none() | st.floats(0, 1),
    st.none() | st.lists(st.floats(-50, 50), max_size=4).map(tuple),
)
RECORD = st.builds(
    Record, st.sampled_from("abcdef"), st.text(max_size=4), st.sampled_from(["", "random", "a/b"]), st.text(max_size=4),
    st.text(max_size=3), ANSWER | st.builds(Failure, st.text(max_size=9)),
    st.dictionaries(st.sampled_from(["n", "right", "all/figure/2/x/9"]), NUMBER), st.booleans(),
)  # fmt: skip


@given(st.lists(RECORD, max_size=12))
def test_columns_give_back_the_last_record_of_each_sample(records: list[Record]) -> None:
    last = {record.id: record for record in records}
    columns = record_columns.of(map(kept_records._fields, records))
    found = [Record(*fields) for fields in record_columns.records(columns, words=True)]
    assert found == [*last.values()]
    assert [one.line() for one in found] == [one.line() for one in last.values()]
    assert [one.sealed for one in found] == [one.sealed for one in last.values()]
    wordless = [Record(*fields) for fields in record_columns.records(columns, words=False)]
    assert wordless == [kept_records._wordless(record) for record in last.values()]


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, int]:
    """A file of 3,000 answers with 28 scores each and counts of their own."""
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    path, n = tmp_path / "records.jsonl", 3_000
    with Journal(path) as journal:
        for i in range(n):
            scores = tuple((i * 31 + k * 17) % 1000 / 7 for k in range(28))
            counts = {"n": 1, "right": i % 2, "tied": 0, "margin": i / 7}
            journal.append([Record(str(i), f"{i}.jpg", "coco", "k" * 24, "r", Answer("a" * 300, 0.5, scores), counts)])
    return path, n


def test_answers_to_be_counted_take_some_hundred_bytes_each(many: tuple[Path, int], tmp_path: Path) -> None:
    path, _ = many
    kept_records._latest.cache_clear()
    _held(path, False)  # what is imported at the first reading is no record's
    shutil.rmtree(tmp_path / "cache")
    wordless = _held(path, False)
    assert wordless < 700 and _held(path, False) < 700, "parsed, and from what was kept of it"
    assert _held(path, True) > 2 * wordless, "words and scores are what is left out"


def _held(path: Path, words: bool) -> float:
    """Bytes an answer that are held once the file was read."""
    tracemalloc.start()
    try:
        found = latest(path, words)
        kept_records._latest.cache_clear()
        kept_records._alike.cache_clear()
        return tracemalloc.get_traced_memory()[0] / len(found)
    finally:
        tracemalloc.stop()


def test_a_damaged_cache_is_read_past(many: tuple[Path, int], tmp_path: Path) -> None:
    path, _ = many
    before = latest(path)
    (kept,) = (tmp_path / "cache" / "records").iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", whole[:1000], whole[: len(whole) // 2] + b"\0" * 9 + whole[len(whole) // 2 + 9 :]):
        kept.write_bytes(damaged)
        kept_records._latest.cache_clear()
        assert latest(path) == before
    assert record_cache.recall(path, "another digest") is None
