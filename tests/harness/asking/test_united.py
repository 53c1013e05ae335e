"""``results merge``: what several people answered is put together, and where they disagree is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.asking import united
from harness.errors import UsageError
from harness.journal import Journal
from harness.records import Record
from harness.store import Run
from harness.types import Answer, Failure

MakeRun = Callable[..., Run]


def half(run: Run, to: Path, part: int) -> Run:
    """A copy of the run that holds every other answer."""
    other = Run(to / run.id)
    other.folder.mkdir(parents=True)
    manifest = run.manifest()
    records = run.records("pope")[part::2]
    with Journal(other.records_path("pope")) as journal:
        journal.append(records)
    entry = manifest["tasks"]["pope"] | {"scored": len(records), "expected": len(run.records("pope"))}
    other.update(**{**manifest, "status": "partial", "tasks": {"pope": entry}})
    return other


def test_halves_of_a_run_become_the_run(make_run: MakeRun, tmp_path: Path, cli) -> None:
    run = make_run("a@1", tasks=("pope",))
    for n in range(2):
        half(run, tmp_path / f"person{n}", n)
    said = cli("results", "merge", tmp_path / "person0", tmp_path / "person1", "--results", tmp_path / "all", "--json")
    assert (said.code, said.json()["agree"]) == (0, True)
    whole = Run(tmp_path / "all" / run.id)
    assert whole.records("pope") == run.records("pope")
    assert whole.manifest()["status"] == "complete"
    again = united.unite([tmp_path / "person0"], tmp_path / "all")
    assert [row["records"] for row in again.rows()] == [0], "what is there already does not come twice"


def test_a_sample_answered_in_two_ways_is_named_and_the_first_is_kept(make_run: MakeRun, tmp_path: Path, cli) -> None:
    run = make_run("a@1", tasks=("pope",))
    other = Run(tmp_path / "ben" / run.id)
    shutil.copytree(run.folder, other.folder)
    one, two, *_ = run.records("pope")
    with Journal(other.records_path("pope")) as journal:
        journal.append([Record(one.id, one.image, one.group, one.key, one.rules, Answer("Perhaps"), one.counts)])
        journal.append([Record(two.id, two.image, two.group, two.key, "", Failure("it broke"))])
    said = cli("results", "merge", tmp_path / "ben", "--results", run.folder.parent)
    assert said.code == 1
    assert f"answered otherwise, what was here first is kept: {one.id}" in " ".join(said.out.split())
    kept = {record.id: record for record in run.records("pope")}
    assert kept[one.id] == one and kept[two.id] == two, "nor does a failure stand over an answer"


def test_a_failure_gives_way_to_an_answer(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("a@1", tasks=("pope",))
    other = Run(tmp_path / "ben" / run.id)
    shutil.copytree(run.folder, other.folder)
    one = run.records("pope")[0]
    with Journal(run.records_path("pope")) as journal:
        journal.append([Record(one.id, one.image, one.group, one.key, "", Failure("it broke"))])
    assert united.unite([tmp_path / "ben"], run.folder.parent).agree
    assert one in run.records("pope")


def test_shards_that_nobody_has_read_back_come_with_their_run(cli, bench: Any, tmp_path: Path) -> None:
    """Two machines, each of which has asked a share."""
    assert cli(*bench.words(), "--results", tmp_path / "whole").code == 0
    for n in (1, 2):
        assert cli(*bench.words(), "--results", tmp_path / f"machine{n}", "--shard", f"{n}/2").code == 0
    folders = [tmp_path / f"machine{n}" for n in (1, 2)]
    said = cli("results", "merge", *folders, "--results", tmp_path / "all", "--json")
    assert (said.code, said.json()["agree"]) == (0, True)
    run, whole = (Run(next((tmp_path / name).glob("*@*"))) for name in ("all", "whole"))
    assert run.records("red") == whole.records("red")
    assert run.manifest()["status"] == "complete"
    assert run.manifest()["answers"] == whole.manifest()["answers"]
    show = ["show", "run", run.id, "--include", bench.plugin, "--json", "--results"]
    assert cli(*show, tmp_path / "all").json()["rows"] == cli(*show, tmp_path / "whole").json()["rows"]
    again = cli("results", "merge", *folders, "--results", tmp_path / "all", "--json")
    assert not any(row["records"] for row in again.json()["tasks"]), "and nothing of them comes twice"


@pytest.mark.parametrize("change", [{"data": "other"}, {"limit": 7}, {"lvlm": {"spec": "x", "digest": "another"}}])
def test_runs_of_one_name_that_are_not_one_run_are_refused(make_run: MakeRun, tmp_path: Path, change) -> None:
    run = make_run("a@1", tasks=("pope",))
    other = Run(tmp_path / "ben" / run.id)
    shutil.copytree(run.folder, other.folder)
    other.update(**change)
    before = run.records_path("pope").read_bytes()
    with pytest.raises(UsageError, match="are not one run"):
        united.unite([tmp_path / "ben"], run.folder.parent)
    assert run.records_path("pope").read_bytes() == before


def test_what_is_left_of_a_run_that_has_lost_answers_comes_and_is_counted(
    make_run: MakeRun, tmp_path: Path, cli
) -> None:
    run = make_run("a@1", tasks=("pope",))
    every = run.records("pope")
    with run.adding("pope"):
        run.update(tasks={"pope": run.manifest()["tasks"]["pope"] | {"scored": len(every)}})
    lost = Run(tmp_path / "ben" / run.id)
    shutil.copytree(run.folder, lost.folder)
    lost.records_path("pope").write_text("".join(record.line() for record in every[5:]))
    assert cli("show", "run", run.id, "--results", tmp_path / "ben").code == 3
    assert cli("results", "merge", tmp_path / "ben", "--results", tmp_path / "all").code == 0
    here = Run(tmp_path / "all" / run.id)
    assert here.records("pope") == sorted(every[5:], key=lambda record: (len(record.id), record.id))
    assert (here.manifest()["status"], here.manifest()["tasks"]["pope"]["scored"]) == ("partial", len(every) - 5)
    assert cli("results", "merge", run.folder.parent, "--results", tmp_path / "all").code == 0
    assert here.records("pope") == every and here.manifest()["status"] == "complete"


def test_a_run_alone_is_refused_with_the_folder_that_holds_it(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("a@1", tasks=("pope",))
    with pytest.raises(UsageError, match=f"but one of them: name {run.folder.parent}"):
        united.unite([run.folder], tmp_path / "all")


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder of runs"):
        united.unite([tmp_path], tmp_path / "all")
