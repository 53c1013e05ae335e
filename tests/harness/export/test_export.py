"""Exports: what is written, and that inspect_ai's and lm-eval's own readers open it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness import registry
from harness.cli import export as command
from harness.data import micro
from harness.errors import UsageError
from harness.export import flat, inspect
from harness.export.rows import of_run
from harness.journal import Journal
from harness.records import Record
from harness.store import Run
from harness.tallies import tally
from harness.types import Answer, Failure

MakeRun = Callable[..., Run]
TASKS = ("amber", "pope", "ohd-caps")


def export(run: Run, world: Path, out: Path, *words: str) -> list[Path]:
    app = typer.Typer(pretty_exceptions_enable=False)
    command.register(app)
    result = CliRunner().invoke(
        app, [run.id, "--results", str(run.folder.parent), "--data", str(world), "-o", str(out), *words]
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return [Path(line) for line in result.output.splitlines()]


def reader(package: str) -> str:
    """A Python that has this package: this one, or the one that OHD_BENCH_EXPORT_PYTHON names; skip without."""
    if importlib.util.find_spec(package):
        return sys.executable
    other = os.environ.get("OHD_BENCH_EXPORT_PYTHON", "")
    if other and subprocess.run([other, "-c", f"import {package}"], capture_output=True).returncode == 0:
        return other
    pytest.skip(f"{package} is not installed: pip install {package}, or set OHD_BENCH_EXPORT_PYTHON")


def told(python: str, script: str, *words: Path) -> Any:
    done = subprocess.run([python, "-c", script, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def log_of(run: Run, world: Path, task: str, pictures: inspect.Pictures | None = None) -> dict[str, Any]:
    (one,) = [one for one in of_run(run, world) if one.task.name == task]
    return inspect.log(run, one, pictures or inspect.Pictures())


def test_an_inspect_log_holds_every_question_answer_and_verdict(make_run: MakeRun, world: Path) -> None:
    run = make_run("a@1", tasks=("pope",))
    log = log_of(run, world, "pope")
    assert len(log["samples"]) == len(run.records("pope"))
    sample, record = log["samples"][0], run.records("pope")[0]
    assert sample["scores"]["pope"]["value"] == ("C" if record.counts["right"] else "I")
    assert "Is there" in sample["input"][0]["content"][1]["text"]
    accuracy = log["results"]["scores"][0]["metrics"]["accuracy"]["value"]
    assert accuracy == pytest.approx(
        100 * sum(r.counts["right"] for r in run.records("pope")) / len(run.records("pope"))
    )


def test_a_failed_sample_is_an_error_and_no_answer(make_run: MakeRun, world: Path, tmp_path: Path) -> None:
    run = make_run("a@1", tasks=("pope",))
    one = run.records("pope")[0]
    with Journal(run.records_path("pope")) as journal:
        journal.append([Record(one.id, one.image, one.group, "", "", Failure("it <broke>"))])
    log = log_of(run, world, "pope")
    broken = [sample for sample in log["samples"] if sample.get("error")]
    assert [sample["error"]["message"] for sample in broken] == ["(failed: it <broke>)"]
    assert log["results"]["completed_samples"] == log["results"]["total_samples"] - 1
    lines = export(run, world, tmp_path / "l", "--to", "lm-eval")[1].read_text().splitlines()
    assert len(lines) == len(log["samples"]) - 1


def test_an_unknown_format_is_refused(make_run: MakeRun, world: Path, tmp_path: Path) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    command.register(app)
    run = make_run("a@1", tasks=("pope",))
    done = CliRunner().invoke(app, [run.id, "--results", str(run.folder.parent), "--to", "helm"])
    assert done.exit_code == 2
    assert "'inspect', 'inspect-json', 'lm-eval', 'csv', 'parquet'" in " ".join(done.output.replace("│", " ").split())


@pytest.mark.skipif(importlib.util.find_spec("inspect_ai") is not None, reason="inspect_ai is installed")
def test_without_inspect_ai_it_is_said_what_to_install(make_run: MakeRun, world: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pip install 'ohd-bench\[inspect\]', or --to lm-eval"):
        export(make_run("a@1", tasks=("pope",)), world, tmp_path)


def test_a_picture_stands_once_in_a_log_and_only_where_it_is_asked_for(make_run: MakeRun, world: Path) -> None:
    run = make_run("a@1", tasks=("pope",))
    asked = run.records("pope")[0].id
    samples = log_of(run, world, "pope", inspect.Pictures(frozenset([asked]), world))["samples"]
    for sample in samples:
        (picture,) = sample["attachments"].values() or [""]
        assert picture.startswith("data:image/") == (sample["id"] == asked)
        assert json.dumps(sample).count("base64,") == (sample["id"] == asked)


def test_numbered_samples_are_numbers_so_that_the_viewer_counts_them_up(make_run: MakeRun, world: Path) -> None:
    run = make_run("a@1", tasks=("amber", "pope"))
    ids = log_of(run, world, "amber")["eval"]["dataset"]["sample_ids"]
    assert ids == sorted(int(record.id) for record in run.records("amber"))
    assert isinstance(log_of(run, world, "pope")["samples"][0]["id"], str)


def test_a_task_took_its_own_time_and_not_that_of_the_whole_run(make_run: MakeRun, world: Path) -> None:
    run = make_run("a@1", tasks=("pope",))
    entry = run.manifest()["tasks"]["pope"] | {"seconds": 90.5}
    run.update(created="2026-11-01T10:00:00+00:00", finished="2026-11-02T10:00:00+00:00", tasks={"pope": entry})
    assert log_of(run, world, "pope")["stats"]["completed_at"] == "2026-11-01T10:01:30.500000+00:00"


def test_a_picture_of_no_sample_of_the_run_is_refused(make_run: MakeRun, world: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no sample 'nobody', whose picture was asked for"):
        export(make_run("a@1", tasks=("pope",)), world, tmp_path, "--image-of", "nobody")


@pytest.mark.parametrize("to", ["inspect", "inspect-json"])
def test_inspect_ai_reads_its_logs(make_run: MakeRun, world: Path, tmp_path: Path, to: str) -> None:
    python = reader("inspect_ai")
    runs = [make_run("a@1"), make_run("b@1", sight=2.0)]
    asked = runs[0].records("pope")[0].id
    words = [*(run.id for run in runs), "--results", runs[0].folder.parent, "--data", world, "-o", tmp_path / "logs"]
    written = subprocess.run(
        [python, "-m", "ohd_bench", "export", *map(str, words), "--to", to, "--image-of", asked],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert written.returncode == 0, written.stderr
    script = """
import json, sys
from inspect_ai.analysis import evals_df, samples_df
from inspect_ai.log import list_eval_logs, read_eval_log
names = list_eval_logs(sys.argv[1])
heads = [read_eval_log(name, header_only=True) for name in names]
logs = [read_eval_log(name, resolve_attachments=True) for name in names]
evals, samples = evals_df(sys.argv[1], quiet=True), samples_df(sys.argv[1], quiet=True)
print(json.dumps({
    "tasks": sorted([log.eval.task, log.status, len(log.samples)] for log in logs),
    "ids": [head.eval.task_id for head in heads],
    "plan": sorted({head.plan.steps[0].solver for head in heads}),
    "pictures": sum(s.input[0].content[0].image.startswith("data:") for log in logs for s in log.samples),
    "headline": {row.task_name: row.score_headline_metric for row in evals.itertuples()},
    "values": {row.log + "": row.score_headline_value for row in evals.itertuples()},
    "first": {head.eval.task: next(iter(head.results.scores[0].metrics)) for head in heads},
    "rows": len(samples), "verdicts": sorted(set(samples["score_pope"].dropna())),
}))
"""
    found = told(python, script, tmp_path / "logs")
    assert found["tasks"] == sorted([t, "success", len(run.records(t))] for run in runs for t in TASKS)
    assert len(set(found["ids"])) == 6
    assert found["headline"] == found["first"] == {"amber": "AMBER", "pope": "f1", "ohd-caps": "top1"}
    assert found["rows"] == sum(len(run.records(t)) for run in runs for t in TASKS)
    assert found["pictures"] == 2
    assert found["verdicts"] == ["C", "I"]


def test_lm_eval_reads_its_files(make_run: MakeRun, world: Path, tmp_path: Path) -> None:
    python = reader("lm_eval")
    run = make_run("a@1")
    export(run, world, tmp_path, "--to", "lm-eval")
    script = """
import glob, json, sys
from lm_eval.utils import get_file_task_name, get_results_filenames, get_sample_results_filenames
from lm_eval.utils import hash_string, make_table
files = glob.glob(sys.argv[1] + "/*/*")
results = json.load(open(get_results_filenames(files)[0]))
tasks = {}
for name in get_sample_results_filenames(files):
    rows = [json.loads(line) for line in open(name)]
    same = all(r["prompt_hash"] == hash_string(r["doc"]["question"]) for r in rows)
    same = same and all(r["doc_hash"] == hash_string(json.dumps(r["doc"], indent=2, ensure_ascii=False)) for r in rows)
    tasks[get_file_task_name(name.split("/")[-1])] = [len(rows), same]
print(json.dumps({"tasks": tasks, "table": make_table(results)}))
"""
    found = told(python, script, tmp_path)
    assert found["tasks"] == {name: [len(run.records(name)), True] for name in ("amber", "pope", "ohd-caps")}
    assert "balanced_accuracy" in found["table"]


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_flat_tables_hold_every_sample_and_every_metric(
    make_run: MakeRun, world: Path, tmp_path: Path, to: str
) -> None:
    import pandas as pd

    run = make_run("a@1", wrong_texts={"1": '=HYPERLINK("x")'})
    samples, metrics = (
        pd.read_csv(path) if to == "csv" else pd.read_parquet(path) for path in export(run, world, tmp_path, "--to", to)
    )
    assert list(samples.columns[: len(flat.SAMPLES)]) == list(flat.SAMPLES)
    assert list(metrics.columns) == list(flat.METRICS)
    for task in TASKS:
        ours, records = samples[samples["task"] == task], run.records(task)
        assert [str(id) for id in ours["id"]] == [record.id for record in records]
        counted = records[0].counts
        assert ours.iloc[0][[f"count.{name}" for name in counted]].tolist() == list(counted.values())
    assert all(samples.loc[samples["task"] == "pope", "question"].str.startswith("Is there"))
    every = {(one.task.name, group or one.task.whole, name): e.value
             for one in of_run(run, world) for group, values in one.scores.items() for name, e in values.items()
             if e.value == e.value}  # fmt: skip
    found = {(row.task, row.group, row.metric): row.value for row in metrics.itertuples()}
    assert found == pytest.approx(every)
    said = samples.loc[(samples["task"] == "amber") & (samples["id"].astype(str) == "1"), "answer"].item()
    assert said == ("'" if to == "csv" else "") + '=HYPERLINK("x")'


@pytest.mark.parametrize("to", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["hallusion", "mme", "winoground"])
def test_what_is_right_as_a_whole_takes_columns_by_kind_and_can_be_counted_from_them(
    cli: Any, name: str, to: str, tmp_path: Path
) -> None:
    import pandas as pd

    models = ("--encoder", "micro") if name == "winoground" else ("--lvlm", "parrot")
    columns = []
    for limit in (6, 0):
        results, out = tmp_path / f"results-{limit}", tmp_path / f"out-{limit}"
        assert cli("run", *models, "--task", name, "--limit", limit, "--results", results).code == 0
        run = next(results.iterdir()).name
        written = cli("export", run, "--results", results, "--to", to, "-o", out, "--data", "micro").out.split()
        table = (pd.read_csv if to == "csv" else pd.read_parquet)(written[0])
        columns.append(set(table.columns))
    assert columns[0] <= columns[1] and len(columns[1]) < 80
    whole = tally(Run(results / run).records(name))[""].totals()
    kinds = {column.removeprefix("unit.") for column in table.columns if column.startswith("unit.")}
    assert kinds
    for kind in kinds:
        conditions = [column for column in table.columns if column.startswith(f"count.{kind}.")]
        sums = table.groupby(f"unit.{kind}")[conditions].sum(min_count=1)
        right = (sums.isna() | (sums > 0)).all(axis=1).sum()
        assert (len(sums), right) == (whole[f"n_{kind}"], whole[f"right_{kind}"])


def test_the_page_of_outputs_names_every_column() -> None:
    page = (Path(__file__).parents[3] / "docs" / "outputs.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in (*flat.SAMPLES, *flat.METRICS))


def test_what_is_retrieved_is_told_by_the_place_where_it_was_found(tmp_path: Path) -> None:
    root = micro()
    run = Run(tmp_path / "r")
    task = registry.tasks["retrieval"](root)
    picture, caption = list(task.samples())[:2]
    records = [
        Record(one.id, "", one.group, "k", "r", Answer(scores=places), task.count(one, Answer(scores=places)))
        for one, places in ((picture, (4.0, 2.0)), (caption, (1.0,)))
    ]
    with Journal(run.records_path("retrieval")) as journal:
        journal.append(records)
    run.update(tasks={"retrieval": {"spec": "retrieval"}}, status="complete")
    (rows,) = of_run(run, root)
    assert [row.said for row in rows.rows] == ["found at place 2", "found at place 1"]
    assert rows.rows[0].target.splitlines() == list(picture.texts)
    assert picture.image and rows.rows[1].target == picture.image.name


@pytest.mark.parametrize("name", ["ohd-caps", "zero-shot", "retrieval"])
@pytest.mark.parametrize("to", ["csv", "lm-eval"])
def test_runs_of_every_kind_of_task_are_exported(name: str, to: str, tmp_path: Path) -> None:
    results = Path(__file__).parents[3] / "results"
    run = min(one for one in results.glob("micro+micro-llava@*") if (one / name).is_dir())
    kept = Run(tmp_path / run.name)
    kept.update(**{**Run(run).manifest(), "status": "running"})
    (kept.folder / name).mkdir()
    lines = (run / name / "records.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (kept.folder / name / "records.jsonl").write_text("".join(lines[:20]), encoding="utf-8")
    kept.update(tasks={name: kept.manifest()["tasks"][name]})
    (*_, path) = export(kept, micro(), tmp_path, "--to", to)
    text = path.read_text(encoding="utf-8")
    assert name in text if to == "csv" else all(json.loads(line)["target"] for line in text.splitlines())
