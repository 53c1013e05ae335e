"""Comparing ways of training: runs that differ by seed alone put together, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.comparison import answer_sets, compare, groups, over_seeds
from harness.errors import UsageError
from harness.journal import Journal
from harness.report import leaderboard
from harness.store import Run
from harness.types import Failure

MakeRun = Callable[..., Run]
RECIPE = {"lambda1": 0.1, "negatives": "hallucinated"}


@pytest.fixture
def trained(make_run: MakeRun) -> MakeRun:
    """Makes a run of an encoder trained with a seed (``arm`` names the recipe), perhaps aligned with another."""

    def make(arm: str, seed: int, align: int | None = None, sight: float = 1.5, **more: Any) -> Run:
        encoder, tasks = f"clip-{arm}-{seed}", more.pop("tasks", ("pope",))
        projector = f"p{align}" if more.pop("shared", False) else f"p{align}-{encoder}"
        digests = {"tower": encoder, "projector": projector if align is not None else "own"}
        run = make_run(f"{encoder}-{align}+drawn@micro-1", sight=sight, digests=digests, tasks=tasks)
        manifest = run.manifest()
        manifest["encoder"] |= {"spec": f"clip:runs/{arm}-seed={seed}", "digest": encoder}
        training = {"seed": seed, "recipe": RECIPE | {"name": arm} | more.pop("recipe", {}), "base": "b", "data": {}}
        alignment = {"seed": align, "settings": {"steps": 9}} if align is not None else None
        return _updated(run, manifest | {"training": training, "alignment": alignment} | more)

    return make


def _updated(run: Run, manifest: dict[str, Any]) -> Run:
    run.update(**manifest)
    return run


@pytest.fixture
def ohd(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs ``compare`` over this test's results; exit code and what was printed."""

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["compare", *words, "--results", str(tmp_path / "results")])
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out + told.err

    return run


def ids(runs: list[Run]) -> list[str]:
    return [run.id for run in runs]


@pytest.fixture
def arms(trained: MakeRun) -> tuple[list[Run], list[Run]]:
    """Three trainings of a weaker way and three of a better one."""
    weaker = [trained("a", seed, sight=sight) for seed, sight in enumerate((1.0, 1.3, 1.1))]
    return weaker, [trained("b", seed, sight=sight) for seed, sight in enumerate((2.3, 2.6, 2.2))]


def test_runs_of_several_seeds_on_each_side_are_compared_as_methods(
    arms: tuple[list[Run], list[Run]], ohd: Callable[..., tuple[int, str]]
) -> None:
    code, told = ohd(*ids(arms[0]), "--", *ids(arms[1]), "--json")
    found = json.loads(told)[0]
    assert code == 0 and found["base"] == "a+drawn@micro" and found["candidate"] == "b+drawn@micro"
    line = next(x for x in found["lines"] if x["metric"] == "balanced_accuracy")
    assert line["figures"]["var_seeds"] > 0 and len(line["figures"]["base"]["seeds"]) == 3
    assert line["gap"]["low"] < line["gap"]["value"] < line["gap"]["high"]
    assert line["figures"]["half_images_alone"] < line["gap"]["high"] - line["gap"]["value"]
    assert any("3 trainings (seeds 0, 1, 2)" in sentence for sentence in found["about"])
    assert any("seldom carry a claim" in sentence for sentence in found["about"])


def test_groups_are_found_by_themselves_and_by_name(
    arms: tuple[list[Run], list[Run]], ohd: Callable[..., tuple[int, str]]
) -> None:
    by_hand = ohd(*ids(arms[0]), "--", *ids(arms[1]), "--json")[1]
    assert ohd("--by-seed", "--json")[1] == by_hand
    assert ohd("a+drawn@micro", "b+drawn@micro", "--json")[1] == by_hand
    assert ohd("--by-seed", arms[0][1].id, arms[1][2].id, "--json")[1] == by_hand


def test_groups_that_cannot_be_compared_are_left_out_by_name_and_take_no_other_with_them(
    arms: tuple[list[Run], list[Run]], trained: MakeRun, ohd: Callable[..., tuple[int, str]]
) -> None:
    by_hand = ohd(*ids(arms[0]), "--", *ids(arms[1]), "--json")[1]
    for seed in range(2):
        trained("0-first", seed, tasks=("ohd-caps",))
        trained("c", seed, tasks=("ohd-caps",))
        trained("d", seed, lvlm={"spec": "drawn", "digests": {}, "describe": {"decoding": "sampled"}})
    named = ("a+drawn@micro", "0-first+drawn@micro", "b+drawn@micro")
    left_out = "left out, as they have no task in common with a+drawn@micro: 0-first+drawn@micro"
    assert ohd(*named, "--json") == (0, f"{by_hand}{left_out}\n")
    code, told = ohd("--by-seed", "-t", "pope", "--json")
    assert code == 0 and told.startswith(by_hand), "the first group was not asked pope, and is no base of it"
    assert f"{left_out}, c+drawn@micro\n" in told
    assert "left out: d+drawn@micro: " in told and "do not compare: decoding is 'greedy' and 'sampled'" in told
    assert ohd("--by-seed", "-t", "ohd-caps", "--json")[0] == 0
    code, told = ohd("a+drawn@micro", "c+drawn@micro")
    assert code == 2 and "no task that all of their runs were asked" in told


def test_a_run_without_a_task_of_the_base_is_left_out_by_name(
    make_run: MakeRun, ohd: Callable[..., tuple[int, str]]
) -> None:
    for name, task in (("x", "pope"), ("y", "ohd-caps"), ("z", "pope")):
        make_run(f"{name}+drawn@micro-0", tasks=(task,))
    code, told = ohd("x", "y", "z", "--json")
    assert code == 0 and told.endswith("left out, as they have no task in common with x + drawn: y + drawn\n")
    assert told.startswith(ohd("x", "z", "--json")[1])


def test_the_table_says_what_each_interval_is_made_of(
    arms: tuple[list[Run], list[Run]], ohd: Callable[..., tuple[int, str]]
) -> None:
    told = ohd("--by-seed")[1]
    assert (
        "the two are independent of each other" in told and "1,000 images more" in told and "by trainings and" in told
    )


def test_one_run_a_side_is_as_ever_to_the_digit_and_says_that_it_is_about_these_weights(
    arms: tuple[list[Run], list[Run]], ohd: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    names = arms[0][0].id, arms[1][0].id
    told = ohd(*names, "--json")[1]
    both, tasks = answer_sets.open_answer_sets(names, tmp_path / "results", "", None)
    today = compare.compare(*both, tasks)
    shown = json.loads(told)[0]
    assert [x["gap"]["low"] for x in shown["lines"]] == [line.gap.low for line in today.lines()]
    assert shown["about"] == [over_seeds.THESE]
    assert ohd(names[0], "--", names[1], "--json")[1] == told


def test_a_released_model_is_given_and_adds_no_uncertainty_of_training(
    make_run: MakeRun, trained: MakeRun, ohd: Callable[..., tuple[int, str]]
) -> None:
    base = make_run("released+drawn@micro-0", tasks=("pope",))
    tuned = [trained("b", seed, sight=2.0 + seed / 5) for seed in range(3)]
    found = json.loads(ohd(base.id, "--", *ids(tuned), "--json")[1])[0]
    figures = found["lines"][0]["figures"]
    assert len(figures["sources"]) == 1 and figures["base"]["var_seeds"] == 0
    assert any("one given model" in sentence for sentence in found["about"])


def test_a_single_training_is_named_as_such_and_its_spread_may_be_borrowed_by_name(
    trained: MakeRun, ohd: Callable[..., tuple[int, str]]
) -> None:
    base, tuned = trained("a", 0), [trained("b", seed, sight=2.0 + seed / 5) for seed in range(3)]
    alone = json.loads(ohd(base.id, "--", *ids(tuned), "--json")[1])[0]
    assert any("one training (seed 0): what follows is for this one" in sentence for sentence in alone["about"])
    borrowed = json.loads(ohd(base.id, "--", *ids(tuned), "--json", "--seeds", "borrowed")[1])[0]
    assert any(sentence.startswith("ASSUMED") for sentence in borrowed["about"])
    assert borrowed["lines"][0]["gap"]["high"] > alone["lines"][0]["gap"]["high"]


def test_four_seeds_of_the_same_numbers_pair(trained: MakeRun, ohd: Callable[..., tuple[int, str]]) -> None:
    runs = [[trained(arm, seed, sight=1.5 + seed / 5) for seed in range(4)] for arm in "ab"]
    assert "paired by seed" in ohd(*ids(runs[0]), "--", *ids(runs[1]))[1]
    assert "independent of each other" in ohd(*ids(runs[0]), "--", *ids(runs[1]), "--seeds", "independent")[1]


def test_several_alignments_of_a_training_count_as_one_training(trained: MakeRun) -> None:
    runs = [trained("a", seed, align=seed * 3 + k, sight=1.5 + seed / 4) for seed in range(3) for k in range(3)]
    found = groups.group([answer_sets.of_run(run) for run in runs])
    assert found.units() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]]


def test_alignments_of_one_tower_are_the_units_where_towers_do_not_vary(trained: MakeRun) -> None:
    found = groups.group([answer_sets.of_run(trained("a", 0, align=k)) for k in range(3)])
    assert found.units() == [[0, 1, 2]]


def test_trainings_crossed_with_alignments_are_units_either_way(
    trained: MakeRun, ohd: Callable[..., tuple[int, str]]
) -> None:
    runs = {
        arm: [trained(arm, s, align=k, sight=sight + s / 5 + k / 3, shared=True) for s in range(2) for k in range(2)]
        for arm, sight in (("a", 1.0), ("b", 1.8))
    }
    found = groups.group([answer_sets.of_run(run) for run in runs["a"]])
    assert found.units() == [[0, 0, 1, 1], [0, 1, 0, 1]]
    assert "the wider is shown" in ohd(*ids(runs["a"]), "--", *ids(runs["b"]))[1]


def test_a_group_that_mixes_recipes_or_settings_is_refused_and_the_difference_named(
    trained: MakeRun, ohd: Callable[..., tuple[int, str]]
) -> None:
    same, other, base = trained("a", 0), trained("a", 1, recipe={"lambda1": 0.5}), trained("b", 0)
    code, told = ohd(base.id, "--", same.id, other.id)
    assert code == 2 and "training.recipe.lambda1 is 0.1 and 0.5" in told
    hot = trained("a", 2)
    hot.update(lvlm=hot.manifest()["lvlm"] | {"describe": {"template": "plain", "decoding": "sampled"}})
    code, told = ohd(base.id, "--", same.id, hot.id)
    assert code == 2 and "decoding is 'greedy' and 'sampled'" in told


def test_one_training_asked_twice_is_no_group(trained: MakeRun, ohd: Callable[..., tuple[int, str]]) -> None:
    once, base = trained("a", 3), trained("b", 0)
    again = Run(once.folder.with_name("again"))
    again.update(**{k: v for k, v in once.manifest().items() if k != "id"})
    (again.folder / "pope").mkdir()
    again.records_path("pope").write_bytes(once.records_path("pope").read_bytes())
    code, told = ohd(base.id, "--", once.id, again.id)
    assert code == 2 and "are one training (seed 3) asked 2 times" in told


def test_one_training_under_two_seeds_counts_once_and_is_refused_where_it_is_named_twice(
    trained: MakeRun, ohd: Callable[..., tuple[int, str]]
) -> None:
    first, second, third = (trained("a", seed) for seed in range(3))
    second.update(encoder=second.manifest()["encoder"] | {"digest": first.manifest()["encoder"]["digest"]})
    code, told = ohd(trained("b", 0).id, "--", *ids([first, second, third]))
    assert code == 2 and "(seed 1) came out as the same weights as that of seed 0" in told
    (found,) = groups.together([first, second, third])
    assert found.units() == [[0, 0, 2]]


def test_arms_that_share_trainings_pair_or_are_refused(trained: MakeRun, ohd: Callable[..., tuple[int, str]]) -> None:
    dropped = [trained("a", seed, sight=1 + seed / 5) for seed in range(3)]
    aligned = [trained("a", seed, align=seed, sight=1.5 + seed / 5) for seed in range(3)]
    assert "both are read from the same ones" in ohd(*ids(dropped), "--", *ids(aligned))[1]
    code, told = ohd(*ids(dropped), "--", *ids(aligned), "--seeds", "independent")
    assert code == 2 and "not independent" in told
    code, told = ohd(*ids(dropped), "--", *ids(aligned[:2]))
    assert code == 2 and "share 2 of their trainings" in told


def test_words_that_name_nothing_to_compare_are_refused(
    arms: tuple[list[Run], list[Run]], ohd: Callable[..., tuple[int, str]]
) -> None:
    assert (
        ohd("--by-seed", arms[0][0].id) == (2, pytest.approx)
        or "only a+drawn@micro" in ohd("--by-seed", arms[0][0].id)[1]
    )
    code, told = ohd(*ids(arms[0]), "--")
    assert code == 2 and "no run on one side" in told
    code, told = ohd("--by-seed", "--seeds", "sideways")
    assert code == 2 and "auto, paired, independent, borrowed" in told


def test_only_samples_that_every_run_answered_count(trained: MakeRun) -> None:
    runs = [trained(arm, seed, sight=1.5 + seed / 5) for arm in "ab" for seed in range(2)]
    path = runs[3].records_path("pope")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-7]))
    for run in runs:  # what nobody has answered is no question of which only some answers count
        fail(run, 3)
    pair = [groups.group([answer_sets.of_run(run) for run in some]) for some in (runs[:2], runs[2:])]
    found = over_seeds.compared(*pair, answer_sets.tasks_of(pair[0].sides, ""))
    (alone,) = over_seeds.of_two(pair[0].sides[0], pair[1].sides[1], answer_sets.tasks_of(pair[0].sides, "")).tasks
    assert found.tasks[0].unpaired == alone.unpaired == 7


def fail(run: Run, first: int) -> None:
    """The first so many questions of POPE have no answer."""
    records = run.records("pope")
    run.records_path("pope").unlink()
    with Journal(run.records_path("pope")) as journal:
        journal.append(
            [replace(r, reply=Failure("none"), counts={}) if n < first else r for n, r in enumerate(records)]
        )


def test_a_name_of_a_group_is_what_its_runs_have_in_common(trained: MakeRun) -> None:
    assert groups.group([answer_sets.of_run(trained("fraction=0.1", seed)) for seed in (10, 11)]).name == (
        "fraction-0.1+drawn@micro"
    )


def test_the_same_seeds_in_any_order_of_runs_are_the_same_comparison(arms: tuple[list[Run], list[Run]]) -> None:
    first = [groups.group([answer_sets.of_run(run) for run in runs]) for runs in arms]
    back = [groups.group([answer_sets.of_run(run) for run in reversed(runs)]) for runs in arms]
    tasks = answer_sets.tasks_of(first[0].sides, "")
    there, again = (over_seeds.compared(*pair, tasks).lines() for pair in (first, back))
    assert [line.gap.low for line in again] == pytest.approx([line.gap.low for line in there], nan_ok=True)


def test_a_group_with_runs_that_do_not_compare_with_the_base_is_refused(arms: tuple[list[Run], list[Run]]) -> None:
    for run in arms[1]:
        run.update(lvlm=run.manifest()["lvlm"] | {"describe": {"template": "other", "decoding": "greedy"}})
    pair = [groups.group([answer_sets.of_run(run) for run in runs]) for runs in arms]
    with pytest.raises(UsageError, match="template"):
        over_seeds.compared(*pair, answer_sets.tasks_of(pair[0].sides, ""))


def test_the_leaderboard_has_one_row_a_group_with_its_number_of_seeds(
    arms: tuple[list[Run], list[Run]], make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("released+drawn@micro-0", tasks=("pope",))
    rows = [line for line in leaderboard.render(tmp_path / "results", "results").splitlines() if "`drawn`" in line]
    found = {row.split(" | ")[0].strip("| ") + row.split(" | ")[3]: row for row in rows}
    assert sorted(found) == ["`clip:a-*`3", "`clip:b-*`3", "`released`1"]
    assert "±" in found["`clip:a-*`3"] and "±" not in found["`released`1"] and " [" in found["`released`1"]


def test_a_task_that_only_some_seeds_were_asked_does_not_part_them(trained: MakeRun) -> None:
    some = [trained("a", 0, tasks=("pope",)), trained("a", 1, tasks=("pope", "amber"))]
    assert len(groups.together(some)) == 1
