"""The run command, through the front door, on a benchmark of six squares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_a_run_answers_everything_and_prints_the_value_with_its_interval(cli, bench):
    said = cli(*bench.words(), "--json")
    assert said.code == 0
    row = next(row for row in said.json()["rows"] if row["group"] == "all")
    assert row["values"][0]["value"] == 100.0
    assert row["values"][0]["n"] == 18
    assert row["values"][0]["images"] == 6


def test_the_same_question_about_the_same_image_is_asked_once_and_counted_each_time(cli, bench):
    cli(*bench.words())
    assert len(bench.asked()) == 12
    assert len(bench.records().read_text().splitlines()) == 18


def test_a_second_run_asks_nothing(cli, bench):
    first = cli(*bench.words(), "--json").json()["rows"]
    bench.asked()
    second = cli(*bench.words(), "--json").json()["rows"]
    assert bench.asked() == []
    assert first == second


def test_an_interrupted_run_ends_with_130_and_goes_on_where_it_stopped(cli, bench):
    said = cli(*bench.words(stop="red2"))
    assert said.code == 130
    assert "goes on from there" in said.err
    before = bench.asked()
    manifest = json.loads(next(bench.results.glob("*/run.json")).read_text())
    assert manifest["status"] == "interrupted"
    kept = len(bench.records().read_text().splitlines())
    assert 0 < kept < 18
    assert len(before) > 1


@pytest.mark.parametrize("bite", [1, 7, 100, 101, 260])
def test_a_torn_last_line_is_asked_again_and_the_metrics_are_those_of_a_whole_run(cli, bench, bite):
    whole = cli(*bench.words(), "--json").json()["rows"]
    bench.asked()
    data = bench.records().read_bytes()
    bench.records().write_bytes(data[:-bite])
    assert cli(*bench.words(), "--json").json()["rows"] == whole
    assert len(bench.asked()) >= 1


def test_a_failed_sample_is_kept_as_failed_and_makes_the_run_partial_until_it_is_answered(cli, bench):
    said = cli(*bench.words(fail="blue1"))
    assert said.code == 1
    assert "3 of 18 failed: the server said 500" in said.err
    failed = [row for row in map(json.loads, bench.records().read_text().splitlines()) if "failed" in row]
    assert len(failed) == 3
    assert all("counts" not in row for row in failed)
    bench.asked()
    assert cli(*bench.words()).code == 0
    assert set(bench.asked()) == {"blue1-0", "blue1-1"}


def test_a_corrupt_image_fails_its_own_samples_only(cli, bench):
    (bench.data / "squares" / "blue1.png").write_bytes(b"not a picture")
    said = cli(*bench.words(), "--json")
    assert said.code == 1
    row = next(row for row in said.json()["rows"] if row["group"] == "all")
    assert row["values"][0]["n"] == 15
    assert "cannot be read as an image" in said.err


@pytest.mark.parametrize(("what", "again"), [({"weights": "other"}, 12), ({"decoding": "beam"}, 12), ({}, 0)])
def test_other_weights_or_decoding_are_another_run(cli, bench, what, again):
    cli(*bench.words())
    bench.asked()
    cli(*bench.words(**what))
    assert len(bench.asked()) == again
    assert len(list(bench.results.glob("*/run.json"))) == (2 if again else 1)


def test_one_changed_image_byte_asks_that_image_again(cli, bench):
    from PIL import Image

    cli(*bench.words())
    bench.asked()
    Image.new("RGB", (8, 8), (250, 0, 0)).save(bench.data / "squares" / "red0.png")
    cli(*bench.words())
    assert set(bench.asked()) == {"red0-0", "red0-1"}


def test_changed_counting_rules_count_the_kept_answers_anew_without_asking(cli, bench):
    cli(*bench.words())
    bench.asked()
    plugin = bench.plugin / "squares_plugin.py"
    changed = plugin.read_text().replace('headline = "accuracy"', 'headline, version = "accuracy", "2"')
    plugin.write_text(changed.replace("answer.text == sample.target", "answer.text != sample.target"))
    rows = cli(*bench.words(), "--json").json()["rows"]
    assert bench.asked() == []
    assert rows[0]["values"][0]["value"] == 0.0


def test_scores_that_are_not_finite_end_with_6_and_are_not_kept(cli, bench):
    said = cli(*bench.words(nan="1"))
    assert said.code == 6
    assert "not finite" in said.err
    assert bench.records().read_text() == ""


def test_limit_draws_images_by_seed_and_keeps_every_question_of_an_image(cli, bench):
    cli(*bench.words(), "--limit", 2)
    first = bench.asked()
    assert len(first) == 4
    cli(*bench.words(), "--limit", 2, "--seed", 5)
    assert len({name.split("-")[0] for name in first}) == 2
    assert bench.asked() != first


def test_controls_are_runs_of_their_own(cli, bench):
    cli(*bench.words(), "--control", "text-only")
    said = cli(*bench.words(), "--control", "shuffle-image", "--json")
    assert said.code == 0
    names = {path.parent.name for path in bench.results.glob("*/run.json")}
    assert len(names) == 2
    assert any("text-only" in name for name in names)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["-t", "rad"], 2, "no task is called 'rad'; did you mean red?"),
        (["-t", "red?colour=1"], 2, "red has no option 'colour'"),
        (["--data", "nowhere"], 3, "nowhere is not a folder"),
        (["--lvlm", "eie"], 2, "no LVLM is called 'eie'; did you mean eye?"),
        (["--encoder", "hashin"], 2, "did you mean hashing?"),
        (["--encoder", "my/tower"], 2, "a path follows such a name, as in NAME:my/tower"),
        (["--control", "blind"], 2, "no control is called 'blind'"),
        (["-t", "colour"], 2, "colour needs an --encoder"),
        (["--results", "/dev/null/x"], 2, "cannot write to"),
    ],
)
def test_bad_words_get_one_line_and_the_documented_code(cli, bench, change, code, message):
    said = cli(*bench.words(), *change)
    assert said.code == code
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""


def test_missing_images_are_counted_and_their_place_is_named(cli, bench):
    (bench.data / "squares" / "red0.png").rename(bench.data / "squares" / "red0.png.gone")
    (bench.plugin / "squares_plugin.py").write_text(
        (bench.plugin / "squares_plugin.py")
        .read_text()
        .replace('glob("*.png")', 'glob("*.png*")')
        .replace("yield Sample(f", "path = path.with_suffix('') if path.suffix == '.gone' else path; yield Sample(f")
    )
    said = cli(*bench.words())
    assert said.code == 3
    assert "1 of 6 images are missing" in said.err
    assert str(bench.data / "squares") in said.err


def test_a_run_records_what_made_it(cli, bench):
    cli(*bench.words())
    manifest = json.loads(next(bench.results.glob("*/run.json")).read_text())
    assert manifest["status"] == "complete"
    assert manifest["lvlm"]["digests"] == {"tower": "eye"}
    assert manifest["versions"]["torch"]
    assert manifest["tasks"]["red"]["floors"]["always yes"][""]["accuracy"] == 50.0
    said = json.dumps(manifest).replace(str(bench.root), "")  # the spec of the command names its folder
    assert str(Path.home()) not in said


def test_two_processes_cannot_write_one_run(cli, bench):
    from harness.store import Run

    cli(*bench.words())
    with Run(bench.records().parents[1]).writing():
        said = cli(*bench.words())
    assert said.code == 2
    assert "another process is writing" in said.err


def test_options_come_from_the_environment_too(cli, bench, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_LIMIT", "2")
    cli(*bench.words())
    assert len(bench.asked()) == 4


def test_a_middle_line_that_is_no_record_is_named(cli, bench):
    cli(*bench.words())
    lines = bench.records().read_text().splitlines(keepends=True)
    bench.records().write_text("".join([lines[0], "{broken\n", *lines[2:]]))
    said = cli(*bench.words())
    assert said.code == 3
    assert "line 2 is not a record" in said.err


def test_a_task_that_is_named_twice_is_asked_and_shown_once(cli, bench):
    once, twice = (cli(*bench.words(), *more, "--json").json()["rows"] for more in ((), ("-t", "red", "-t", "red?")))
    assert twice == once


def test_show_run_prints_what_run_printed(cli, bench):
    cli(*bench.words())
    said = cli("show", "run", "eye", "--results", bench.results, "--include", bench.plugin, "--json")
    assert said.code == 0
    assert said.json()["rows"][0]["values"][0]["value"] == 100.0


def test_show_sample_prints_the_question(cli, bench):
    said = cli("show", "sample", "red", "blue1-1", "--data", bench.data, "--include", bench.plugin)
    assert said.json()["prompt"] == "Is it blue?"
    assert cli("show", "sample", "red", "none", "--data", bench.data, "--include", bench.plugin).code == 2


def test_a_question_that_left_the_data_no_longer_counts(cli, bench):
    cli(*bench.words())
    (bench.data / "squares" / "red0.png").unlink()
    said = cli(*bench.words(), "--json")
    assert said.code == 0
    assert said.json()["rows"][0]["values"][0]["n"] == 15


def test_a_task_with_options_keeps_its_answers_apart(cli, tmp_path):
    data = tmp_path / "data" / "pope"
    data.mkdir(parents=True)
    for source in ("coco", "flickr"):
        row = {"question_id": 1, "image": f"{source}.png", "text": "Is there a dog?", "label": "no"}
        (data / f"{source}_pope_random.json").write_text(json.dumps(row))
        (data / "images").mkdir(exist_ok=True)
        from PIL import Image

        Image.new("RGB", (4, 4)).save(data / "images" / f"{source}.png")
    words = ["run", "-l", "parrot", "--data", data.parent, "--results", tmp_path / "r", "--json"]
    for task in ("pope", "pope?source=flickr"):
        assert {row["values"][0]["n"] for row in cli(*words, "-t", task).json()["rows"]} == {1}
    names = {path.parent.name for path in (tmp_path / "r").glob("*/*/records.jsonl")}
    assert names == {"pope", "pope-source=flickr"}


def test_a_corrected_label_is_counted_anew_without_asking(cli, bench):
    cli(*bench.words())
    bench.asked()
    plugin = bench.plugin / "squares_plugin.py"
    plugin.write_text(plugin.read_text().replace('"Yes" if truth else "No"', '"No" if truth else "Yes"'))
    assert cli(*bench.words(), "--json").json()["rows"][0]["values"][0]["value"] == 0.0
    assert bench.asked() == []


def test_two_data_folders_of_one_name_are_two_runs(cli, bench):
    import shutil

    cli(*bench.words())
    other = bench.root / "elsewhere" / "data"
    shutil.copytree(bench.data, other)
    bench.asked()
    cli(*bench.words(), "--data", other)
    assert len(bench.asked()) == 12
    assert len(list(bench.results.glob("*/run.json"))) == 2


def test_a_run_is_complete_only_when_each_of_its_tasks_is(cli, bench):
    plugin = bench.plugin / "squares_plugin.py"
    plugin.write_text(plugin.read_text() + '\n\n@task("again")\nclass Again(Red):\n    """Red once more."""\n')
    cli(*bench.words(fail="blue1"))
    only_again = [word if word != "red" else "again" for word in bench.words()]
    assert cli(*only_again).code == 0
    manifest = json.loads(next(bench.results.glob("*/run.json")).read_text())
    assert manifest["status"] == "partial"
    cli(*bench.words())
    assert json.loads(next(bench.results.glob("*/run.json")).read_text())["status"] == "complete"


def test_another_spelling_of_the_same_models_goes_on_in_the_same_run(cli, bench):
    cli(*bench.words())
    bench.asked()
    cli(*bench.words(fail="nothing"))
    assert bench.asked() == []
    assert len(list(bench.results.glob("*/run.json"))) == 1


@pytest.mark.parametrize(("device", "code"), [("bogus", 2), ("meta", 2), ("cuda:99", 4)])
def test_a_device_that_is_not_there_is_told_in_one_line(cli, tmp_path, device, code):
    words = ["-e", "micro", "-t", "zero-shot", "--limit", 1, "--results", tmp_path, "--device", device]
    said = cli("run", *words)
    assert said.code == code
    assert device in said.err


def test_a_manifest_that_is_none_is_told_in_one_line(cli, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.json").write_text("[]")
    said = cli("leaderboard", "--results", tmp_path, "--out", tmp_path / "l.md")
    assert said.code == 2
    assert "is not a run's manifest" in said.err


def test_a_leaderboard_of_no_folder_is_refused(cli, tmp_path):
    assert cli("leaderboard", "--results", tmp_path / "typo", "--out", tmp_path / "l.md").code == 2
    page = cli("leaderboard", "--results", tmp_path, "--out", tmp_path / "l.html", "--html")
    assert page.code == 2 and "l.md" in page.err and not (tmp_path / "l.html").exists()
    assert not (tmp_path / "l.md").exists()


def test_runs_on_other_questions_are_shown_without_a_difference(cli, bench):
    cli(*bench.words())
    cli(*bench.words(), "--limit", 3)
    ids = sorted(path.parent.name for path in bench.results.glob("*/run.json"))
    said = cli("show", "run", *ids, "--results", bench.results, "--include", bench.plugin, "--json")
    assert all(row["differences"] == [None, None] for row in said.json()["rows"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-e hashing -l parrot -t retrieval --control shuffle-image",
         "retrieval cannot be asked under --control shuffle-image: a gallery has no other pictures to show"),
        ("-e hashing -l parrot -t pope -t retrieval --control blank-image", "retrieval cannot be asked under"),
        ("-e hashing -t ohd-caps -t zero-shot --control text-only",
         "ohd-caps, zero-shot cannot be asked under --control text-only: it shows no picture"),
        ("-e hashing -t pope --control text-only", "pope needs an --lvlm to answer it"),
        ("-l parrot -t retrieval --control text-only", "retrieval needs an --encoder to answer it"),
        ("-e hashing -l parrot -t retrieval --control shuffle", "no control is called 'shuffle'"),
    ],
)  # fmt: skip
def test_a_task_that_is_not_asked_is_refused_with_the_reason_that_is_true(cli, tmp_path, words, says):
    said = cli("run", *words.split(), "--results", tmp_path)
    assert said.code == 2 and said.err.startswith(f"error: {says}")
    assert len(said.err.splitlines()) == 1


def test_every_task_that_a_control_leaves_out_is_named(cli, tmp_path):
    words = ("run", "-e", "micro", "-l", "parrot", "--limit", 4, "--results", tmp_path, "--control")
    shuffled = cli(*words, "shuffle-image", "--json")
    assert shuffled.code == 0 and "retrieval cannot be asked under --control shuffle-image: a gallery" in shuffled.err
    said = cli(*words, "text-only", "--json")
    assert said.code == 0 and "ohd-caps, pairs, retrieval, winoground, zero-shot cannot be asked under" in said.err
    assert "needs an" not in said.err


def test_text_only_without_an_lvlm_is_refused(cli, tmp_path):
    said = cli("run", "-e", "hashing", "--control", "text-only", "--results", tmp_path)
    assert said.code == 2
    assert "needs an --lvlm" in said.err
