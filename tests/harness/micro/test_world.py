"""The micro world: the same to the byte, in the official formats, and without shortcuts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness import micro
from harness.micro import amber, pairs, questions
from harness.micro.captions import row
from harness.micro.classes import CLASSES, COLOURS, POSES, RELATION
from harness.micro.draw import draw
from harness.micro.folder import SOURCES, Sizes, rows_of
from harness.micro.scene import Mix, Scene, Thing, scene

SMALL = Sizes(amber=12, caps=8, dev=4, train=4, web=4, pope=6, zero_shot=1)
KINDS = ("random", "popular", "adversarial", "delete")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("micro")
    micro.write(folder, sizes=SMALL)
    return folder


@pytest.fixture(scope="module")
def caps() -> list[tuple[Scene, dict]]:
    return [pair for source, mix in SOURCES.items() for pair in rows_of(f"0/test/{source}", mix, 150)]


def test_two_writes_in_two_processes_give_the_same_bytes(world: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from harness.micro import write; from harness.micro.folder import Sizes; "
        f"write(Path({str(tmp_path)!r}), 0, {SMALL!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3], env={"PYTHONHASHSEED": "7"})
    assert digests(tmp_path) == digests(world)


def test_another_seed_is_another_world(world: Path, tmp_path: Path) -> None:
    micro.write(tmp_path, seed=1, sizes=SMALL)
    other, own = digests(tmp_path), digests(world)
    assert other.keys() == own.keys()
    assert other["amber/image/AMBER_1.jpg"] != own["amber/image/AMBER_1.jpg"]


def test_perfect_knowledge_of_the_objects_ranks_every_true_caption_first(caps: list[tuple[Scene, dict]]) -> None:
    for drawn, annotation in caps:
        true = set(drawn.names())
        scores = [(overlap(text, true), text) for kind in KINDS for text in annotation[f"{kind}_samples"].values()]
        assert overlap(annotation["positive_sample"], true) == 1
        assert max(scores)[0] < 1


def overlap(text: str, true: set[str]) -> float:
    named = set(text.replace(",", "").split()) & set(CLASSES)
    return len(named & true) / len(named | true)


@pytest.mark.parametrize("size", [len, lambda text: len(text.split())], ids=["characters", "words"])
@pytest.mark.parametrize("wanted", ["longest", "shortest", "middle"])
def test_length_alone_ranks_at_chance(caps: list[tuple[Scene, dict]], size, wanted: str) -> None:
    right = 0.0
    for _, annotation in caps:
        true = annotation["positive_sample"]
        texts = [true, *(text for kind in KINDS for text in annotation[f"{kind}_samples"].values())]
        sizes = sorted(map(size, texts))
        target = {"longest": sizes[-1], "shortest": sizes[0], "middle": sizes[14]}[wanted]
        off = [abs(size(text) - target) for text in texts]
        right += (off[0] == min(off)) / off.count(min(off))
    # Chance is 1/28 = 3.6 %; two standard errors of 450 rows are 1.8.
    assert right / len(caps) < 0.054


def test_a_caption_row_has_the_official_kinds_and_keys(shared: Path, world: Path) -> None:
    official = lines(shared / "data" / "ohd_caps" / "test" / "flickr_annotations.json")[0]
    own = lines(world / "ohd_caps" / "test" / "flickr_annotations.json")[0]
    assert list(own) == list(official)
    for kind in KINDS:
        assert len(own[f"{kind}_samples"]) == len(official[f"{kind}_samples"])


def test_labels_point_at_the_true_caption(world: Path) -> None:
    for source in SOURCES:
        folder = world / "ohd_caps" / "test"
        pairs = zip(
            lines(folder / f"{source}_annotations.json"), lines(folder / f"{source}_out_label.json"), strict=True
        )
        for annotation, label in pairs:
            assert len(label["caption"]) == 28
            assert label["caption"][label["label"]] == annotation["positive_sample"]
            assert label["caption"].count(annotation["positive_sample"]) == 1
            assert (world / "ohd_caps" / "images" / label["image"]).is_file()


def test_splits_share_no_scene() -> None:
    seen = [
        {tuple(drawn.things) for drawn, _ in rows_of(f"0/{part}", SOURCES["coco"], 100)}
        for part in ("train", "dev", "test/coco")
    ]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_amber_files_are_laid_out_like_the_official_ones(world: Path, shared: Path) -> None:
    official, own = shared / "data" / "amber", world / "amber"
    for name in amber.QUERY_FILES:
        theirs = json.loads((official / "query" / f"{name}.json").read_text())
        ours = json.loads((own / "query" / f"{name}.json").read_text())
        assert ours[0].keys() == theirs[0].keys()
    theirs, ours = (json.loads((folder / "annotations.json").read_text()) for folder in (official, own))
    assert {item["type"] for item in ours} == {item["type"] for item in theirs}
    assert [item["id"] for item in ours] == list(range(1, len(ours) + 1))
    assert json.loads((own / "relation.json").read_text()) == RELATION


def test_amber_truths_follow_from_the_scene() -> None:
    drawn = Scene(
        "test",
        "garden",
        (
            Thing("cat", "red", "sit", 0),
            Thing("tree", "green", "", 1),
            Thing("tree", "green", "", 15),
            Thing("ball", "blue", "", 12),
        ),
    )
    found = {
        query: truth for ask in (amber.attributes, amber.existence, amber.relations) for _, query, truth in ask(drawn)
    }
    truths = {
        "Does the cat sit in this image?": "yes",
        "Does the cat lie in this image?": "no",
        "Are there two trees in this image?": "yes",
        "Is there direct contact between the cat and tree?": "yes",
        "Is there direct contact between the cat and ball?": "no",
    }
    assert all(found.get(query, truth) == truth for query, truth in truths.items())
    assert sum(query in found for query in truths) >= 4
    assert set(amber.hallucinations(drawn)).isdisjoint(drawn.names())


def test_pope_asks_as_often_about_what_is_there_as_about_what_is_not(world: Path) -> None:
    for sampling in ("random", "popular", "adversarial"):
        items = lines(world / "pope" / f"coco_pope_{sampling}.json")
        assert [item["question_id"] for item in items] == list(range(1, len(items) + 1))
        assert sum(item["label"] == "yes" for item in items) * 2 == len(items)
        assert all((world / "pope" / "images" / item["image"]).is_file() for item in items)


def test_every_class_colour_and_pose_can_be_told_apart_by_its_pixels() -> None:
    looks = {
        draw(Scene("same", "garden", (Thing(name, colour, pose, 5),))).tobytes()
        for name in CLASSES
        for colour in COLOURS
        for pose in POSES.get(name, ("",))
    }
    assert len(looks) == len(COLOURS) * (len(CLASSES) + len(POSES))


def test_a_row_is_the_same_for_the_same_scene() -> None:
    drawn = scene("row", SOURCES["coco"])
    assert row(drawn) == row(scene("row", SOURCES["coco"]))


def test_yes_and_no_are_right_equally_often_in_the_questions_of_other_benchmarks(world: Path) -> None:
    listed = [json.loads((world / "dash_b" / f"dash_benchmark_{part}.json").read_text()) for part in ("neg", "pos")]
    assert [sum(map(len, one["micro"].values())) for one in listed] == [56, 56]
    asked = [path.read_text().splitlines() for path in (world / "mme").glob("*/*.txt")]
    assert asked
    assert all([line.rpartition("\t")[2] for line in lines] == ["Yes", "No"] for lines in asked)
    rows = json.loads((world / "hallusion" / "HallusionBench.json").read_text())
    assert sum(row["gt_answer"] == "1" for row in rows) * 2 == len(rows)
    assert all((world / "hallusion" / row["filename"]).is_file() for row in rows if row["visual_input"] == "1")


def test_dash_bs_pictures_without_an_object_show_what_goes_with_it() -> None:
    pool = [scene(f"dash/{n}", Mix(least=2)) for n in range(100)]
    found = questions.misleading("flower", pool, 3)
    assert all(not one.number("flower") for one in found)
    assert {"tree", "bird"} & {name for one in found for name in one.names()}


def test_repope_leaves_out_what_is_hard_to_see_and_changes_no_label(world: Path) -> None:
    for sampling in ("random", "popular", "adversarial"):
        plain = lines(world / "pope" / f"coco_pope_{sampling}.json")
        kept = lines(world / "pope" / "repope" / f"coco_repope_{sampling}.json")
        assert all(row in plain for row in kept)
    hidden = Scene("x", "beach", (Thing("ball", "yellow", "", 5), Thing("boat", "red", "", 9)))
    row = {"text": "Is there a ball in the image?", "label": "yes"}
    assert questions.clear(hidden, row | {"text": "Is there a boat in the image?"})
    assert not questions.clear(Scene("x", "kitchen", (Thing("ball", "white", "", 5),)), row)


@pytest.mark.parametrize("category", list(pairs.SUGAR_CREPE))
def test_a_false_caption_of_two_things_is_false(category: str) -> None:
    for n in range(60):
        drawn = pairs.duo(f"false/{n}")
        said = pairs.sugar_crepe({"a.jpg": drawn}, category)["0"]
        true, false = said["caption"], said["negative_caption"]
        assert true != false
        assert set(drawn.names()) & set(true.replace(",", "").split())
        if category.startswith("swap"):
            assert sorted(true.split()) == sorted(false.split())


def test_things_stand_where_a_pair_says(world: Path) -> None:
    drawn = Scene("x", "garden", (Thing("cat", "red", "sit", 0), Thing("cup", "blue", "", 6)))
    assert (pairs.relation(drawn, False), pairs.relation(drawn, True)) == ("above", "to the left of")
    turned = pairs.turned(drawn, painted=False)
    assert (pairs.relation(turned, False), pairs.relation(turned, True)) == ("below", "to the right of")
    painted = pairs.turned(drawn, painted=True)
    assert [(one.name, one.colour, one.cell) for one in painted.things] == [("cat", "blue", 0), ("cup", "red", 6)]
    rows = json.loads((world / "aro" / "visual_genome_attribution.json").read_text())
    assert all(row["true_caption"] != row["false_caption"] for row in rows)
    assert len(rows) == pairs.OFTEN * len(pairs.ATTRIBUTES)
