"""Answer files: every format is told by its content, and every flaw by file, line and id."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.scoring import answers


def wrote(tmp_path, text, name="answers.json"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "format", "expected"),
    [
        ('[{"id": 1, "response": "A dog."}]', "amber", ("1", "A dog.")),
        ('[\n\n {"id": 7,\n"response": ""}\n]\n', "amber", ("7", "")),
        ('{"question_id": 3, "question": "Is there a cat?", "answer": "No"}\n', "pope", ("3", "No")),
        ('{"question_id": 3, "prompt": "Is there a cat?", "text": "No", "model_id": "x"}', "llava", ("3", "No")),
        ('{"image_id": 42, "caption": "A cat."}', "chair", ("42", "A cat.")),
        ('[{"image_id": "42", "caption": "A cat."}]', "chair", ("42", "A cat.")),
        ('{"doc_id": 0, "doc": {"question_id": "9"}, "filtered_resps": ["Yes"]}', "lmms-eval", ("9", "Yes")),
        ('{"doc_id": 4, "doc": {}, "resps": [["Yes"]]}', "lmms-eval", ("4", "Yes")),
        ("index\tquestion\tprediction\n5\tIs it?\tYes\n", "vlmevalkit", ("5", "Yes")),
        (
            '{"id": "a/1", "image": "x.jpg", "group": "a", "key": "k", "answer": {"text": "Yes", "p_yes": 0.75}}\n',
            "ohd-bench",
            ("a/1", "Yes"),
        ),
    ],
)
def test_the_content_tells_the_format(tmp_path, text, format, expected):
    file = answers.read(wrote(tmp_path, text, name="whatever.bin"))
    assert file.format == format
    assert [(one.id, one.text) for one in file.answers] == [expected]


def test_a_spreadsheet_is_read_without_its_name_telling(tmp_path):
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["index", "image_path", "question", "category", "prediction"])
    book.active.append([0, "a/b.jpg", "Is there a dog?", "random", "Yes, there is."])
    book.save(tmp_path / "table.xlsx")
    file = answers.read(tmp_path / "table.xlsx")
    one = file.answers[0]
    assert (file.format, one.line, one.image, one.category, one.text) == (
        "vlmevalkit",
        2,
        "b",
        "random",
        "Yes, there is.",
    )


def test_a_spreadsheet_damaged_anywhere_is_told(tmp_path):
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["index", "prediction"])
    for i in range(20):
        book.active.append([i, "Yes"])
    book.save(tmp_path / "whole.xlsx")
    whole = (tmp_path / "whole.xlsx").read_bytes()
    for at in range(4, len(whole), 97):
        path = wrote(tmp_path, whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :], "damaged.xlsx")
        with contextlib.suppress(UsageError):
            assert answers.read(path).format == "vlmevalkit"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"id": 1, "response": null}]', "line 1, id 1: an answer is text, this is null"),
        ('[{"id": 1, "response": "a"},\n{"id": 2, "response": 5}]', "line 2, id 2: an answer is text, this is int"),
        ('[{"id": 1, "response": "a"},\n{"id": 2}]', "line 2, id 2: an answer is text, this is null"),
        ('[{"id": "1", "response": "a"}]', "line 1, id 1: an id is a whole number, this is '1'"),
        ('[{"id": true, "response": "a"}]', "an id is a whole number, this is True"),
        ('[{"id": 1, "response": "a"},\n{"id": 2, "resp', "line 2: not JSON"),
        ('[{"id": 1, "response": "a"}', "the list is cut off"),
        ('[{"id": 1, "response": "a"}\n{"id": 2, "response": "a"}]', "line 2: the list is cut off or has no comma"),
        ('[{"id": 1, "response": "a"}] and more', "there is more after the list's end"),
        ('{\n "id": 1,\n "response": "a"\n}', "line 1: one JSON object, not a list of answers"),
        ('{"question_id": 1, "answer": "a"}\n{"question_id": 2, "ans', "line 2: not JSON"),
        ('{"a": 1}', "the fields a are no known format"),
        ("[1, 2]", "an answer is a JSON object, this is int"),
        ('["x"]', "an answer is a JSON object, this is str"),
        ('[{"id": 1, "response": NaN}]', "NaN is not a JSON value"),
        ("just words", "neither a JSON list"),
        ("", "neither a JSON list"),
        (b'[{"id": 1,\n "response": "\xff"}]', "line 2: not UTF-8 text"),
        (b"PK\x03\x04 no zip", "a damaged spreadsheet"),
        ("index\tanswer\n1\tYes\n", "a table without a column 'prediction' (it has answer, index)"),
        ("[" * 100_000, "not JSON"),
        ('[{"id": ' + "9" * 5000 + ', "response": "a"}]', "not JSON"),
    ],
)
def test_a_flaw_is_told_by_file_line_and_id(tmp_path, text, words):
    path = wrote(tmp_path, text)
    with pytest.raises(UsageError) as error:
        answers.read(path)
    assert str(error.value).startswith(f"{path}, line ")
    assert words in str(error.value)


@pytest.mark.parametrize("p_yes", ['"0.5"', "2", "true"])
def test_a_probability_that_is_none_is_told(tmp_path, p_yes):
    answer = '{"text": "Yes", "p_yes": %s}' % p_yes  # noqa: UP031
    row = '{"id": "1", "image": "x", "group": "", "key": "k", "answer": %s}\n' % answer  # noqa: UP031
    with pytest.raises(UsageError, match="line 1, id 1: p_yes is a probability"):
        answers.read(wrote(tmp_path, row))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UsageError, match="is not a file"):
        answers.read(tmp_path / "nothing.json")


def test_an_answer_of_a_hundred_megabytes_is_refused(tmp_path):
    path = wrote(tmp_path, '[{"id": 3, "response": "' + "a" * 100_000_000 + '"}]')
    with pytest.raises(UsageError, match="line 1, id 3: an answer of 100,000,000 characters"):
        answers.read(path)


def test_a_failure_is_not_read_as_an_answer(tmp_path):
    own = '{"id": "1", "image": "x", "group": "", "key": "k", "failed": "the server said 500"}\n'
    assert answers.read(wrote(tmp_path, own)).answers[0].failed == "the server said 500"
    table = "index\tprediction\n1\tFailed to obtain answer via API.\n"
    assert answers.read(wrote(tmp_path, table)).answers[0].failed is not None


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_any_text_comes_back_as_it_was(tmp_path_factory, texts, indent, ascii):
    rows = [{"id": i, "response": text} for i, text in enumerate(texts)]
    path = tmp_path_factory.mktemp("any") / "answers.json"
    data = json.dumps(rows, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    path.write_bytes(data)
    assert [one.text for one in answers.read(path).answers] == texts


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_end_in_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "answers.json"
    path.write_bytes(data)
    with contextlib.suppress(UsageError):
        assert answers.read(path).path == path
