"""--config: options from a TOML file, below the environment and the command line."""

from __future__ import annotations

import json

import pytest


def config(bench, text):
    path = bench.root / "run.toml"
    path.write_text(text)
    return path


def told(bench, **more):
    words = bench.words()
    lvlm, data, results, include = (
        words[words.index(name) + 1] for name in ("--lvlm", "--data", "--results", "--include")
    )
    lines = {"data": data, "results": results, "include": [include], **more}
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items()) + f'\n[run]\nlvlm = "{lvlm}"\n'


def test_a_run_is_asked_by_a_file_alone(cli, bench):
    path = config(bench, told(bench) + 'task = "red"\nlimit = 2\n')
    assert cli("run", "--config", path).code == 0
    assert len(bench.records().read_text().splitlines()) == 6
    assert cli(f"--config={path}", "show", "run", "eye").code == 0


def test_the_command_line_goes_before_the_environment_and_this_before_the_file(cli, bench, monkeypatch):
    path = config(bench, told(bench) + 'task = ["red"]\nlimit = 2\n')
    monkeypatch.setenv("OHD_BENCH_LIMIT", "3")
    cli("run", "--config", path)
    cli("run", "--config", path, "--limit", 1)
    limits = [json.loads(one.read_text())["limit"] for one in bench.results.glob("*/run.json")]
    assert sorted(limits) == [1, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[run]\nbatchsize = 1", "there is no 'batchsize' here; did you mean 'batch-size'?"),
        ("dat = 1", "there is no 'dat' here; did you mean 'data'?"),
        ("[rum]\nlimit = 1", "did you mean 'run'?"),
        ("limit = ", "Invalid value"),
        ('[run]\nlimit = "few"', "Invalid value for '--limit'"),
    ],
)
def test_an_odd_file_is_refused_in_a_line(cli, bench, text, said):
    refused = cli("run", "--config", config(bench, text))
    assert refused.code == 2
    assert said in " ".join(refused.err.replace("│", " ").split())


def test_a_file_that_is_not_there_is_named(cli, bench):
    assert "nowhere.toml" in cli("run", "--config", bench.root / "nowhere.toml").err
    assert cli("run", "--config").code == 2


def test_the_version_is_told(cli):
    from importlib.metadata import version

    assert cli("--version").out == f"ohd-bench {version('ohd-bench')}\n"
