"""micro-llava: answers in the words that the benchmarks want, and knows which projector belongs to which tower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from harness import micro, registry
from harness.errors import ModelError, UsageError
from harness.images import open_image
from harness.lvlms import micro as shipped
from harness.micro.classes import CLASSES
from harness.micro.folder import Sizes
from harness.types import Asked, Encoder, Place, Sample

CPU = Place("cpu")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    folder = tmp_path_factory.mktemp("micro")
    micro.write(folder, seed=3, sizes=Sizes(amber=24, caps=1, dev=1, train=1, web=1, pope=1, zero_shot=1))
    truths = {item["id"]: item["truth"] for item in json.loads((folder / "amber" / "annotations.json").read_text())}
    found: dict[str, list[Sample]] = {}
    for query in json.loads((folder / "amber" / "query" / "query_all.json").read_text()):
        truth = truths[query["id"]]
        target = truth if isinstance(truth, str) else " ".join(truth)
        tokens = 8 if isinstance(truth, str) else 64
        sample = Sample(str(query["id"]), None, target, prompt=query["query"], tokens=tokens)
        found.setdefault(query["image"], []).append(sample)
    return [Asked(open_image(folder / "amber" / "image" / name), tuple(samples)) for name, samples in found.items()]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    registry.load()
    return registry.make_encoder("micro", CPU)


def test_questions_are_answered_yes_or_no_better_than_by_chance(asked: list[Asked], encoder: Encoder) -> None:
    replies = list(registry.make_lvlm("micro-llava", CPU)(encoder).answers(asked))
    said = [(sample.target, answer.text) for sample, answer in replies if sample.target in ("yes", "no")]
    assert {text for _, text in said} == {"Yes", "No"}
    assert sum(target == text.lower() for target, text in said) / len(said) > 0.55


def test_descriptions_name_classes_in_lower_case_and_end(asked: list[Asked], encoder: Encoder) -> None:
    described = [Asked(one.image, one.samples[:1]) for one in asked]
    for sample, answer in registry.make_lvlm("micro-llava", CPU)(encoder).answers(described):
        assert answer.text.startswith("there is a")
        assert answer.text.endswith(".")
        assert set(answer.text.rstrip(".").replace(",", "").split()) & set(CLASSES), sample.id


def test_the_prompt_is_the_one_of_the_folders_own_template(encoder: Encoder) -> None:
    lvlm = registry.make_lvlm("micro-llava", CPU)(encoder)
    assert lvlm.render("Is there a cup in this image?") == "<s>USER: <image>\nIs there a cup in this image? ASSISTANT:"


def test_every_shipped_projector_belongs_to_a_shipped_tower() -> None:
    registry.load()
    from harness.vision_language.identity import weights_digest

    named = shipped.projectors()
    for name in ("micro", "micro-ohd", "micro-plain"):
        assert named[weights_digest(registry.make_encoder(name, CPU).tower())] == name


def test_aligned_gives_each_tower_its_own_projector_and_base_gives_all_the_same() -> None:
    registry.load()
    towers = [registry.make_encoder(name, CPU) for name in ("micro", "micro-ohd")]
    base, aligned = registry.make_lvlm("micro-llava", CPU), registry.make_lvlm("micro-llava?projector=aligned", CPU)
    same = [base(tower).digests() for tower in towers]
    own = [aligned(tower).digests() for tower in towers]
    assert same[0]["projector"] == same[1]["projector"] == own[0]["projector"] != own[1]["projector"]
    assert own[1]["tower"] == same[1]["tower"] != same[0]["tower"]


def test_a_tower_without_a_projector_of_its_own_is_refused_by_name() -> None:
    registry.load()

    class Other:
        spec = "clip:other"

        def tower(self) -> torch.nn.Module:
            return torch.nn.Linear(2, 2)

    with pytest.raises(ModelError, match=r"clip:other.*micro, micro-ohd, micro-plain"):
        registry.make_lvlm("micro-llava?projector=aligned", CPU)(Other())


def test_a_shipped_lvlm_has_no_other_place(tmp_path: Path) -> None:
    registry.load()
    with pytest.raises(UsageError, match="llava:FOLDER"):
        registry.make_lvlm(f"micro-llava:{tmp_path}", CPU)
