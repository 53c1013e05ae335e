"""What ``--json`` prints is what docs/schemas says (the fixture ``cli`` holds every command to it), version and all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from harness.cli import build
from harness.result import FORMAT_VERSION, versioned

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
POPE = ("--task", "pope", "--limit", "3", "--data", "micro")
KEPT = ("micro+micro-llava@micro-f", "micro-ohd+micro-llava@micro-5", "--results", ROOT / "results")


def commands(command: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Every command by its words, with its options."""
    command = command or get_command(build())
    if hasattr(command, "commands"):
        for name, one in command.commands.items():
            yield from commands(one, (*before, name))
    else:
        yield before, {option for one in command.params for option in one.opts}


def test_every_command_that_prints_json_has_a_schema_and_every_schema_a_command(schemas: Any) -> None:
    there = dict(commands())
    for words, options in there.items():
        if "--json" in options:
            schemas.of([*words, "--json"])
    for told in schemas.table():
        words = tuple(
            word for word in told if not word.startswith("-") and word != "plan"
        )  # what study takes as a word
        assert {word for word in told if word.startswith("-")} <= there[words], told


def test_what_commands_print_is_what_their_schemas_say(cli, schemas, tmp_path):
    results = ("--results", tmp_path / "results")
    shards = ("--results", tmp_path / "shards")
    for words in (
        ("run", "--lvlm", "parrot:no", *POPE, *results),
        ("run", "-e", "hashing", "--lvlm", "parrot:yes", *POPE, "--task", "ohd-caps", *results),
        ("show", "run", "parrot-no@", *results),
        ("run", "--lvlm", "parrot", *POPE, "--estimate", *results),
        ("run", "--lvlm", "parrot", *POPE, "--shard", "1/1", *shards),
        ("merge", *shards),
        ("compare", "parrot-no@", "hashing+parrot-yes@", *results),
        ("compare", "--published"),
        ("effects", *KEPT, "--task", "mme"),
        ("objects", "parrot-no@", *results),
        ("list",),
        ("data", "list"),
        ("data", "where", "pope"),
        ("data", "verify", "pope", "--data", tmp_path),
        ("doctor", "--quick", "--results", tmp_path),
        ("check", "encoder", "hashing"),
        ("encoder", "inspect", "hashing"),
    ):
        said = cli(*words, "--json")
        assert said.code in (0, 1, 3) and said.out, (words, said.err)
    for task in ("amber", "ohd-caps", "retrieval"):
        schemas.require(["show", "sample"], cli("show", "sample", task).json())


def test_scores_are_what_their_schema_says_of_one_file_and_of_several(cli, tmp_path):
    answers = tmp_path / "answers.json"
    kept = min((ROOT / "results").glob("micro+micro-llava@*/pope/records.jsonl"))
    records = map(json.loads, kept.read_text(encoding="utf-8").splitlines())
    answers.write_text(json.dumps([{"id": one["id"], "response": one["answer"]["text"]} for one in records]))
    assert cli("score", "pope", answers, "--json").code == 0
    assert cli("score", "pope", answers, f"again={answers}", "--json").code == 0


def test_every_schema_stands_on_the_page_of_outputs_and_is_one():
    page = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\(schemas/([a-z-]+)\.json\)", page)) == sorted(one.stem for one in SCHEMAS.iterdir())
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema to check the schemas")
    for path in SCHEMAS.iterdir():
        schema = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
        for wrong in ({}, [{}], {"format_version": FORMAT_VERSION + 1}):
            assert not jsonschema.Draft202012Validator(schema).is_valid(wrong), path.stem


def test_the_version_stands_in_the_object_or_in_each_of_a_list():
    assert versioned({"a": 1}) == {"format_version": FORMAT_VERSION, "a": 1}
    assert versioned([{"a": 1}, {"a": 2}])[1] == {"format_version": FORMAT_VERSION, "a": 2}
    assert versioned([1, "a"]) == [1, "a"]
