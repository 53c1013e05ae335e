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
        ('[{"id": 1, "response": "A dog."}]', "amber", ("1", None)),
        ('[{"id": "1", "answer": "A dog."}]', "amber", ("1", None)),
        ('[{"id": 1.0, "answer": "A dog."}]', "amber", ("1", None)),
        ('[\n\n {"id": 7,\n"response": ""}\n]\n', "amber", ("7", None)),
        ('{"question_id": 3, "question": "Is there a cat?", "answer": "No"}\n', "pope", ("3", "Is there a cat?")),
        ('{"question_id": 3, "prompt": "Is there a cat?", "text": "No"}', "llava", ("3", "Is there a cat?")),
        ('{"image_id": 42, "caption": "A cat."}', "chair", (None, None)),
        ('{\n "image_id": 42,\n "caption": "A cat."\n}\n', "chair", (None, None)),
        ('{"sentences": [{"image_id": 42, "caption": "A cat."}], "overall_metrics": {}}', "chair", (None, None)),
        ('{"doc_id": 0, "doc": {"question_id": "9"}, "filtered_resps": ["Yes"]}', "lmms-eval", ("9", None)),
        ('{"doc_id": 4, "doc": {}, "resps": [["Yes"]]}', "lmms-eval", (None, None)),
        (
            '{"doc_id": 4, "target": "yes", "filtered_resps": "Yes", "input": "Is it?", "acc": {"question_id": "7"}}',
            "lmms-eval",
            ("7", "Is it?"),
        ),
        ("index\tquestion\tprediction\n5\tIs it?\tYes\n", "vlmevalkit", (None, "Is it?")),
        ("question_id,question,answer\n5,Is it?,Yes\n", "pope", ("5", "Is it?")),
        (
            '{"id": "a/1", "image": "x.jpg", "group": "a", "key": "k", "answer": {"text": "Yes", "p_yes": 0.75}}\n',
            "ohd-bench",
            ("a/1", None),
        ),
    ],
)
def test_the_content_tells_the_format(tmp_path, text, format, expected):
    file = answers.read(wrote(tmp_path, text, name="whatever.bin"))
    assert file.format == format
    assert [(one.id, one.question) for one in file.answers] == [expected]


def test_a_spreadsheet_is_read_without_its_name_telling(tmp_path):
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["index", "image_path", "question", "category", "prediction"])
    book.active.append([0, "a/b.jpg", "Is there a dog?", "random", "Yes, there is."])
    book.save(tmp_path / "table.xlsx")
    file = answers.read(tmp_path / "table.xlsx")
    one = file.answers[0]
    assert (file.format, one.line, one.place, one.categories) == ("vlmevalkit", 2, 0, ("random",))
    assert (one.images, one.row["prediction"]) == ({"image_path": "a/b.jpg"}, "Yes, there is.")


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
        ('[{"id": true, "response": "a"}]', "an id is a whole number, this is True"),
        ('[{"id": 1, "response": "a"},\n{"id": 2, "resp', "line 2: not JSON"),
        ('[{"id": 1, "response": "a"}', "the list is cut off"),
        ('[{"id": 1, "response": "a"}\n{"id": 2, "response": "a"}]', "line 2: the list is cut off or has no comma"),
        ('[{"id": 1, "response": "a"}] and more', "there is more after the list's end"),
        ('{"question_id": 1, "answer": "a"}\n{"question_id": 2, "ans', "line 2: not JSON"),
        ('{"colour": 1}', "no field is known: colour"),
        ("[1, 2]", "an answer is a JSON object, this is int"),
        ('["x"]', "an answer is a JSON object, this is str"),
        ('[{"id": 1, "response": NaN}]', "NaN is not a JSON value"),
        ('[{"id": 1, "response": "Yes", "response": "No"}]', "'response' stands twice in one object"),
        ('{"id": 1,\n"response": "a"}\n{\n"id": 2,\n', "line 3: not JSON"),
        ("id\tresponse\tresponse\n1\tYes\tNo\n", "two columns are called 'response'"),
        ("id\tresponse\n1\tYes\tNo\n", "line 2: 3 cells under 2 column names"),
        ('id,response\n1,Yes\n2,"No\n3,Yes\n', "line 3: not a table (unexpected end of data); is a quote left open"),
        ('id\tresponse\n1\t"Yes\n2\tNo\n3\tYes"\n', "line 2: a quote is left open here: it swallows the row"),
        ('id,response\n1,"Yes\n2,No\n3,"Yes"\n', "line 2: not a table"),
        ("just words", "neither a JSON list"),
        ("", "neither a JSON list"),
        (b'[{"id": 1,\n "response": "\xff"}]', "line 2: not UTF-8 text"),
        (b"PK\x03\x04 no zip", "a damaged spreadsheet"),
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
    assert [one.row["response"] for one in answers.read(path).answers] == texts


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_end_in_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "answers.json"
    path.write_bytes(data)
    with contextlib.suppress(UsageError):
        assert answers.read(path).path == path
