"""Object classes, what drags what, and factorial effects, on answers whose making is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.asking import evaluate
from harness.comparison import effects, objects
from harness.comparison.existence import Claim
from harness.data import Data
from harness.errors import UsageError
from harness.store import Run

MakeRun = Callable[..., Run]


def asked(claim_fork: Callable[[bool], bool]) -> list[Claim]:
    """Each of 60 images is asked about a fork that is not there; half of them show a knife."""
    found = []
    for i in range(60):
        image, knife = Path(f"{i}.jpg"), i % 2 == 0
        found.append(Claim(f"{i}f", "t", image, "fork", False, claim_fork(knife)))
        found.append(Claim(f"{i}d", "t", image, "dog", False, False))
        found.append(
            Claim(f"{i}k", "t", image, "knife", True, None)
            if knife
            else Claim(f"{i}s", "t", image, "spoon", True, None)
        )
    return found


def test_the_object_that_drags_another_along_comes_first() -> None:
    found = objects.examine("run", asked(lambda knife: knife))
    drag = found.drags[0]
    assert (drag.by, drag.object, drag.errors, drag.asked, drag.rate, drag.elsewhere) == ("knife", "fork", 30, 30, 1, 0)
    assert drag.p < 1e-6
    assert all(one.object != "dog" for one in found.drags)


def test_hard_negatives_name_the_object_its_company_and_how_often_to_draw_it(tmp_path: Path) -> None:
    found = objects.examine("run", asked(lambda knife: knife))
    assert objects.write_hard_negatives(found, tmp_path / "hard.jsonl") == 1
    row = json.loads((tmp_path / "hard.jsonl").read_text())
    assert row["object"] == "fork"
    assert row["drags"] == ["knife"]
    assert row["weight"] > 1


def test_nothing_invented_exports_nothing(tmp_path: Path) -> None:
    found = objects.examine("run", asked(lambda knife: False))
    assert objects.write_hard_negatives(found, tmp_path / "hard.jsonl") == 0
    assert (tmp_path / "hard.jsonl").read_text() == ""


def test_rates_of_rare_objects_are_drawn_to_the_mean_of_all() -> None:
    common = [(f"c{k}", i < 20) for k in range(12) for i in range(100)]
    found = objects.rates([*common, ("rare", True)])
    assert found["rare"].value < 0.5
    assert found["c0"].value == pytest.approx(0.2, abs=0.02)
    assert found["rare"].high - found["rare"].low > found["c0"].high - found["c0"].low - 1e-9


def test_objects_that_truly_differ_stay_apart() -> None:
    found = objects.rates([(name, i < wrong) for name, wrong in (("a", 5), ("b", 50), ("c", 95)) for i in range(100)])
    assert found["a"].high < found["b"].low < found["b"].high < found["c"].low


def test_shrinkage_brings_rates_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(2)
    truth = dict(zip(map(str, range(150)), rng.beta(2, 8, 150), strict=True))
    answers = [(name, bool(rng.random() < p)) for name, p in truth.items() for _ in range(8)]
    found = objects.rates(answers)
    shrunk = np.mean([(found[name].value - p) ** 2 for name, p in truth.items()])
    raw = np.mean([(found[name].errors / found[name].asked - p) ** 2 for name, p in truth.items()])
    assert shrunk < 0.6 * raw
    assert np.mean([found[n].low <= p <= found[n].high for n, p in truth.items()]) > 0.9


def test_a_run_s_objects_are_those_its_questions_name(make_run: MakeRun, world: Path) -> None:
    run = make_run("a@1", lean=-1.0, tasks=("pope",))
    found = objects.of_run(run, Data("micro", world))
    asked_of = sum((one.missed.asked if one.missed else 0) for one in found.classes)
    assert asked_of == len(
        {(s.image, s.prompt) for s in evaluate.open_task("pope", world).samples() if s.target == "yes"}
    )
    assert objects.hard_negatives(found)
    with pytest.raises(UsageError, match="no question whether"):
        objects.of_run(make_run("b@1", tasks=("ohd-caps",)), Data("micro", world))


def cross(make_run: MakeRun, effect: Callable[[int, int], float]) -> list[Run]:
    return [
        make_run(
            f"t{t}p{p}@1",
            sight=effect(t, p),
            tasks=("pope",),
            digests={"tower": f"t{t}", "projector": f"p{p}", "language_model": "same"},
        )
        for t in (0, 1)
        for p in (0, 1)
    ]


def found_effects(runs: list[Run], world: Path, metric: str) -> dict[tuple[str, ...], effects.Effect]:
    found = effects.effects(evaluate.open_task("pope", world), runs)
    return {one.parts: one for one in found if one.metric == metric and not one.group}


def test_each_part_s_effect_is_told_apart(make_run: MakeRun, world: Path) -> None:
    found = found_effects(cross(make_run, lambda t, p: 1.0 + 1.2 * t), world, "d_prime")
    assert found[("tower",)].change.low > 0.7
    assert found[("projector",)].change.value == found[("tower", "projector")].change.value == 0


def test_what_two_parts_do_only_together_is_an_interaction(make_run: MakeRun, world: Path) -> None:
    found = found_effects(cross(make_run, lambda t, p: 1.0 + 1.5 * t * p), world, "d_prime")
    assert found[("tower", "projector")].change.low > 0.3
    assert found[("tower",)].change.value == pytest.approx(found[("projector",)].change.value, abs=1e-9)


def test_a_cross_with_a_hole_is_refused(make_run: MakeRun) -> None:
    runs = cross(make_run, lambda t, p: 1.0)
    with pytest.raises(UsageError, match="missing tower=new/projector=new"):
        effects.design(runs[:3])
    with pytest.raises(UsageError, match="do not differ"):
        effects.design([runs[0], runs[0]])


def test_a_task_of_encoders_has_no_effects_and_is_refused_with_those_that_have(
    make_run: MakeRun, cli, tmp_path: Path
) -> None:
    for name, tasks in (
        ("t0", ("pope", "ohd-caps")),
        ("t1", ("pope", "ohd-caps")),
        ("e0", ("ohd-caps",)),
        ("e1", ("ohd-caps",)),
    ):
        make_run(f"{name}@1", tasks=tasks)
    results = ("--results", tmp_path / "results", "--json")
    said = cli("effects", "t0", "t1", "-t", "ohd-caps", *results)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ohd-caps: a task of encoders alone") and said.err.endswith(" pope\n")
    assert {one["task"] for one in cli("effects", "t0", "t1", *results).json()} == {"pope"}
    said = cli("effects", "e0", "e1", *results)
    assert said.code == 2 and said.err.endswith("there is none of the LVLM in these runs\n")
