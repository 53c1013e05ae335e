"""Studies: what a file may say, the list of jobs and its addresses, and a small one from the command line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.data import Data
from harness.errors import UsageError
from harness.study import jobs, schema
from harness.study.jobs import Align, Ask, Place, Planner, Train

SMALL = """
name = "small"
title = "A small study"
base = "micro"
lvlm = "micro-llava"
seeds = 2
tasks = ["ohd-caps", "pope"]

[arms.control]
recipe = "micro-control"
lvlm = true
set = { steps = 2, batch = 8, replay_batch = 4, dev_samples = 2, evaluate_every = 2, save_every = 1 }

[arms.full]
recipe = "micro-ohd"
lvlm = true
fractions = [0.5, 1.0]
set = { steps = 2, batch = 8, replay_batch = 4, dev_samples = 2, evaluate_every = 2, save_every = 1 }

[alignments.none]
how = "none"

[alignments.ridge]
how = "ridge"
images = "web/images"

[[contrasts]]
base = "control"
candidate = "full"
says = "the negatives"
over = "the control"

[[tables]]
title = "OHD-Caps"
task = "ohd-caps"
columns = ["average:top1"]
published = "table 2"

[[tables]]
title = "POPE"
task = "pope"
columns = ["accuracy", "yes_ratio"]
"""

ENCODER_ALONE = """
name = "alone"
title = "An encoder alone"
base = "micro"
seeds = 1
tasks = ["ohd-caps"]

[arms.control]
recipe = "micro-control"
set = { steps = 2, batch = 8, replay_batch = 4, dev_samples = 2, evaluate_every = 2, save_every = 1 }
"""


def planned(study: schema.Study, world: Path, seeds: int = 2, quick: bool = False) -> list[jobs.Job]:
    data = Data("data", world)
    return Planner(study, data, Place(Path("/made")), tuple(range(seeds)), quick=quick).jobs()


def addresses(found: list[jobs.Job]) -> list[Path]:
    return [job.address for job in found]


# The file


@pytest.mark.parametrize("name", ["paper", "negatives"])
@pytest.mark.parametrize("small", [True, False])
def test_every_bundled_study_is_one_and_names_recipes_that_are_there(name: str, small: bool) -> None:
    registry.load()
    found = schema.load(name, small)
    assert all(arm.recipe in registry.recipes for arm in found.arms.values())
    assert all(registry.parse_spec(task).name in registry.tasks for task in found.tasks)
    assert {table.task for table in found.tables} <= set(found.tasks)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("seeds = 2", "seeds = 0"), "at least one seed"),
        (("seeds = 2", 'seeds = "two"'), "seeds is 'two'; right would be int"),
        (("seeds = 2", "sedes = 2"), "no entry 'sedes'; it knows name, title"),
        (('recipe = "micro-control"', ""), "arms.control lacks recipe"),
        (('candidate = "full"', 'candidate = "fool"'), "names the arm 'fool'; there is base, control, full"),
        (("[0.5, 1.0]", "[0.5, 2.0]"), "above 0 and at most at 1"),
        (("[0.5, 1.0]", "0.5"), "right would be a list"),
        (("[arms.full]", "[arms.base]"), "may not be called 'base'"),
        (('lvlm = "micro-llava"', ""), "need an lvlm"),
        (('name = "small"', "name ="), "is no TOML"),
    ],
)
def test_what_is_wrong_in_a_study_is_named(change: tuple[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("[", r"\[")):
        schema.parse(SMALL.replace(*change, 1), "study.toml")


def test_an_unknown_study_is_offered_those_there_are(cli: Any) -> None:
    said = cli("study", "plan", "papers")
    assert said.code == 2 and "there is negatives, paper" in said.err
    assert cli("study", "plan").code == 2


def test_new_writes_a_study_that_can_be_planned(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("study", "new", "mine.toml").code == 0
    assert schema.load("mine.toml", True).name == "mine"
    assert cli("study", "new", "mine.toml").code == 2, "nothing is written over"
    plan = cli("study", "plan", "mine.toml")
    assert plan.code == 0, plan.err
    assert plan.out.rstrip().endswith("ohd-bench study plan mine.toml --data micro --estimate")


# The list of jobs


def test_each_job_comes_after_those_it_needs(world: Path) -> None:
    study = schema.parse(SMALL.replace('how = "ridge"', 'how = "pretrain"'), "")
    found = planned(study, world)
    assert {type(job) for job in found} == {Train, Align, Ask}
    at = {job.address: i for i, job in reversed(list(enumerate(found)))}
    for i, job in enumerate(found):
        if isinstance(job, Ask):
            assert job.after is None or at[job.after.address] < i
        if not isinstance(job, Train) and job.encoder.startswith("clip:"):
            assert at[Path(job.encoder.removeprefix("clip:"))] < i


def test_more_seeds_and_more_arms_only_add_jobs(world: Path) -> None:
    study = schema.parse(SMALL, "")
    two, three = (addresses(planned(study, world, seeds)) for seeds in (2, 3))
    assert set(two) < set(three)
    more = schema.parse(SMALL + '\n[arms.more]\nrecipe = "micro-negclip"\n', "")
    assert set(two) < set(addresses(planned(more, world)))


def test_titles_change_no_address_and_settings_change_those_that_hang_on_them(world: Path) -> None:
    before = addresses(planned(schema.parse(SMALL, ""), world))
    told = SMALL.replace("A small study", "Another title").replace('says = "the negatives"', 'says = "they"')
    assert addresses(planned(schema.parse(told, ""), world)) == before
    other = planned(schema.parse(SMALL.replace("steps = 2, batch = 8", "steps = 3, batch = 8", 1), ""), world)
    changed = {job.says for job, old in zip(other, before, strict=True) if job.address != old}
    assert changed and all("control" in says for says in changed)


def test_an_arm_that_is_another_arm_is_trained_once(world: Path) -> None:
    twin = SMALL + "\n[arms.twin]" + SMALL.split("[arms.control]")[1].split("[arms.full]")[0]
    study = schema.parse(twin, "")
    assert len(jobs.left(planned(study, world))) == len(jobs.left(planned(schema.parse(SMALL, ""), world)))


def test_quick_is_another_study_of_the_same_arms(world: Path) -> None:
    study = schema.parse(SMALL + "\n[quick]\nlimit = 3\n[quick.set]\nsteps = 1\n", "")
    assert not set(addresses(planned(study, world))) & set(addresses(planned(study, world, quick=True)))


# From the command line


@pytest.fixture(scope="module")
def done(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study of one seed, killed in its middle and gone on with; its file and its folder."""
    folder = tmp_path_factory.mktemp("study")
    file = folder / "small.toml"
    file.write_text(SMALL)
    words = command(file, world, folder / "out", "--seeds", "1")
    began = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and len(trained(folder / "out")) < 2 and began.poll() is None:
        time.sleep(0.05)
    began.send_signal(signal.SIGKILL)
    began.wait()
    assert trained(folder / "out"), "it was killed before anything was trained"
    times = {path: path.stat().st_mtime_ns for path in trained(folder / "out")}
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    assert all(path.stat().st_mtime_ns == at for path, at in times.items()), "a training was repeated"
    return file, folder / "out"


def command(file: Path, world: Path, out: Path, *more: str) -> list[str]:
    code = "from harness import cli; cli.main()"
    return [sys.executable, "-c", code, "study", str(file), "--data", str(world), "--out", str(out), *more]


def trained(out: Path) -> list[Path]:
    return [path for path in out.glob("trainings/*/recipe.json") if "measured" in path.read_text()]


@pytest.mark.slow
def test_the_page_tells_what_is_shown_and_everything_lies_beside_it(done: tuple[Path, Path]) -> None:
    _, out = done
    page = (out / "small" / "index.html").read_text()
    assert "The negatives, against the control; the encoders alone" in page
    assert "about these weights, not about the method" in page, "one seed"
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    told = json.loads((out / "small" / "study.json").read_text())
    assert {one["rung"] for one in told["contrasts"]} == {"", "none", "ridge"}
    rows = list(csv.DictReader((out / "small" / "table-1-ohd-caps.csv").read_text().splitlines()))
    assert [row["arm"] for row in rows] == ["base: micro", "control", "full, 50 % of the data", "full"]
    assert float(rows[0]["average:top1_low"]) <= float(rows[0]["average:top1"])
    assert r"\begin{tabular}" in (out / "small" / "table-2-pope.tex").read_text()
    assert "Ours-B/32" in page, "a folder of data is taken as real: the paper's rows stand beside"
    for name in ("by-share-ohd-caps", "ladder"):
        assert (out / "small" / f"{name}.svg").stat().st_size and (out / "small" / f"{name}.pdf").stat().st_size
    assert os.environ.get("HOME", "") not in page or str(out) not in page


@pytest.mark.slow
def test_a_killed_study_goes_on_and_grows_by_seeds_without_repeating_a_training(
    done: tuple[Path, Path], world: Path, cli: Any
) -> None:
    file, out = done
    times = {path: path.stat().st_mtime_ns for path in [*trained(out), *out.glob("results/*/run.json")]}
    assert len(trained(out)) == 3
    words = ("study", str(file), "--data", str(world), "--out", str(out))
    grown = cli(*words, "--seeds", "2", "--workers", "2")
    assert grown.code == 0, grown.err
    assert len(trained(out)) == 6
    assert all(path.stat().st_mtime_ns == at for path, at in times.items())
    again = cli(*words, "--seeds", "2", "--json")
    assert again.code == 0 and again.json()["left"] == 0 and "1 of" not in again.err.replace("1 of them", "")
    plan = cli("study", "plan", str(file), "--data", str(world), "--out", str(out), "--seeds", "3", "--json").json()
    assert plan["left"]["train"] == 3 and plan["seconds"]["train"] > 0


def test_every_task_of_encoders_is_asked_of_each_and_its_table_is_called_as_it_is_asked(
    cli: Any, world: Path, tmp_path: Path
) -> None:
    ways = {"retrieval": "image-to-text:R@1", "ohd-caps?scorer=f-clipscore": "coco:top1"}
    tables = [f'[[tables]]\ntitle = "T"\ntask = "{way}"\ncolumns = ["{column}"]\n' for way, column in ways.items()]
    asked = ENCODER_ALONE.replace('["ohd-caps"]', json.dumps(list(ways)))
    (tmp_path / "study.toml").write_text(asked + "".join(tables))
    words = ["study", tmp_path / "study.toml", "--data", world, "--out", tmp_path / "out"]
    measured = cli("study", "plan", *words[1:], "--estimate", "--json").json()
    names = ("retrieval", "ohd-caps-scorer=f-clipscore")
    assert set(names) < set(measured["costs"][0]["expected"])
    assert cli(*words).code == 0
    kept = next((tmp_path / "out" / "results").glob("micro@*"))
    for n, (name, column) in enumerate(zip(names, ways.values(), strict=True), 1):
        rows = list(csv.DictReader((tmp_path / "out" / "alone" / f"table-{n}-{name}.csv").read_text().splitlines()))
        assert [row["arm"] for row in rows] == ["base: micro", "control"]
        records = map(json.loads, (kept / name / "records.jsonl").read_text().splitlines())
        counts = [one["counts"] for one in records if one["group"] == column.partition(":")[0]]
        right = sum(one["found1" if name == "retrieval" else "right"] for one in counts)
        assert float(rows[0][column]) == pytest.approx(100 * right / len(counts))


def test_images_outside_the_data_are_trained_on_and_asked_about_where_that_is_allowed(
    cli: Any, world: Path, tmp_path: Path
) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    shutil.copytree(world, data)
    for folder in [path for path in data.rglob("images") if path.is_dir()]:
        moved = elsewhere / folder.relative_to(data)
        moved.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, moved)
        folder.symlink_to(moved)
    file = tmp_path / "study.toml"
    file.write_text(ENCODER_ALONE)
    words = ["study", file, "--data", data, "--out", tmp_path / "out"]
    said = cli(*words)
    assert said.code == 3 and "--allow-outside" in said.err
    before = cli("study", "plan", *words[1:], "--json").json()["jobs"]
    assert cli(*words, "--allow-outside").code == 0
    after = cli("study", "plan", *words[1:], "--json").json()["jobs"]
    assert [job["address"] for job in after] == [job["address"] for job in before]
    assert all(job["done"] for job in after), "what was allowed changes no address"


def test_a_new_study_is_written_into_a_folder_that_is_made(cli, tmp_path):
    said = cli("study", "new", tmp_path / "of" / "mine.toml")
    assert said.code == 0 and (tmp_path / "of" / "mine.toml").is_file(), said.err
