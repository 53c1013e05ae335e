"""Controls: every question gets another picture, and what the picture was worth is told with its sign."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from harness.asking import controls, evaluate
from harness.errors import UsageError
from harness.store import Run
from harness.types import Sample

MakeRun = Callable[..., Run]


def asked(images: int = 6) -> list[Sample]:
    return [Sample(f"{i}-{k}", Path(f"{i}.jpg"), "yes", prompt="?") for i in range(images) for k in range(2)]


def test_shuffling_gives_every_question_another_picture_and_every_picture_one_set() -> None:
    before, after = asked(), controls.samples(asked(), "shuffle-image", 3)
    assert all(a.image != b.image and a.id == b.id for a, b in zip(before, after, strict=True))
    moved = {a.image: b.image for a, b in zip(before, after, strict=True)}
    assert sorted(map(str, moved.values())) == sorted(map(str, moved))


def test_shuffling_is_the_same_for_a_seed_wherever_the_pictures_lie() -> None:
    names = [sample.image.name for sample in controls.samples(asked(), "shuffle-image", 3) if sample.image]
    elsewhere = [Sample(s.id, Path("/else/where") / s.image.name, s.target) for s in asked() if s.image]
    again = [sample.image.name for sample in controls.samples(elsewhere, "shuffle-image", 3) if sample.image]
    other = [sample.image.name for sample in controls.samples(asked(), "shuffle-image", 4) if sample.image]
    assert names == again != other


def test_other_controls_ask_the_same_of_the_same_picture() -> None:
    assert controls.samples(asked(), "blank-image", 0) == asked()


@pytest.mark.parametrize(
    ("control", "images", "says"), [("blurred", 3, "no control"), ("shuffle-image", 1, "two images")]
)
def test_what_cannot_be_controlled_is_refused(control: str, images: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        controls.samples(asked(images), control, 0)


def test_a_blank_picture_has_the_size_and_mean_colour_of_the_true_one(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 2), (200, 0, 0))
    picture.paste((0, 100, 0), (0, 0, 2, 2))
    picture.save(tmp_path / "a.png")
    blank = controls.view("blank-image")(tmp_path / "a.png")
    assert blank is not None
    assert (blank.size, blank.getcolors()) == ((4, 2), [(8, (100, 50, 0))])
    assert controls.view("text-only")(tmp_path / "a.png") is None


def test_the_image_dependent_part_is_score_less_control(make_run: MakeRun, world: Path) -> None:
    run, control = make_run("a@1", sight=2.0), make_run("a@1-shuffle", sight=0.0, control="shuffle-image")
    task = evaluate.open_task("pope", world)
    part = controls.image_dependent(run.records("pope"), control.records("pope"), task)["", "accuracy"]
    assert part.part.value == pytest.approx(part.score.value - part.control.value)
    assert part.part.low > 15
    assert part.control.low < 50 < part.control.high


def test_a_model_that_never_looks_has_no_image_dependent_part(make_run: MakeRun, world: Path) -> None:
    run, control = make_run("a@1", sight=0.0), make_run("a@1-shuffle", sight=0.0, control="shuffle-image")
    task = evaluate.open_task("pope", world)
    part = controls.image_dependent(run.records("pope"), control.records("pope"), task)["", "accuracy"].part
    assert (part.value, part.p) == (0, 1)


def test_a_run_finds_its_own_controls(make_run: MakeRun) -> None:
    run = make_run("a@1", tasks=("pope",))
    blank = make_run("a@2", tasks=("pope",), control="blank-image")
    shuffled = make_run("a@3", tasks=("pope",), control="shuffle-image")
    make_run("b@3", tasks=("pope",), control="shuffle-image")
    found = controls.of(run, run.folder.parent)
    assert list(found.items()) == [("shuffle-image", shuffled), ("blank-image", blank)]
    assert controls.of(shuffled, run.folder.parent) == {}
