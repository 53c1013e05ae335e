"""What is remembered of a text: the same as was made, by many processes, and never out of a damaged file."""

from __future__ import annotations

import multiprocessing
import sqlite3

import pytest

from harness.words import tagging
from harness.words.tagging import Shelf


def test_what_was_put_comes_back_to_another_that_opens_the_file(tmp_path):
    path = tmp_path / "words.sqlite"
    Shelf(path).put("a", [["tree", "NN"], ["\ud800é", "X"]])
    assert Shelf(path).get("a") == [["tree", "NN"], ["\ud800é", "X"]]
    assert Shelf(path).get("b") is None


@pytest.mark.parametrize(
    "damage", [b"not a database at all, but long enough to be read as one" * 40, b"SQLite format 3\0"]
)
def test_a_damaged_file_is_thrown_away_and_written_anew(tmp_path, damage):
    path = tmp_path / "words.sqlite"
    path.write_bytes(damage)
    shelf = Shelf(path)
    assert shelf.get("a") is None
    shelf.put("a", [1])
    assert shelf.get("a") == [1] or not path.exists()


def test_a_file_damaged_in_the_middle_never_gives_another_answer(tmp_path):
    path = tmp_path / "words.sqlite"
    shelf = Shelf(path)
    for i in range(200):
        shelf.put(str(i), [f"word{i}"] * 20)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    path.write_bytes(bytes(data))
    again = Shelf(path)
    for i in range(200):
        assert again.get(str(i)) in (None, [f"word{i}"] * 20)


def test_a_changed_entry_is_not_believed(tmp_path):
    path = tmp_path / "words.sqlite"
    Shelf(path).put("a", ["dog"])
    with sqlite3.connect(path) as base:
        base.execute("UPDATE words SET json = ?", ('["cat"]',))
    base.close()
    assert Shelf(path).get("a") is None


def _write(path, start):
    shelf = Shelf(path)
    for i in range(start, start + 50):
        shelf.put(str(i), [i])


def test_several_processes_write_at_once(tmp_path):
    path = tmp_path / "words.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(path, 50 * n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    shelf = Shelf(path)
    assert [shelf.get(str(i)) for i in range(150)] == [[i] for i in range(150)]


def test_a_place_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    shelf = Shelf(tmp_path / "file" / "words.sqlite")
    shelf.put("a", [1])
    assert shelf.get("a") is None


def test_a_text_is_tagged_once(tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path))
    made = []

    def make(text):
        made.append(text)
        return [text.upper()]

    assert tagging.remembered("test", "a dog", make) == ["A DOG"]
    assert tagging.remembered("test", "a dog", make) == ["A DOG"]
    assert tagging.remembered("other", "a dog", make) == ["A DOG"]
    assert made == ["a dog", "a dog"]
