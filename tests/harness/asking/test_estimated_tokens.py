"""An estimate's tokens are those that the run then reads, whatever has a picture and whatever is asked twice."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from harness.vision_language import inference

MIXED = '''"""Mixed: questions with a picture and without, as a file lists them."""

import json

from harness.metrics import ratio
from harness.registry import task
from harness.types import Sample, Task


@task("mixed")
class Mixed(Task):
    """Is it there?"""

    mode = "generate"
    metrics = {"asked": ratio("n", "n")}
    headline = "asked"

    def __init__(self, data, file="mixed.json"):
        super().__init__(data)
        self.file = file

    def samples(self):
        for n, (picture, prompt) in enumerate(json.loads((self.data / self.file).read_text())):
            yield Sample(str(n), self.data / picture if picture else None, "", prompt=prompt, tokens=1)

    def count(self, sample, answer):
        return {"n": 1.0}
'''
ASK, OTHER = "Is there a red circle in the image?", "What is two and two?"
ROWS = {
    "the first has none": [["", OTHER], ["a.png", ASK], ["b.png", ASK]],
    "the last has none": [["a.png", ASK], ["a.png", OTHER], ["", ASK]],
    "all but one have none": [*([["", f"{OTHER} {n}"] for n in range(80)]), ["b.png", ASK]],
    "none has one": [["", ASK], ["", OTHER]],
    "all have one": [["a.png", ASK], ["b.png", OTHER]],
    "asked twice": [["a.png", ASK], ["", ASK], ["a.png", ASK], ["", ASK], ["b.png", ASK]],
    "copies of one picture": [["a.png", ASK], ["copy.png", ASK], ["b.png", ASK]],
}


@pytest.fixture
def read(monkeypatch):
    """How many tokens of prompts the packed decoders have read."""
    made = []

    class Counting(inference.PackedDecoder):
        def __init__(self, *given):
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(inference, "PackedDecoder", Counting)
    return lambda: sum(one.work.prompt_tokens for one in made)


@pytest.fixture
def told_and_read(cli, read, tmp_path):
    """The tokens that ``--estimate`` says, by task, and all that the same command then reads."""

    def ask(*words):
        command = ("run", "--lvlm", "micro-llava", "--results", tmp_path / "results", *words)
        told = {one["task"]: one["of_tokens"] for one in cli(*command, "--estimate", "--json").json()}
        before = read()
        assert cli(*command).code == 0
        return told, read() - before

    return ask


@pytest.fixture
def mixed(tmp_path):
    """A folder of two pictures, one of them twice, a plug-in, and a file of rows for each case."""
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mixed.py").write_text(MIXED)
    for name, colour in (("a", "red"), ("copy", "red"), ("b", "blue")):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")

    def words(*cases):
        for case in cases:
            (tmp_path / f"{case}.json").write_text(json.dumps(ROWS[case]))
        tasks = [word for case in cases for word in ("--task", f"mixed?file={case}.json")]
        return ("--include", tmp_path / "task", "--data", tmp_path, *tasks)

    return words


def test_the_tokens_of_each_bundled_task_are_those_it_reads(cli, told_and_read):
    tasks = [one["task"] for one in cli("run", "--lvlm", "parrot", "--limit", 1, "--estimate", "--json").json()]
    assert {"hallusion", "pope"} < set(tasks)
    for task in tasks:
        told, read = told_and_read("--task", task, "--limit", 12)
        assert told == {task: read} and read > 0


@pytest.mark.parametrize("control", ["none", "text-only", "shuffle-image"])
def test_tokens_of_tasks_that_share_answers_add_up_to_what_one_command_reads(told_and_read, control):
    tasks = ("pope", "pope?labels=repope", "hallusion", "mme")
    words = [word for task in tasks for word in ("--task", task)]
    told, read = told_and_read(*words, "--limit", 10, "--control", control)
    assert sum(told.values()) == read > 0


@pytest.mark.parametrize("case", ROWS)
def test_wherever_a_picture_stands_it_is_counted(told_and_read, mixed, case):
    told, read = told_and_read(*mixed(case))
    assert list(told.values()) == [read] and read > 0


def test_what_another_task_asks_is_counted_once_and_costs_nothing_more(cli, told_and_read, mixed):
    words = mixed("asked twice", "copies of one picture")
    told, read = told_and_read(*words)
    first, second = told.values()
    assert (first, second) == (read, 0)
    command = ("run", "--lvlm", "micro-llava", *words, "--estimate")
    one, other = cli(*command, "--json").json()
    assert (one["of_samples"], other["of_samples"], other["estimated_s"]) == (3, 0, 0.0)
    assert "nothing to ask: a task before it asks the same" in cli(*command).out
