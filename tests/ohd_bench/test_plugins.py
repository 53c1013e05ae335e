"""A package of somebody else's, really installed, is found, checked and asked; and what ``new`` writes works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from harness import registry
from harness.data import Data, resolve
from harness.errors import DataError
from harness.verbs.check import check_encoder, check_task

ROOT = Path(__file__).parents[2]
registry.load()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python in which the example package is installed beside this ohd-bench."""
    home = tmp_path_factory.mktemp("third-party")
    source = shutil.copytree(ROOT / "tests" / "third_party", home / "source")
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(home / "site")]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words, str(source)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT}"}


@pytest.fixture
def dots(tmp_path: Path) -> Path:
    """The example's data: pictures whose top row has so many bright columns."""
    folder = tmp_path / "data" / "dots"
    folder.mkdir(parents=True)
    lines = []
    for n in (1, 3, 5):
        picture = Image.new("RGB", (16, 16))
        for x in range(n):
            picture.putpixel((2 * x, 0), (255, 255, 255))
        picture.save(folder / f"{n}.png")
        lines.append(json.dumps({"image": f"{n}.png", "count": n, "size": "small"}) + "\n")
    (folder / "questions.jsonl").write_text("".join(lines))
    return tmp_path / "data"


def command(env: dict[str, str], *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "ohd_bench", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, env=env, cwd=cwd)


def test_an_installed_package_is_found_checked_and_asked(installed, dots, tmp_path):
    listed = json.loads(command(installed, "list", "--json", cwd=tmp_path).stdout)
    assert "dots" in listed["tasks"] and "colours" in listed["encoders"] and "counter" in listed["lvlms"]
    for words in (("task", "dots", "--data", dots), ("encoder", "colours")):
        checked = command(installed, "check", *words, cwd=tmp_path)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    asked = command(
        installed, *("run", "-e", "colours", "-l", "counter", "-t", "dots", "--data", dots, "--json"), cwd=tmp_path
    )
    assert asked.returncode == 0, asked.stderr
    rows = {row["group"]: row["values"][0]["value"] for row in json.loads(asked.stdout)["rows"]}
    assert rows == {"all": 100.0, "small": 100.0}
    assert command(installed, *("run", "-e", "colours", "-t", "ohd-caps", "--limit", 4), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("kind", ["task", "encoder", "lvlm"])
def test_what_new_writes_works_as_it_stands(kind, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    made = command(env, "new", kind, "my-own", "--to", tmp_path / "mine", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"my_own.py", "test_my_own.py"}
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "mine")],
        capture_output=True,
        text=True,
        env=env,
        cwd=tmp_path,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    again = command(env, "new", kind, "my-own", "--to", tmp_path / "mine", cwd=tmp_path)
    assert again.returncode == 2 and "is there already" in again.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("task", "pope"), "there is a task called 'pope' already"),
        (("task", "../up"), "cannot be a name"),
        (("recipe", "mine"), "there is task, encoder, lvlm"),
    ],
)
def test_new_refuses_what_cannot_be_begun(cli, tmp_path, words, told):
    said = cli("new", *words, "--to", tmp_path)
    assert said.code == 2 and told in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(registry.tasks))
def test_every_registered_task_keeps_what_tasks_promise(name):
    try:
        found = check_task(name, resolve("micro"))
    except DataError as error:
        pytest.skip(f"the micro world has no such data: {error}")
    assert found.passed, found.rows()


@pytest.mark.parametrize("name", ["hashing", "micro", "micro-ohd", "micro-plain"])
def test_every_encoder_that_comes_along_keeps_what_encoders_promise(name):
    found = check_encoder(name)
    assert found.passed, found.rows()


BROKEN = '''
from ohd_bench import Answer, ModelError, Sample, Task, encoder, ratio, task

@task("broken-task")
class Broken(Task):
    """Everything wrong."""

    mode, headline = "generate", "accuracy"
    metrics = {"accuracy": ratio("right", "n")}
    read = 0

    def samples(self):
        Broken.read += 1
        for n in range(2):
            yield Sample("same", None, "yes", prompt=f"Is {{object}} there? {Broken.read}")

    def count(self, sample, answer):
        return {"n": 1, "right": float(answer.text == "no")}

    def floors(self):
        return {"always no": Answer("no")}

@encoder("broken-encoder")
def broken(spec, place):
    return Rows(spec.text)

class Rows:
    """Everything wrong."""

    made = 0

    def __init__(self, spec):
        self.spec = spec
        Rows.made += 1

    def encode_images(self, images):
        import torch

        return torch.arange(len(images) * 3.0).reshape(-1, 3) + len(images)

    encode_texts = encode_images

    def tower(self):
        raise ModelError("none")

    def digest(self):
        return str(Rows.made) + str(id(self))

    def describe(self):
        return {"made": object()}
'''


def test_each_broken_promise_is_named_and_ends_with_5(cli, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    said = cli("check", "task", "broken-task", "--include", tmp_path)
    assert said.code == 5
    for promise in ("ids are unique", "two readings", "what is asked is whole", "floor 'always no'"):
        assert promise in said.err
    said = cli("check", "encoder", "broken-encoder", "--include", tmp_path)
    assert said.code == 5
    for promise in ("length 1", "do not depend on the batch", "digest is stable", "plain data"):
        assert promise in said.err


def test_a_check_without_data_ends_with_3(cli, tmp_path):
    assert cli("check", "task", "pope", "--data", tmp_path).code == 3
    with pytest.raises(DataError):
        check_task("pope", Data("none", tmp_path))
