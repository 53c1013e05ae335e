"""``ohd-bench doctor`` says what there is, whether it computes right, what to do, and no secret."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from harness.doctor import kernels, packages, selftest
from harness.types import Answer, Failure


def found(said) -> dict[str, str]:
    return {row["what"]: row["found"] for row in said.json()["looked"]}


def test_it_says_versions_devices_and_what_is_registered(cli, tmp_path):
    said = cli("doctor", "--quick", "--json", "--results", tmp_path)
    looked = found(said)
    assert looked["numpy"] == importlib.metadata.version("numpy")
    assert "tasks" in looked["registered"] and "LVLMs" in looked["registered"]
    assert said.err == ""
    assert all("GB free" in found for what, found in looked.items() if what.startswith("disk of"))
    assert "disk of cache and results" in looked or {"disk of the cache", "disk of the results"} <= set(looked)
    assert said.json()["well"] == (not any(row["needed"] for row in said.json()["looked"]))
    assert said.code == (0 if said.json()["well"] else 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_machine_that_computes_right_is_told_so_precision_by_precision_and_by_a_run(cli, tmp_path):
    said = cli("doctor", "--json", "--results", tmp_path)
    looked = found(said)
    assert said.code == 0
    assert looked["attention"].startswith("right in")
    assert "of 144 answers flip" in looked["answers cpu bfloat16"]
    assert "a run of the micro world …" in said.err, "what takes time is said before"
    assert re.search(r"(\d+) of \1 samples scored, 0 flip one by one", looked["self-test"])
    assert re.search(r"a worker of it was there after \d+ s, within reach of this machine alone", looked["Ray"])


def test_without_ray_it_is_said_what_cannot_be_done_and_how_to_get_it(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = cli("doctor", "--quick", "--results", tmp_path).out
    assert "Ray: absent: no --workers, no --ray; --shard needs none" in said
    assert "if you want it: pip install 'ohd-bench[ray]'" in said


def test_the_screen_is_one_screen_and_says_how_it_stands(cli, tmp_path):
    lines = cli("doctor", "--quick", "--results", tmp_path).out.splitlines()
    assert len(lines) <= 40
    assert lines[-1].startswith("nothing is to be done: ohd-bench can run here, for instance: ohd-bench run ")


def test_a_cache_that_cannot_be_written_is_advice_and_exit_1(cli, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    said = cli("doctor")
    assert said.code == 1 and "do: set OHD_BENCH_CACHE" in said.out
    assert "self-test: the micro run ended: cannot write the micro world" in said.out


def test_results_that_cannot_be_written_are_advice_and_exit_1(cli, tmp_path):
    (tmp_path / "file").touch()
    said = cli("doctor", "--quick", "--results", tmp_path / "file")
    assert said.code == 1 and "do: name another --results" in said.out


def test_a_mount_where_nothing_can_be_added_to_a_file_is_advice_and_exit_1(cli, tmp_path, monkeypatch):
    real = Path.open

    def opened(path, mode="r", *more, **others):
        if "a" in mode and path.is_relative_to(tmp_path):
            raise PermissionError(1, "Operation not permitted")
        return real(path, mode, *more, **others)

    monkeypatch.setattr(Path, "open", opened)
    said = cli("doctor", "--quick", "--results", tmp_path)
    assert said.code == 1 and "nothing can be added to one (Operation not permitted)" in said.out
    assert "do: name another --results" in said.out


def test_a_data_folder_is_told_task_by_task(cli, tmp_path):
    from harness.data import micro

    looked = found(cli("doctor", "--quick", "--json", "--data", micro()))
    assert "pope (" in looked["data"] and "ohd-caps (" in looked["data"]
    empty = cli("doctor", "--quick", "--data", tmp_path)
    assert empty.code == 1 and "do: docs/data.md" in empty.out


def test_no_secret_is_shown(cli, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_API_KEY", "sk-very-secret")
    said = cli("doctor", "--quick", "--json")
    assert "sk-very-secret" not in said.out and "OHD_BENCH_API_KEY" in said.out


WRONG = {
    "BATCH_SIZE": "abc", "LIMIT": "-4", "SEED": "1.5", "WORKERS": "0", "VERIFY": "2", "ALLOW_OUTSIDE": "perhaps",
    "PIXELS": "abc", "CONTROL": "no-image", "SHARD": "3/2", "DEVICE": "abacus", "DTYPE": "fp7", "TASK": "pope popee",
    "ENCODER": "micro mikro", "LVLM": "micro-lava", "ALIGN": "by-hand", "LOG_WITH": "paper", "INCLUDE": "/nowhere",
}  # fmt: skip
RIGHT = {
    "BATCH_SIZE": "8", "LIMIT": "4", "SEED": "1", "VERIFY": "0.5", "ALLOW_OUTSIDE": "1", "PIXELS": "2.5",
    "CONTROL": "text-only", "SHARD": "1/2", "DEVICE": "cpu", "DTYPE": "fp32", "TASK": "pope amber", "LVLM": "parrot",
    "ENCODER": "micro micro-ohd", "ALIGN": "none", "MERGED": "", "VERBOSE": "0",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_a_run_would_refuse_of_the_environment_is_to_do_here(cli, tmp_path, monkeypatch, name):
    monkeypatch.setenv(f"OHD_BENCH_{name}", WRONG[name])
    said = cli("doctor", "--quick", "--json", "--results", tmp_path)
    assert said.code == 1
    assert [row["what"] for row in said.json()["looked"] if row["needed"]] == [f"OHD_BENCH_{name}"]
    models = {"--encoder": "micro", "--lvlm": "micro-llava"}
    words = [word for option, spec in models.items() if option != f"--{name.lower()}" for word in (option, spec)]
    assert cli("run", *words, "--results", tmp_path).code in (2, 4)


def test_what_a_run_takes_of_the_environment_is_well(cli, tmp_path, monkeypatch):
    for name, told in RIGHT.items():
        monkeypatch.setenv(f"OHD_BENCH_{name}", told)
    said = cli("doctor", "--quick", "--json", "--results", tmp_path)
    assert said.code == 0
    advised = {row["what"].removeprefix("OHD_BENCH_") for row in said.json()["looked"] if row["advice"]}
    assert not advised & RIGHT.keys()


def test_a_variable_that_no_command_reads_is_named_with_the_one_it_may_be(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_BACH_SIZE", "8")
    said = cli("doctor", "--quick", "--results", tmp_path)
    assert said.code == 0
    assert "if you want it: no command reads it; did you mean OHD_BENCH_BATCH_SIZE?" in said.out


@pytest.mark.parametrize(
    ("there", "advice"),
    [("2.4.6", ""), ("2.5.0rc1", ""), ("2.0+cu130", ""), ("1.26.4", "pip install 'numpy>=2.0'"), ("", "pip install")],
)
def test_a_package_of_another_version_than_asked_for_is_advice(there, advice):
    looked = packages.fit(Requirement("numpy>=2.0"), there)
    assert looked.advice.startswith(advice) if advice else not looked.advice


def test_the_tested_versions_are_those_of_constraints(tmp_path):
    (tmp_path / "constraints.txt").write_text("# pins\nopen_clip_torch==3.3.0\nnumpy==9.9  # why\n\n")
    known = packages.tested(tmp_path / "constraints.txt")
    assert known == {"open-clip-torch": "3.3.0", "numpy": "9.9"}
    assert "(tested: 9.9)" in packages.others([Requirement("numpy>=2.0")], known)


def test_attention_is_right_here_and_a_wrong_kernel_is_told_apart_from_a_wrong_choice():
    assert all(not one.advice for one in kernels.attention("cpu"))
    odd = kernels.judged("cuda:0", torch.bfloat16, {"torch's choice": 0.01, "math": 0.01, "flash": 3.0, "cudnn": None})
    assert "flash is wrong" in odd.advice and not odd.needed and "not here: cudnn" in odd.found
    chosen = kernels.judged("cuda:0", torch.float16, {"torch's choice": float("nan"), "math": 0.0})
    assert "attention=eager" in chosen.advice and chosen.needed


def test_answers_that_flip_more_than_rounding_makes_them_are_advice():
    exact = {str(n): Answer("Yes", 0.9) for n in range(20)}
    near = exact | {"0": Answer("No", 0.4)}
    assert not selftest.judged("a", "bfloat16", exact, near).advice
    assert selftest.judged("a", "float32", exact, near).advice
    far = {id: Failure("nan") for id in exact}
    looked = selftest.judged("a", "bfloat16", exact, far)
    assert looked.advice and looked.found.startswith("20 of 20 answers flip")
