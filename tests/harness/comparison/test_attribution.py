"""Eye or brain: planted errors of either are told apart; probes and tokens are what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.asking import evaluate
from harness.comparison import attribution, existence
from harness.comparison.attribution import Attribution
from harness.comparison.existence import Claim
from harness.errors import UsageError
from harness.records import Record
from harness.store import Run
from harness.types import Answer, Sample

MakeRun = Callable[..., Run]


def claims_of(says: Callable[[bool, bool], bool], seed: int = 0, number: int = 800) -> tuple[list[Claim], np.ndarray]:
    """Claims of 200 images; the eye's score is above 0 where it sees; ``says(sees, present)`` is the answer."""
    rng = np.random.default_rng(seed)
    found, scores = [], []
    for i in range(number):
        present = bool(i % 2)
        sees = bool(rng.random() < (0.9 if present else 0.2))
        scores.append((1 if sees else -1) * rng.uniform(0.5, 1.5))
        found.append(Claim(str(i), "pope", Path(f"{i % 200}.jpg"), "dog", present, says(sees, present)))
    return found, np.array(scores)


def rates(says: Callable[[bool, bool], bool]) -> dict[str, float]:
    found, score = claims_of(says)
    one = Attribution("x", tuple(attribution.records(found, score, "zero-shot")), {})
    return {name: estimate.value for name, estimate in one.rates()["zero-shot/pope"].items()}


def test_a_brain_that_believes_its_eye_makes_only_the_eye_s_errors() -> None:
    found = rates(lambda sees, present: sees)
    assert found["false claims the eye made"] == found["misses the eye made"] == 100
    assert found["absent: seen-said"] == pytest.approx(20, abs=4)
    assert found["absent: unseen-claimed"] == 0
    assert found["says yes where unseen"] == 0


def test_a_brain_that_always_says_yes_claims_what_nobody_sees() -> None:
    found = rates(lambda sees, present: True)
    assert found["absent: unseen-claimed"] == pytest.approx(80, abs=4)
    assert found["says yes where unseen"] == 100
    assert found["false claims the eye made"] == pytest.approx(20, abs=4)


def test_a_brain_that_corrects_its_eye_makes_no_error() -> None:
    found = rates(lambda sees, present: present)
    assert found["absent: seen-denied"] == pytest.approx(20, abs=4)
    assert found["absent: seen-said"] == found["absent: unseen-claimed"] == 0


def test_the_four_cells_of_each_kind_add_up() -> None:
    found = rates(lambda sees, present: sees != present)
    for kind in ("absent", "present"):
        assert sum(found[f"{kind}: {cell.replace('_', '-')}"] for cell in attribution.CELLS) == pytest.approx(100)


def test_a_better_brain_behind_the_same_eye_changes_the_brain_s_cells() -> None:
    first, score = claims_of(lambda sees, present: True)
    second, _ = claims_of(lambda sees, present: sees)
    before, after = (Attribution("x", tuple(attribution.records(c, score, "probe")), {}) for c in (first, second))
    change = attribution.changes(before, after)["probe/pope"]
    assert change["absent: unseen-claimed"][2].high < 0
    assert change["absent: seen-said"][2].value == 0


def test_an_image_s_threshold_comes_from_other_images() -> None:
    claims = [Claim(str(i), "t", Path(f"{i}.jpg"), "dog", i % 2 == 0, True) for i in range(40)]
    score = np.array([1.0 if claim.present else -1.0 for claim in claims])
    assert list(attribution.seen(claims, score)) == [claim.present for claim in claims]
    noise = np.random.default_rng(0).normal(size=40)
    right = np.mean(attribution.seen(claims, noise) == [claim.present for claim in claims])
    assert right < 0.75


def test_the_threshold_is_halfway_between_what_it_parts() -> None:
    assert attribution.threshold(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, True, False, False])) == 1.5


def test_a_probe_finds_what_is_linear_in_the_features_of_other_images() -> None:
    rng = np.random.default_rng(1)
    images = [Path(f"{i}.jpg") for i in range(120)]
    there = {(image, name): bool(rng.random() < 0.5) for image in images for name in ("dog", "cat", "rare")}
    for i, image in enumerate(images):
        there[image, "rare"] = i == 0
    features = {image: rng.normal(0, 0.6, 24) + 2 * there[image, "dog"] * np.eye(24)[0] for image in images}
    claims = [Claim(f"{image}{name}", "t", image, name, there[image, name], True) for image, name in there]
    score = attribution.probe(features, there, claims)
    ranks = {
        name: attribution.auroc([c for c in claims if c.object == name], score[[c.object == name for c in claims]])
        for name in ("dog", "cat")
    }
    assert ranks["dog"] > 0.9
    assert 0.3 < ranks["cat"] < 0.7
    assert np.isnan(score[[claim.object == "rare" for claim in claims]]).all()


@pytest.mark.parametrize(
    ("prompt", "group", "target", "name"),
    [
        ("Is there a dining table in the image?", "random", "yes", "dining table"),
        ("Is there an apple in this image?", "discriminative/existence", "no", "apple"),
        ("Is there a dog in the image?\nAnswer in one word.", "", "no", "dog"),
        ("Is there one dog in this image?", "discriminative/attribute/number", "no", None),
        ("Is there a dog in this image?", "discriminative/attribute/state", "no", None),
        ("Is the sky sunny in this image?", "discriminative/existence", "yes", None),
        ("Describe this image.", "generative", "dog, cat", None),
    ],
)
def test_questions_of_presence_are_told_by_their_words(prompt: str, group: str, target: str, name: str | None) -> None:
    assert existence.asked_about(Sample("1", Path("a.jpg"), target, prompt=prompt, group=group)) == name


def test_an_annotation_tells_what_is_there_and_what_is_not() -> None:
    samples = [
        Sample("1", Path("a.jpg"), "dog, cat", prompt="Describe this image.", group="generative"),
        Sample("2", Path("b.jpg"), "car", prompt="Describe this image.", group="generative"),
        Sample("3", Path("b.jpg"), "no", prompt="Is there a cup in this image?", group="discriminative/existence"),
    ]
    told = existence.labels(samples)
    assert told[Path("a.jpg"), "dog"]
    assert not told[Path("a.jpg"), "car"]
    assert not told[Path("b.jpg"), "cup"]
    answered = {"3": Record("3", "b.jpg", "", "", "", Answer("No"), {"said_no": 1, "no": 1})}
    found = list(existence.claims("amber", samples, answered))
    assert (found[0].object, found[0].present, found[0].said) == ("cup", False, False)
    assert {(c.object, c.said) for c in found[1:]} == {("dog", None), ("cat", None), ("car", None)}


def test_tokens_are_the_layer_the_lvlm_reads() -> None:
    import torch
    from PIL import Image

    from harness import registry
    from harness.comparison.probe import _reading
    from harness.types import Place

    registry.load()
    encoder = registry.make_encoder("micro", Place("cpu"))
    picture = Image.effect_noise((64, 64), 80).convert("RGB")
    with _reading(encoder.tower(), -2) as caught, torch.inference_mode():
        encoder.encode_images([picture])
        wanted = encoder.tower()(pixel_values=encoder.pixels([picture]), output_hidden_states=True).hidden_states[-2]  # type: ignore[attr-defined]
    assert torch.allclose(caught[0], wanted, atol=1e-4)
    encoder.encode_images([picture])
    assert len(caught) == 2  # the hook is gone


def test_the_command_crosses_the_encoder_with_the_kept_answers(make_run: MakeRun, world: Path, cli: Any) -> None:
    from harness import registry
    from harness.types import Place

    registry.load()
    run = make_run("micro@1", sight=1.5, tasks=("amber", "pope"))
    manifest = run.manifest()
    run.update(encoder=manifest["encoder"] | {"digest": registry.make_encoder("micro", Place("cpu")).digest()})
    where = ("--results", run.folder.parent, "--data", world, "--device", "cpu")
    said = cli("attribute", "micro@1", "micro@1", *where, "--json")
    assert said.code == 0, said.err
    found = said.json()["runs"][0]
    assert found["auroc"]["zero-shot"] > 0.75
    assert set(found["rates"]) >= {"zero-shot/amber", "zero-shot/pope"}
    assert found["rates"]["zero-shot/pope"]["absent: seen-said"]["images"] == 40
    assert said.json()["changes"][0]["zero-shot/pope"]["absent: seen-said"]["value"] == 0


def test_an_encoder_without_a_tower_is_refused_in_one_line(make_run: MakeRun, world: Path, cli: Any) -> None:
    from harness import registry
    from harness.types import Place

    registry.load()
    run = make_run("hashing@1", tasks=("pope",))
    run.update(encoder={"spec": "hashing", "digest": registry.make_encoder("hashing", Place()).digest()})
    said = cli("attribute", "hashing@1", "--results", run.folder.parent, "--data", world)
    assert (said.code, said.err.strip()) == (4, "error: hashing has no vision tower for an LVLM to carry")


def test_runs_that_hold_no_such_question_are_refused(make_run: MakeRun, world: Path) -> None:
    from harness.comparison import probe
    from harness.data import Data
    from harness.types import Place

    run = make_run("micro@1", tasks=("ohd-caps",))
    with pytest.raises(UsageError, match="no question whether an object is there"):
        probe.attribution(run, Data("micro", world), Place("cpu"))
    assert evaluate.open_task("pope", world).mode == "generate"
