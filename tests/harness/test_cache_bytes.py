"""What is kept in the cache comes back as it was kept, or not at all, in whatever way the bytes of its file changed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from encoders.towers.shelf import Shelf as Pieces
from harness import kept_rows, sealed
from harness.kept_rows import KeptRows
from harness.words.tagging import Shelf as Words

SMALL = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=30)), max_size=4)


def changed(path: Path, changes: list[tuple[float, bytes]], cut_to: float) -> None:
    """Other bytes at these places, and the rest cut off."""
    data = bytearray(path.read_bytes())
    for at, what in changes:
        start = int(at * len(data))
        data[start : start + len(what)] = what
    path.write_bytes(data[: round(cut_to * len(data))])


def anew(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@SMALL
@given(CHANGES, st.sampled_from([1.0, 0.999, 0.5, 0.0]))
@example([(0.32421875, b"\x80")], 1.0)
def test_kept_rows_are_those_that_were_kept_or_none(tmp_path, changes, cut_to):
    path, rows = anew(tmp_path / "a") / "rows.sqlite", {str(n): bytes([n]) * 300 for n in range(20)}
    KeptRows(path, "rows").keep(rows)
    changed(path, changes, cut_to)
    again = KeptRows(path, "rows")
    assert again.known(rows).items() <= rows.items()
    again.keep(rows)
    assert again.known(rows).items() <= rows.items()


@SMALL
@given(CHANGES, st.sampled_from([1.0, 0.999, 0.5, 0.0]))
def test_sealed_files_hold_what_was_kept_or_nothing(tmp_path, changes, cut_to):
    told, array = {"a": [0.1, 2, None], "é": "x" * 50}, np.arange(40, dtype=np.float32).reshape(4, 10)
    one, other = anew(tmp_path / "a") / "one.json", tmp_path / "a" / "other.npy"
    sealed.keep(one, told)
    sealed.keep_array(other, array)
    assert sealed.recall(one) == told and (np.load(other) == array).all()
    changed(one, changes, cut_to)
    changed(other, changes, cut_to)
    assert sealed.recall(one) in (told, None)
    found = sealed.recall_array(other)
    assert found is None or (found == array).all()


def test_a_sealed_file_under_another_name_is_not_believed(tmp_path):
    sealed.keep(tmp_path / "a.json", {})
    sealed.keep_array(tmp_path / "a.npy", np.zeros(3))
    for path in (tmp_path / "a.json", tmp_path / "a.npy"):
        path.rename(path.with_stem("b"))
    assert sealed.recall(tmp_path / "b.json") is None and sealed.recall_array(tmp_path / "b.npy") is None


@SMALL
@given(CHANGES, st.sampled_from([1.0, 0.999, 0.5, 0.0]))
@example([(0.32421875, b"\x80")], 1.0)
def test_words_are_those_that_were_put_or_none(tmp_path, changes, cut_to):
    path, put = anew(tmp_path / "a") / "words.sqlite", {str(n): [[f"word{n}", "NN"]] * 5 for n in range(20)}
    for key, thing in put.items():
        Words(path).put(key, thing)
    changed(path, changes, cut_to)
    again = Words(path)
    for key, thing in put.items():
        assert again.get(key) in (thing, None)
        again.put(key, thing)


@SMALL
@given(CHANGES, CHANGES, st.sampled_from([1.0, 0.999, 0.5, 0.0]))
@example([], [(0.32421875, b"\x80")], 1.0)  # the name of a table is no text
def test_pixels_are_those_that_were_put_or_none(tmp_path, changes, of_the_list, cut_to):
    folder, put = anew(tmp_path / "a"), {str(n): np.full(300, n, np.uint8) for n in range(20)}
    first = Pieces(folder, 300, 1e9)
    for name, piece in put.items():
        first.put(name, piece)
    changed(folder / "pieces.bin", changes, cut_to)
    changed(folder / "list.sqlite", of_the_list, 1.0)
    for shelf in [first, *_opened(folder)]:
        for name, piece in put.items():
            with contextlib.suppress(*kept_rows.ERRORS):  # as KeptPixels has it: the picture is decoded
                found = shelf.get(name)
                assert found is None or (found == piece).all()
                shelf.put(name, piece)


def _opened(folder: Path) -> Iterator[Pieces]:
    with contextlib.suppress(*kept_rows.ERRORS):
        yield Pieces(folder, 300, 1e9)


def test_a_remark_is_made_once(tmp_path, capsys):
    (tmp_path / "rows.sqlite").mkdir()
    for _ in range(3):
        rows = KeptRows(tmp_path / "rows.sqlite", "these")
        rows.keep({"a": b"b"})
        assert rows.known(["a"]) == {}
    assert capsys.readouterr().err.count("these are not kept") == 1
