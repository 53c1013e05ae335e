"""Records survive whatever happens to the process that writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.journal import Journal
from harness.kept_runs import slug
from harness.records import Record, latest, read_records
from harness.store import Run, write_json
from harness.types import Answer, Failure

replies = st.one_of(
    st.builds(Failure, st.text()),
    st.builds(
        Answer,
        st.one_of(st.none(), st.text()),
        st.one_of(st.none(), st.floats(0, 1)),
        st.one_of(st.none(), st.lists(st.floats(-1, 1), max_size=4).map(tuple)),
    ),
)


@given(st.lists(st.tuples(st.text(min_size=1), replies), max_size=8), st.data())
def test_records_cut_at_any_byte_read_back_up_to_the_last_whole_line(tmp_path_factory, rows, data):
    path = tmp_path_factory.mktemp("store") / "records.jsonl"
    records = [Record(id, "image", "group", "key", "rules", reply, {}) for id, reply in rows]
    with Journal(path) as journal:
        journal.append(records)
    lines = [record.line().encode() for record in records]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = sum(len(b"".join(lines[: n + 1])) <= cut for n in range(len(lines)))
    assert [record.id for record in read_records(path)] == [record.id for record in records[:kept]]
    with Journal(path) as journal:
        journal.append([Record("after", "i", "", "k", "r", Answer("x"), {"n": 1})])
    assert latest(path)["after"].reply == Answer("x")


def test_the_last_record_of_an_id_is_the_one_that_counts(tmp_path):
    path = tmp_path / "records.jsonl"
    with Journal(path) as journal:
        journal.append([Record("1", "i", "", "k", "r", Failure("down"))])
        journal.append([Record("1", "i", "", "k", "r", Answer("yes"), {"n": 1})])
    assert latest(path)["1"].scored


def test_a_manifest_is_never_half_written(tmp_path):
    write_json(tmp_path / "run.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "run.json", {"a": float("nan")})
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": 1}


def test_a_manifest_of_a_newer_version_or_a_broken_one_is_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"format": 99}')
    with pytest.raises(UsageError, match="newer ohd-bench"):
        Run(tmp_path).manifest()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        Run(tmp_path).manifest()


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("micro", "micro"),
        ("clip:openai/clip-vit-base-patch32", "clip-clip-vit-base-patch32"),
        ("clip:runs/my model/", "clip-my-model"),
        ("clip:../../etc/passwd", "clip-passwd"),
        ("openai:http://host:8000/v1?model=org/x", "openai-v1-model=x"),
        ("micro-llava?projector=aligned", "micro-llava-projector=aligned"),
        ("..", "model"),
    ],
)
def test_a_run_is_named_by_its_spec_without_leaving_the_results_folder(spec, name):
    assert slug(spec) == name
    assert Path(slug(spec)).name == slug(spec)


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=28))
def test_kept_scores_are_short_and_in_the_order_of_the_models(scores):
    from harness.asking.engine import _brief

    brief = _brief(Answer(scores=tuple(scores)))
    pairs = list(zip(scores, brief.scores, strict=True))
    assert all((a < b) == (x < y) and (a == b) == (x == y) for a, x in pairs for b, y in pairs)
    assert _brief(brief) == brief
