"""``ohd-bench compare`` through its front door, on runs whose difference is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness import registry
from harness.cli import build
from harness.comparison import answer_sets, compare
from harness.errors import GateError, UsageError
from harness.store import Run

MakeRun = Callable[..., Run]
KEPT = Path(__file__).parents[3] / "results"


@pytest.fixture
def app() -> typer.Typer:
    return build()


def run(app: typer.Typer, *words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def compared(app: typer.Typer, *words: object) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(run(app, "compare", *words, "--json"))
    return found[0]


def line(found: dict[str, Any], task: str, group: str, metric: str) -> dict[str, Any]:
    return next(one for one in found["lines"] if (one["task"], one["group"], one["metric"]) == (task, group, metric))


def test_a_model_that_only_says_no_more_often_is_flagged(app: typer.Typer, make_run: MakeRun) -> None:
    base, other = make_run("base@1", sight=1.2, lean=-0.5), make_run("shy@1", sight=1.2, lean=0.4)
    found = compared(app, "base", "shy", "--results", base.folder.parent)
    accuracy = line(found, "amber", "discriminative", "accuracy")
    assert accuracy["gap"]["low"] > 0
    reading = found["tasks"]["amber"]["readings"]["discriminative"]
    assert reading["flagged"]
    assert reading["by_bias"] > 5 > abs(reading["by_sight"]) * 2
    assert line(found, "amber", "", "AUROC")["gap"]["p"] > 0.05
    assert other.id in {run.name for run in base.folder.parent.iterdir()}


def test_a_model_that_sees_better_is_not_flagged(app: typer.Typer, make_run: MakeRun) -> None:
    base, _ = make_run("base@1", sight=1.0), make_run("keen@1", sight=2.2, invent=0.05)
    found = compared(app, "base", "keen", "--results", base.folder.parent)
    for task, group in (("amber", "discriminative"), ("pope", "pooled")):
        assert found["tasks"][task]["readings"][group]["kind"] in ("sight", "both")
    assert line(found, "pope", "", "balanced_accuracy")["adjusted"] < 0.05
    assert line(found, "amber", "generative", "Hal")["gap"]["high"] < 0
    assert found["joint"]["low"] > 0


def test_a_run_compared_with_its_like_shows_nothing(app: typer.Typer, make_run: MakeRun) -> None:
    base, _ = make_run("base@1"), make_run("twin@1")
    found = compared(app, "base", "twin", "--results", base.folder.parent)
    assert all(one["gap"]["value"] == 0 and one["gap"]["p"] == 1 for one in found["lines"])
    assert found["tasks"]["pope"]["flips"]["pooled"]["fixed"] == 0


def test_the_table_says_what_it_is(app: typer.Typer, make_run: MakeRun) -> None:
    base, _ = make_run("base@1", lean=-0.5), make_run("shy@1", lean=0.4)
    printed = run(app, "compare", "base@1", "shy@1", "--results", base.folder.parent, "-t", "pope")
    for words in ("p (Holm)", "detectable", "exact McNemar", "RESPONSE BIAS", "balanced_accuracy"):
        assert words in printed


def test_floors_stand_beside_what_was_compared(app: typer.Typer, make_run: MakeRun) -> None:
    base, _ = make_run("base@1", tasks=("pope",)), make_run("twin@1", tasks=("pope",))
    found = compared(app, "base", "twin", "--results", base.folder.parent)
    assert found["tasks"]["pope"]["floors"]["always-yes"][""]["recall_yes"] == 100
    printed = run(app, "compare", "base", "twin", "--results", base.folder.parent)
    assert "floor always-no: accuracy 50.0" in printed


def test_fail_if_worse_fails_only_where_it_is_worse(app: typer.Typer, make_run: MakeRun) -> None:
    base, _ = make_run("base@1", sight=2.2), make_run("blind@1", sight=0.8)
    words = ["compare", "base", "blind", "--results", base.folder.parent, "--fail-if-worse"]
    with pytest.raises(GateError, match="pope balanced_accuracy"):
        run(app, *words, "pope:balanced_accuracy")
    assert GateError.code == 5
    run(app, "compare", "blind", "base", *words[3:], "pope:balanced_accuracy")
    with pytest.raises(UsageError, match="no such metric"):
        run(app, *words, "beauty")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"describe": {"decoding": "sampling"}}, "decoding is 'greedy' and 'sampling'"),
        ({"describe": {"template": "chat"}}, "template is 'plain' and 'chat'"),
    ],
)
def test_what_does_not_compare_is_refused_by_name(
    app: typer.Typer, make_run: MakeRun, change: dict[str, Any], named: str
) -> None:
    base, _ = make_run("base@1"), make_run("other@1", **change)
    with pytest.raises(UsageError, match=named):
        run(app, "compare", "base", "other", "--results", base.folder.parent)


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"rules": {"rules": "strict"}}, "counted by rules"),
        ({"samples_digest": "other"}, "questions or prompts differ"),
    ],
)
def test_other_questions_or_rules_are_refused(
    app: typer.Typer, make_run: MakeRun, entry: dict[str, Any], named: str
) -> None:
    base, other = make_run("base@1", tasks=("pope",)), make_run("other@1", tasks=("pope",))
    tasks = other.manifest()["tasks"]
    other.update(tasks={"pope": tasks["pope"] | entry})
    with pytest.raises(UsageError, match=named):
        run(app, "compare", "base", "other", "--results", base.folder.parent)


def test_an_encoder_with_two_runs_has_to_be_told_by_run(app: typer.Typer, make_run: MakeRun) -> None:
    base, _ = make_run("base@1"), make_run("base@2")
    with pytest.raises(UsageError, match=r"base@1, base@2"):
        run(app, "compare", "base", "base@2", "--results", base.folder.parent)


def test_one_run_alone_is_not_a_comparison(app: typer.Typer, make_run: MakeRun) -> None:
    base = make_run("base@1", tasks=("pope",))
    with pytest.raises(UsageError, match="a base and at least one more"):
        run(app, "compare", "base", "--results", base.folder.parent)


def test_samples_that_only_one_side_answered_are_left_out(make_run: MakeRun) -> None:
    base, other = make_run("base@1", tasks=("pope",)), make_run("other@1", tasks=("pope",))
    path = other.records_path("pope")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-30]))
    every, tasks = answer_sets.open_answer_sets(["base", "other"], base.folder.parent, "", None)
    found = compare.compare(every[0], every[1], tasks).tasks[0]
    assert (found.samples, found.unpaired) == (len(base.records("pope")) - 30, 30)
    assert found.lines[0].base.n == found.lines[0].candidate.n == found.samples


def test_coco_s_names_for_one_picture_are_one_cluster() -> None:
    assert answer_sets.cluster("COCO_val2014_000000310196.jpg") == answer_sets.cluster("000000310196.jpg")


def test_published_arithmetic_is_printed(app: typer.Typer) -> None:
    printed = run(app, "compare", "--published")
    for words in ("65.6 → 84.4", "91.6 → 71.8", "78.6 → 78.1"):
        assert words in printed


def test_files_of_answers_are_compared_like_runs(
    app: typer.Typer, make_run: MakeRun, world: Path, tmp_path: Path
) -> None:
    made = [make_run("base@1", sight=1.0, tasks=("amber",)), make_run("keen@1", sight=2.4, tasks=("amber",))]
    files = []
    for one in made:
        rows = [{"id": int(record.id), "response": record.reply.text} for record in one.records("amber")]  # type: ignore[union-attr]
        files.append(tmp_path / f"{one.id}.json")
        files[-1].write_text(json.dumps(rows))
    found = compared(app, *files, "-t", "amber", "--data", world)
    kept = compared(app, "base", "keen", "--results", made[0].folder.parent)
    for metric in ("accuracy", "balanced_accuracy"):
        of_file, of_run = (line(one, "amber", "discriminative", metric)["gap"]["value"] for one in (found, kept))
        assert of_file == pytest.approx(of_run)
    with pytest.raises(UsageError, match="--task"):
        run(app, "compare", *files)


@pytest.mark.usefixtures("nltk_data")
def test_real_answers_of_two_lvlms(app: typer.Typer, shared: Path, tmp_path: Path) -> None:
    data = shared / "data"
    short = []
    for name in ("llava15-7b", "instructblip-7b"):
        rows = json.loads((data / "amber" / "responses" / f"{name}_baseline_greedy_8bit.json").read_text())
        short.append(tmp_path / f"{name}.json")  # the questions alone: captions need a minute of tagging
        short[-1].write_text(json.dumps([row for row in rows if row["id"] > 1004]))
    found = compared(app, *short, "-t", "amber", "--data", data)
    gap = {
        name: line(found, "amber", "discriminative", name)["gap"]["value"] for name in ("accuracy", "balanced_accuracy")
    }
    assert gap["accuracy"] == pytest.approx(4.6, abs=0.1)
    assert gap["balanced_accuracy"] == pytest.approx(-1.86, abs=0.02)
    assert found["tasks"]["amber"]["readings"]["discriminative"]["kind"] == "bias"
    assert found["tasks"]["amber"]["unpaired"] == 1391


def test_the_joint_change_is_the_mean_of_the_headlines_that_are_shown(app: typer.Typer) -> None:
    """On the kept runs, whose retrieval is summed up by one of its two directions."""
    found = compared(app, "micro+micro-llava@micro-f555f835", "micro-ohd+micro-llava@micro-5e835ecd", "--results", KEPT)
    registry.load()
    stands_for = {(name, *compare.headline(registry.tasks[name])) for name in found["tasks"]}
    headlines = [one for one in found["lines"] if (one["task"], one["group"], one["metric"]) in stands_for]
    headlines = [one for one in headlines if one["better"] != "neither"]
    assert len(headlines) > 5 and any(one["group"] for one in headlines)
    better = [(-1 if one["better"] == "lower" else 1) * one["gap"]["value"] for one in headlines]
    assert found["joint"]["value"] == pytest.approx(sum(better) / len(better), abs=1e-9)


def test_a_control_that_showed_other_images_is_paired_in_the_joint_change_as_well(make_run: MakeRun) -> None:
    folder = make_run("base@1").folder.parent
    (base,), tasks = answer_sets.open_answer_sets(["base"], folder, "", None)
    others = {}
    for task in tasks:
        records = base.records[task.name]
        images = [record.image for record in records]
        others[task.name] = [replace(r, image=image) for r, image in zip(records, images[::-1], strict=True)]
    found = compare.compare(base, answer_sets.AnswerSet("control", others, base.manifest), tasks)
    assert found.joint is not None and (found.joint.value, found.joint.se) == (0, 0), (
        "each question's answer is the same"
    )


@pytest.mark.parametrize("command", ["effects", "attribute"])
def test_what_reads_effects_of_models_takes_no_control_for_one(cli: Any, command: str) -> None:
    shuffled = "micro-ohd+micro-llava@micro-shuffle-image-df89422f"
    said = cli(command, "micro+micro-llava@micro-f555f835", shuffled, "--results", KEPT)
    assert said.code == 2 and "under" in said.err and "shuffle-image" in said.err
