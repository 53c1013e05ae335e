"""A run asked in shards is the run asked by one process: every record, to the last bit, however many shards."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.asking import engine, shard_runs
from harness.asking.ask import speaker
from harness.asking.shards import Shard
from harness.errors import UsageError
from harness.journal import Journal
from harness.records import Record, latest
from harness.store import Run
from harness.types import Answer, Failure, Sample, Task

MICRO = ("run", "--encoder", "micro", "--lvlm", "micro-llava", "--limit", "10", "--batch-size", "2", "--json")
TASKS = ("-t", "pope", "-t", "ohd-caps")


def rows(results: Path) -> dict[str, list[str]]:
    """The lines of every task, in one order."""
    return {path.parent.name: sorted(path.read_text().splitlines()) for path in results.glob("*/*/records.jsonl")}


def entries(results: Path) -> dict[str, object]:
    """What the manifest says, times aside."""
    manifest = json.loads(next(results.glob("*/run.json")).read_text())
    tasks = {name: {**entry, "seconds": 0} for name, entry in manifest["tasks"].items()}
    return {**manifest, "tasks": tasks, "created": "", "finished": "", "cost": {}}


def test_three_and_seven_shards_merged_are_one_process_in_every_record_and_metric(cli, tmp_path):
    one = cli(*MICRO, *TASKS, "--results", tmp_path / "1").json()["rows"]
    for of in (3, 7):
        results = tmp_path / str(of)
        shards = [cli(*MICRO, *TASKS, "--results", results, "--shard", f"{n}/{of}") for n in range(of, 0, -1)]
        assert all(said.code == 0 for said in shards)
        shares = [sum(row["scored"] for row in said.json()["tasks"]) for said in shards]
        assert sum(shares) == sum(map(len, rows(tmp_path / "1").values()))
        merged = cli("merge", "--results", results, "--json")
        assert (merged.code, merged.json()["complete"]) == (0, True)
        assert rows(results) == rows(tmp_path / "1")
        assert entries(results) == entries(tmp_path / "1")
        assert cli(*MICRO, *TASKS, "--results", results).json()["rows"] == one


def test_the_plain_run_reads_the_shards_that_are_there_and_asks_the_rest(cli, bench):
    cli(*bench.words(), "--shard", "1/3")
    cli(*bench.words(), "--shard", "2/5")
    asked = bench.asked()
    assert len(asked) == len(set(asked)), "a shard of another number asked again what one had answered"
    assert cli(*bench.words()).code == 0
    rest = bench.asked()
    assert sorted(asked + rest) == sorted(f"{('red', 'blue')[n % 2]}{n}-{k}" for n in range(6) for k in (0, 1))
    assert not list(bench.results.glob("*/shards"))


def test_a_shard_counts_its_own_share_alone_whatever_the_others_have(cli, bench):
    shares = []
    for n in (1, 2, 3, 2):
        said = cli(*bench.words(), "--shard", f"{n}/3")
        done, share = map(int, re.search(r"red: (\d+) of (\d+)", said.err).groups())
        assert done == share, said.err
        shares.append(share)
    assert (sum(shares[:3]), shares[3]) == (18, shares[1])


def test_a_killed_shard_goes_on_where_it_stopped(cli, bench):
    assert cli(*bench.words(stop="red2"), "--shard", "1/1").code == 130
    before = bench.asked()
    assert cli(*bench.words(), "--shard", "1/1").code == 0
    assert not set(before) - {"red2-0"} & set(bench.asked())


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "-1/3", "1/0", "1/3/5"])
def test_what_is_no_shard_is_said_with_what_would_be_one(cli, bench, shard):
    said = cli(*bench.words(), f"--shard={shard}")
    assert said.code == 2 and "I/N with I from 1 to N" in said.err


def test_verify_goes_with_the_whole_run(cli, bench):
    assert cli(*bench.words(), "--shard", "1/3", "--verify", "0.5").code == 2


def test_writers_are_kept_apart(cli, bench):
    cli(*bench.words(), "--shard", "1/2")
    run = Run(next(bench.results.glob("*/run.json")).parent)
    part = shard_runs.shard_runs(run)[0]
    with part.writing():
        for words in (bench.words(), [*bench.words(), "--shard", "1/2"], ["merge", "--results", bench.results]):
            said = cli(*words)
            assert said.code == 2 and "another process is writing" in said.err
        assert cli(*bench.words(), "--shard", "2/2").code == 0, "another shard is not in the way"
    with run.writing(), pytest.raises(UsageError, match="another process"), shard_runs.written(run, Shard(1, 2), {}, 0):
        pass
    assert cli("merge", "--results", bench.results).code == 0


def test_merge_says_what_is_missing_and_that_there_is_nothing_to_do(cli, bench):
    bench.results.mkdir()
    assert "no run has shards" in cli("merge", "--results", bench.results).out
    cli(*bench.words(), "--shard", "1/2")
    said = cli("merge", "--results", bench.results)
    assert said.code == 1 and "9 of 18 scored" in said.out and "by the shards that are missing" in said.out


def test_shards_read_back_twice_after_a_kill_are_kept_once(cli, bench, tmp_path):
    cli(*bench.words(), "--shard", "1/1")
    shards = next(bench.results.glob("*/shards"))
    shutil.copytree(shards, tmp_path / "copy")
    cli("merge", "--results", bench.results)
    lines = bench.records().read_text()
    shutil.copytree(tmp_path / "copy", shards)
    assert cli("merge", "--results", bench.results).code == 0
    assert bench.records().read_text() == lines


@pytest.mark.parametrize(("first", "then", "kept"), [
    (Answer("Yes"), Failure("down"), Answer("Yes")),
    (Failure("down"), Answer("Yes"), Answer("Yes")),
    (Answer("No"), Answer("Yes"), Answer("Yes")),
    (Failure("a"), Failure("b"), Failure("b")),
])  # fmt: skip
def test_a_failure_never_stands_over_an_answer(tmp_path, first, then, kept):
    run = Run(tmp_path / "run")
    entry = {"task": {"expected": 1, "scored": 0, "failed": 0}}
    part = shard_runs.ShardRun(run.folder / "shards" / "1-of-1")
    for one, reply in ((run, first), (part, then)):
        one.update(tasks=entry)
        with Journal(one.records_path("task")) as journal:
            journal.append([Record("1", "i", "", "k", "r", reply)])
    with run.writing():
        shard_runs.merge(run)
    assert latest(run.records_path("task"))["1"].reply == kept
    assert run.manifest()["tasks"]["task"]["scored"] == isinstance(kept, Answer)


def test_what_two_machines_answered_in_two_ways_is_named_and_ends_with_1(cli, bench, tmp_path):
    assert cli(*bench.words(), "--shard", "1/1").code == 0
    shards = next(bench.results.glob("*/shards"))
    shutil.copytree(shards, tmp_path / "copy")
    assert cli("merge", "--results", bench.results).code == 0
    part = shard_runs.ShardRun(tmp_path / "copy" / "1-of-1")
    one = part.records("red")[0]
    with part.adding("red") as journal:
        journal.append([Record(one.id, one.image, one.group, one.key, one.rules, Answer("Perhaps"), one.counts)])
    shutil.copytree(tmp_path / "copy", shards)
    said = cli("merge", "--results", bench.results)
    assert said.code == 1 and one.id in said.out and "answered otherwise" in said.out
    shutil.copytree(tmp_path / "copy", shards)
    again = cli("merge", "--results", bench.results, "--json")
    assert again.code == 0 and [row["conflicts"] for row in again.json()["tasks"]] == [[]], "it is known by now"


def test_another_run_s_shards_are_refused_and_stay(cli, bench):
    assert cli(*bench.words(weights="one"), "--shard", "1/2").code == 0
    assert cli(*bench.words(weights="two"), "--shard", "2/2").code == 0
    one, two = sorted(bench.results.glob("*@*"))
    shutil.copytree(next(two.glob("shards/*")), one / "shards" / "2-of-2")
    before = {path: path.read_bytes() for path in one.rglob("*") if path.is_file()}
    said = cli("merge", one.name, "--results", bench.results)
    assert said.code == 2 and "are not one run" in " ".join(said.err.split())
    assert {path: path.read_bytes() for path in one.rglob("*") if path.is_file()} == before


class Neighbourly:
    """A model as bad as can be: what it answers hangs on everything that is asked beside it."""

    spec, batch = "neighbourly", 3

    def answers(self, asked):
        together = [(one, sample) for one in asked for sample in one.samples]
        company = " ".join(sample.id for _, sample in together)
        for place, (_, sample) in enumerate(together):
            yield sample, Answer(company, p_yes=place / len(together))


class Anything(Task):
    mode, metrics, headline, spec = "generate", {}, "", "anything"

    def samples(self):
        return []

    def count(self, sample, answer):
        return {"n": 1.0}


def asked_of(name: str, prompts: list[int]) -> engine.Questions:
    task = Anything(Path())
    task.name = name
    return engine.questions(task, [Sample(f"{name}{n}", None, "yes", prompt=f"{p}?") for n, p in enumerate(prompts)])


PROMPTS = st.lists(st.integers(0, 30), min_size=1, max_size=25)


@settings(max_examples=40)
@given(PROMPTS, PROMPTS, st.integers(1, 9), st.randoms(use_true_random=False))
def test_shards_in_any_number_and_order_give_the_records_of_one_process_in_every_field(first, second, of, draw):
    """Also where two tasks ask the same, and the last shards never came."""
    tasks = [asked_of("a", first), asked_of("b", second)]
    with TemporaryDirectory() as here, TemporaryDirectory() as there:
        whole, split = Run(Path(here) / "run"), Run(Path(there) / "run")
        numbers = draw.sample(range(1, of + 1), draw.randint(0, of))
        for n in numbers:
            with shard_runs.written(split, Shard(n, of), {"tasks": {}}) as part:
                for one in engine.sharded(tasks, Shard(n, of)):
                    found = engine.answer(part, one, engine.Identity({}), speaker(Neighbourly()))
                    part.update(tasks=part.manifest().get("tasks", {}) | {one.task.name: {"expected": found.expected}})
                    assert found.scored == found.expected
        with shard_runs.written(split, None, {}) as run:
            for one in tasks:
                engine.answer(run, one, engine.Identity({}), speaker(Neighbourly()))
        for one in tasks:
            engine.answer(whole, one, engine.Identity({}), speaker(Neighbourly()))
            assert split.records(one.task.name) == whole.records(one.task.name)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 5), st.integers(1, 9))
def test_every_question_is_in_one_shard_and_shards_differ_by_one_batch(images, size, of):
    samples = [Sample(f"{n}", Path(f"{image}.png"), "") for n, image in enumerate(images)]
    keys = {sample.id: f"key {sample.id}" for sample in samples}
    shares = [Shard(n, of).share(samples, keys, size) for n in range(1, of + 1)]
    assert sorted(id for share in shares for id in share) == sorted(keys)
    pictures = [{images[int(id)] for id in share} for share in shares]
    assert max(map(len, pictures)) - min(map(len, pictures)) <= 2 * max(1, size) - 1
