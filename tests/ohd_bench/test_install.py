"""Without any extra: what scores, compares and reports works; what computes with models says what to install."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from harness import extras

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BARE = """
import contextlib, io, json, sys

absent = set(json.loads(sys.argv[1]))

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from harness.cli import main

ended = []
for words in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            ended.append([end.code or 0, out.getvalue(), err.getvalue()])
print(json.dumps(ended), file=sys.__stdout__)
"""


def optional() -> set[str]:
    """What only extras bring, by the names it is imported by; with what always comes along with it."""
    told = [Requirement(one).name for every in PROJECT["optional-dependencies"].values() for one in every]
    names = {extras.IMPORTED_AS.get(name.replace("_", "-"), name.replace("-", "_")) for name in told}
    return names | {"tokenizers", "triton"}


def bare(*commands: tuple[object, ...]) -> list[list[Any]]:
    """How each command ends, and what it says, in a Python that has no extra's packages."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", BARE, json.dumps(sorted(optional())), words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_answers_are_scored_compared_and_reported_without_torch(tmp_path: Path) -> None:
    kept = min((ROOT / "results").glob("micro+micro-llava@*/amber/records.jsonl"))
    records = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    answers, results = tmp_path / "answers.json", ("--results", tmp_path / "results")
    answers.write_text(json.dumps([{"id": one["id"], "response": one["answer"]["text"]} for one in records]))
    runs = "parrot-no@", "parrot-yes@"
    asked = ("--task", "pope", "--limit", "4", *results)
    ended = bare(
        ("score", "amber", answers, "--json"),
        ("run", "--lvlm", "parrot:no", *asked),
        ("run", "--lvlm", "parrot:yes", *asked),
        ("compare", *runs, "--json", *results),
        ("report", *runs, *results, "-o", tmp_path / "report.html", "--export", tmp_path / "paper"),
        ("leaderboard", *results, "--out", tmp_path / "leaderboard.md", "--html", "--csv"),
        ("export", runs[0], *results, "--to", "csv", "-o", tmp_path),
        ("show", "run", runs[0], *results),
        ("list",),
        ("doctor", "--quick", *results),
    )
    assert [(code, err) for code, _, err in ended if code] == []
    assert "AMBER" in ended[0][1] and "balanced_accuracy" in ended[3][1]
    assert "pip install 'ohd-bench[models]'" in ended[9][1]


def test_what_needs_models_says_in_one_line_what_to_install(tmp_path: Path) -> None:
    ended = bare(
        ("run", "-e", "micro", "--data", "micro", "--results", tmp_path),
        ("run", "-e", "micro", "--lvlm", "micro-llava", "--results", tmp_path),
        ("train", "micro-ohd", "--out", tmp_path / "out"),
        ("encoder", "inspect", "micro"),
        ("encoder", "check", "micro", "--lvlm", "micro-llava"),
        ("check", "encoder", "micro"),
    )
    line = "error: this needs the package 'torch': pip install 'ohd-bench[models]'\n"
    assert [(code, err[-len(line) :]) for code, _, err in ended] == [(2, line)] * len(ended)
    ((code, _, said),) = bare(("export", "micro+micro-llava@", "--to", "parquet", "-o", tmp_path))
    assert (code, said) == (2, "error: this needs the package 'pyarrow': pip install 'ohd-bench[parquet]'\n")


@pytest.mark.parametrize("package", sorted({"torch", "open_clip", "pyarrow", "openpyxl", "wandb", "huggingface_hub"}))
def test_every_optional_package_is_brought_by_the_extra_that_is_offered(package: str) -> None:
    extra = extras.by_package()[package]
    brought = [Requirement(one).name for one in PROJECT["optional-dependencies"][extra]]
    assert package in {extras.IMPORTED_AS.get(name.replace("_", "-"), name.replace("-", "_")) for name in brought}


def test_an_import_that_fails_for_another_reason_is_no_missing_extra() -> None:
    assert extras.missing(ModuleNotFoundError("no", name="harness.nowhere")) is None
    assert extras.missing(ModuleNotFoundError("no", name="packaging.nowhere")) is None
    assert extras.missing(ImportError("a symbol is absent")) is None
