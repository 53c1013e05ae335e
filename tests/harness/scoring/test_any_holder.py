"""The same rows come out of whatever holds them: archives, encodings, tables of any mark, objects of any shape."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.scoring import formats

ROWS = [
    {"question_id": "1", "image": "COCO_val2014_000000000042.jpg", "answer": 'Yes, "a dog"; really|truly'},
    {"question_id": "2", "image": "COCO_val2014_000000000042.jpg", "answer": "No\tnot, é 犬"},
    {"question_id": "3", "image": "COCO_val2014_000000000073.jpg", "answer": ""},
]
Holder = Callable[[list[dict[str, Any]]], str]


def table(mark: str, **how: Any) -> Holder:
    def write(rows: list[dict[str, Any]]) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), delimiter=mark, **how)
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()

    return write


HOLDERS: dict[str, Holder] = {
    "lines": lambda rows: "\n".join(map(json.dumps, rows)),
    "list": lambda rows: json.dumps(rows, indent=1),
    "under a name": lambda rows: json.dumps({"model": "m", "results": rows, "config": [1]}),
    "beside images": lambda rows: json.dumps({"images": [{"id": 42, "file_name": "x.jpg"}], "annotations": rows}),
    "columns": lambda rows: json.dumps({name: {str(n): row[name] for n, row in enumerate(rows)} for name in rows[0]}),
    "by id": lambda rows: json.dumps({str(n): row for n, row in enumerate(rows)}),
    **{f"table of {mark!r}": table(mark) for mark in "\t,;|"},
    "all quoted": table(",", quoting=csv.QUOTE_ALL),
}


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("answers/llava.jsonl", data)
    return out.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zip": zipped,
    "gzip in zip": lambda data: zipped(gzip.compress(data)),
}  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(sorted(HOLDERS)),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
    st.sampled_from(sorted(PACKERS)),
    st.sampled_from(["\n", "\r\n"]),
)
def test_the_same_rows_come_out_of_any_holder(tmp_path_factory, holder, encoding, packer, end):
    text = HOLDERS[holder](ROWS).replace("\r\n", "\n").replace("\n", end)
    path = tmp_path_factory.mktemp("any") / "answers.txt"
    path.write_bytes(PACKERS[packer](text.encode(encoding)))
    found = [{name: row[name] for name in ROWS[0]} for _, row in formats.rows(path)]
    assert found == ROWS


def test_the_same_rows_come_out_of_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="reads parquet")
    import pandas

    pandas.DataFrame(ROWS).to_parquet(tmp_path / "answers.parquet")
    assert [row for _, row in formats.rows(tmp_path / "answers.parquet")] == ROWS
    whole = (tmp_path / "answers.parquet").read_bytes()
    (tmp_path / "answers.parquet").write_bytes(whole[:40] + whole[-40:])
    with pytest.raises(UsageError, match="a damaged parquet file"):
        formats.rows(tmp_path / "answers.parquet")


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["gzip", "bz2", "xz", "zip"]), st.integers(2, 10_000), st.integers(0, 255))
def test_a_damaged_archive_is_read_or_named(tmp_path_factory, packer, at, byte):
    whole = PACKERS[packer](HOLDERS["lines"](ROWS).encode())
    at = at % len(whole)
    path = tmp_path_factory.mktemp("any") / "answers.bin"
    path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    with contextlib.suppress(UsageError):
        formats.rows(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x80\x04\x95\x00", "this is a pickle"),
        (b"\x89HDF\r\n\x1a\n", "this is an HDF5 file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "this is an old spreadsheet"),
        (b"<!DOCTYPE html><html>404</html>", "a page of HTML"),
        (b"\xff\x00\x80", "read are JSON, lines of JSON"),
    ],
)
def test_what_is_no_file_of_answers_is_called_what_it_is(tmp_path, data, words):
    (tmp_path / "answers").write_bytes(data)
    with pytest.raises(UsageError, match=words):
        formats.rows(tmp_path / "answers")


def test_an_archive_of_several_files_says_what_to_do(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.json", "[]")
        archive.writestr("b.json", "[]")
    with pytest.raises(UsageError, match="archive of 2 files; unpack it and name the file"):
        formats.rows(tmp_path / "all.zip")


def test_not_a_number_is_refused_where_it_would_be_read_and_nowhere_else(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": 1, "response": "Yes", "logprob": -Infinity, "scores": [NaN]}\n')
    assert formats.rows(path)[0][1]["response"] == "Yes"
    for name in ("id", "response", "image", "question", "label"):
        path.write_text('{"%s": NaN}\n' % name)  # noqa: UP031
        with pytest.raises(UsageError, match="NaN is not a JSON value"):
            formats.rows(path)


REPLIES = {"42": "a dog on a sofa", "COCO_val2014_000000000073.jpg": "a motorcycle", "74": ["a dog and a bicycle"]}


def test_replies_under_ids_and_images_are_rows(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(REPLIES))
    assert [dict(row) for _, row in formats.rows(path)] == [
        {"id": "42", "response": "a dog on a sofa"},
        {"image": "COCO_val2014_000000000073.jpg", "response": "a motorcycle"},
        {"id": "74", "response": ["a dog and a bicycle"]},
    ]


def test_lists_under_the_names_of_samplings_are_rows_of_these_categories(tmp_path):
    path = tmp_path / "pope.json"
    row = {"question_id": 1, "answer": "Yes"}
    path.write_text(json.dumps({"random": [row], "adversarial": [row]}))
    assert [row["category"] for _, row in formats.rows(path)] == ["random", "adversarial"]


def names_its_file(said: Any, path: Path) -> bool:
    return said.code == 2 and str(path) in said.err and said.err.count("\n") == 1


def test_an_object_of_thousands_of_unknown_names_is_refused_in_a_line_one_can_read(cli, tmp_path):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps({f"name {n}": n for n in range(3000)}))
    said = cli("score", "pope", path, "--data", "micro")
    assert names_its_file(said, path)
    assert len(said.err) < 1000
