"""Data files are read as what they are, or refused with file, line, value and what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BrokenDataError, DataError
from harness.rows import Row, distinct, json_of, parse, rows

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
anything = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
objects = st.dictionaries(st.text(), anything, max_size=4)


def refusal(read: Callable[[], object]) -> str | None:
    """What a reader says against what it reads; None where it has nothing against it."""
    try:
        read()
    except DataError as error:
        return str(error)
    return None


def row(**fields: object) -> Row:
    return Row(Path("file.json"), 7, fields)


@given(anything | st.sampled_from(["Yes", " no ", "YES\n", "nO", "y", "true", 1, 0, True, False]))
def test_a_label_is_yes_or_no_in_any_case_and_space_and_everything_else_is_named(said):
    if isinstance(said, str) and said.strip().lower() in ("yes", "no"):
        assert row(label=said).yes_no("label") == said.strip().lower()
    else:
        with pytest.raises(BrokenDataError, match=r"file\.json, line 7: 'label' is .*; right would be yes or no"):
            row(label=said).yes_no("label")


@given(anything | st.integers(-3, 6), st.integers(1, 5))
def test_an_index_counts_from_the_first_thing_and_is_neither_negative_nor_a_flag(said, count):
    if type(said) is int and 0 <= said < count:
        assert row(label=said).index("label", count) == said
    else:
        with pytest.raises(BrokenDataError, match=f"a whole number from 0 to {count - 1}"):
            row(label=said).index("label", count)


@given(st.lists(anything | st.sampled_from([0, 1]), max_size=4))
def test_flags_are_0_and_1_one_for_each_caption(said):
    if len(said) == 3 and all(type(one) is int and one in (0, 1) for one in said):
        assert row(valid=said).flags("valid", 3) == [bool(one) for one in said]
    else:
        with pytest.raises(BrokenDataError, match="line 7"):
            row(valid=said).flags("valid", 3)


@pytest.mark.parametrize(
    "field",
    ["text", "texts", "id", "yes_no", "file_name", "positive", lambda r, k: r.index(k, 3), lambda r, k: r.flags(k, 3)],
)
@given(said=anything)
def test_a_field_of_any_content_is_read_or_refused_with_its_line(field, said):
    asked = getattr(Row, field) if isinstance(field, str) else field
    refused = refusal(lambda: asked(row(key=said), "key"))
    assert refused is None or "file.json, line 7: 'key'" in refused
    with pytest.raises(BrokenDataError, match="has no 'other'; it has 'key'"):
        asked(row(key=said), "other")


@given(st.lists(objects, min_size=1, max_size=4), st.sampled_from([None, 1, 4]))
def test_lines_a_list_and_objects_one_after_another_are_the_same_rows(tmp_path_factory, every, indent):
    path = tmp_path_factory.mktemp("rows") / "file.json"
    for text in (
        "\n".join(json.dumps(one, ensure_ascii=False) for one in every),
        json.dumps(every, indent=indent),
        "\n".join(json.dumps(one, indent=indent) for one in every),
    ):
        path.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass") + b"\n\n")
        assert [dict(one.fields) for one in rows(path)] == every


@given(st.binary(max_size=60) | st.text('[]{}",:0123456789.eE+-nulltrefas \n\t\u2028\\u', max_size=60).map(str.encode))
def test_bytes_of_any_kind_are_rows_or_a_data_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "file.json"
    path.write_bytes(data)
    for read in (rows, json_of):
        refused = refusal(partial(read, path))
        assert refused is None or str(path) in refused


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no rows"),
        ("[]", "holds no rows"),
        ("\n\n", "holds no rows"),
        ("[1]", "line 1: not a JSON object but 1"),
        ('{"a": 1}\n"text"', 'line 2: not a JSON object but "text"'),
        ('{"a": 1}\n\n{"a": ', "line 3: not JSON"),
        ('[{"a": 1}', "cut off"),
        ('[{"a": 1} {"a": 2}]', "line 1: not JSON .*no comma"),
        ('[{"a": 1}] {"a": 2}', "more after its end"),
        ('{"a": ' + "9" * 5000 + "}", "line 1: not JSON"),
        ('{"a": ' + "[" * 100_000, "nested too deep"),
        ('{"a": NaN}', "NaN is no JSON value"),
        ('{"label": "yes", "label": "no"}', "the key 'label' stands twice"),
        ('{"a": "\\ud83d"}', "half a surrogate pair"),
    ],
)
def test_what_is_no_row_is_named(tmp_path, text, why):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(BrokenDataError, match=why):
        rows(path)


def test_line_separators_that_json_does_not_know_stay_inside_a_line(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"text": "one\u2028two\u0085three"}\n{"text": "four"}\n')
    assert [one.text("text") for one in rows(path)] == ["one\u2028two\u0085three", "four"]


def test_an_id_that_stands_twice_is_named_with_both_lines(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"id": 1}\n{"id": 2}\n{"id": "1"}\n')
    with pytest.raises(BrokenDataError, match="line 3: 'id' 1 stands on line 1 already"):
        distinct(rows(path), "id")


def test_a_json_value_has_nothing_behind_it():
    assert parse(' {"a": [1, 2.5, "x"]} \n') == {"a": [1, 2.5, "x"]}
    with pytest.raises(ValueError, match="more after the end"):
        parse("{} {}")
