"""What ``--json`` prints is what docs/schemas says, and says the version of its format."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.result import FORMAT_VERSION, versioned

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
POPE = ("--task", "pope", "--limit", "3", "--data", "micro")


def require(schema: str, said) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema to check the schemas")
    assert said.code in (0, 1), said.err
    jsonschema.validate(said.json(), json.loads((SCHEMAS / f"{schema}.json").read_text(encoding="utf-8")))


def test_what_commands_print_is_what_their_schemas_say(cli, tmp_path):
    results = ("--results", tmp_path / "results")
    shards = ("--results", tmp_path / "shards")
    require("run", cli("run", "--lvlm", "parrot:no", *POPE, "--json", *results))
    require("run", cli("run", "-e", "hashing", "--lvlm", "parrot:yes", *POPE, "--task", "ohd-caps", "--json", *results))
    require("run", cli("show", "run", "parrot-no@", "--json", *results))
    require("run-estimate", cli("run", "--lvlm", "parrot", *POPE, "--estimate", "--json", *results))
    require("run-shard", cli("run", "--lvlm", "parrot", *POPE, "--shard", "1/1", "--json", *shards))
    require("merge", cli("merge", "--json", *shards))
    require("compare", cli("compare", "parrot-no@", "hashing+parrot-yes@", "--json", *results))
    require("objects", cli("objects", "parrot-no@", "--json", *results))
    require("list", cli("list", "--json"))
    require("data-list", cli("data", "list", "--json"))
    for task in ("amber", "ohd-caps", "retrieval"):
        require("show-sample", cli("show", "sample", task))
    require("doctor", cli("doctor", "--quick", "--json", "--results", tmp_path))
    require("compare-published", cli("compare", "--published", "--json"))
    require("check", cli("check", "encoder", "hashing", "--json"))
    require("encoder-inspect", cli("encoder", "inspect", "hashing", "--json"))


def test_scores_are_what_their_schema_says_of_one_file_and_of_several(cli, tmp_path):
    answers = tmp_path / "answers.json"
    kept = min((ROOT / "results").glob("micro+micro-llava@*/pope/records.jsonl"))
    records = map(json.loads, kept.read_text(encoding="utf-8").splitlines())
    answers.write_text(json.dumps([{"id": one["id"], "response": one["answer"]["text"]} for one in records]))
    require("score", cli("score", "pope", answers, "--json"))
    require("score", cli("score", "pope", answers, f"again={answers}", "--json"))


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
