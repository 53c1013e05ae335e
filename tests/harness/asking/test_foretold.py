"""What a run will take is said before it begins, or in its first seconds, where that is more than a minute."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.asking.ask import Ask
from harness.asking.foretold import Foretelling
from harness.asking.tokens_read import tree_size
from harness.types import Answer, Sample


@given(st.lists(st.lists(st.integers(0, 2), max_size=6).map(tuple), max_size=8))
def test_what_prompts_share_at_their_beginning_is_counted_once(prompts):
    assert tree_size(prompts) == len({one[:n] for one in prompts for n in range(1, len(one) + 1)})


def heard(due, seconds_each, replies):
    """What is said while so many replies come to the task a, each after so many seconds."""
    said, now = [], iter(range(10**6))
    fore = Foretelling(said.append, due, clock=lambda: next(now) * seconds_each)
    ask = fore.listening("a", Ask(lambda asked: ((Sample(str(n), None, ""), Answer("Yes")) for n in range(replies))))
    for _ in ask([]):
        fore.due["a"] -= 1
    return said


def test_in_its_first_seconds_a_long_task_says_how_long_it_will_take_once():
    [line] = heard({"a": 1000, "b": 5, "c": 5}, 1.0, 100)
    assert line.startswith("about 16 min for 985 samples of a, and then 2 more tasks (16 took 16 s; --estimate")


@pytest.mark.parametrize(("due", "each"), [(1000, 0.01), (100, 0.5), (15, 100)])
def test_what_is_over_in_a_minute_or_cannot_be_told_yet_says_nothing(due, each):
    assert heard({"a": due}, each, min(due, 90)) == []


@pytest.fixture
def asked(cli, tmp_path, monkeypatch):
    """The command in a cache of its own; where the cache keeps the rate of POPE; the data."""
    from harness.data import micro

    data = micro()
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    words = ("run", "-l", "parrot", "-t", "pope", "--data", data)
    return lambda *more: cli(*words, *more), lambda: next((tmp_path / "cache" / "estimates").glob("rate-*.json")), data


def test_what_these_models_took_here_before_is_said_before_anything_is_asked(asked, tmp_path):
    run, rate, _ = asked
    assert run("--results", tmp_path / "one").code == 0
    told = json.loads(rate().read_text())
    assert told["samples"] >= 16 and told["seconds"] > 0
    assert "about" not in run("--results", tmp_path / "two").err
    rate().write_text(json.dumps({"seconds": 100, "samples": 10}))
    said = run("--results", tmp_path / "three", "--limit", "20")
    assert re.search(r"about \d+ min for \d+ samples, by what these models took here before", said.err), said.err
    rate().write_text("half")
    assert run("--results", tmp_path / "four").code == 0


def test_an_estimate_counts_tokens_and_is_known_to_the_next_run(cli, asked, tmp_path):
    _, rate, data = asked
    words = ("run", "-l", "micro-llava", "-t", "pope", "--data", data, "--results", tmp_path, "--limit", "12")
    [row] = cli(*words, "--estimate", "--json").json()
    assert 0 < row["tokens"] < row["of_tokens"]
    assert row["estimated_s"] == pytest.approx(row["measured_s"] * row["of_tokens"] / row["tokens"])
    assert json.loads(rate().read_text())["samples"] == row["samples"]


def test_less_than_workers_take_to_start_is_said_before_they_do(asked, tmp_path):
    run, *_ = asked
    assert run("--results", tmp_path / "one").code == 0
    said = run("--results", tmp_path / "two", "--workers", "1", "--ray", "127.0.0.1:1")
    assert said.code == 2
    assert "below a minute one process is the faster way" in said.err
