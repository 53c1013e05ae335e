"""``study --ray`` and ``data build-ohd --ray``: made in a cluster as here, and what a machine does not see is told."""

from __future__ import annotations

import json
from pathlib import Path

from harness import micro
from harness.micro.captions import web_caption
from harness.micro.draw import draw
from harness.micro.folder import Sizes
from harness.micro.scene import Mix, scene

STUDY = """
name = "small"
title = "A small study"
base = "micro"
lvlm = "micro-llava"
seeds = 1
tasks = ["pope"]

[arms.full]
recipe = "micro-ohd"
lvlm = true
set = { steps = 2, batch = 8, replay_batch = 4, dev_samples = 2, evaluate_every = 2, save_every = 1 }

[alignments.own]
how = "pretrain"
data = "talk.json"
set = { updates = 2, batch = 4, micro_batch = 4, validation = 0.0 }

[[contrasts]]
base = "base"
candidate = "full"
says = "training"
over = "none"

[[tables]]
title = "POPE"
task = "pope"
columns = ["accuracy"]
"""
DRAWN = Path("ohd_caps") / "test" / "drawn_annotations.json"


def drawn_pictures(folder: Path) -> list[object]:
    """The words for a dozen drawn pictures with captions and their truth."""
    (folder / "pictures").mkdir()
    said, truth = [], []
    for n in range(12):
        seen, name = scene(f"build/{n}", Mix(least=3)), f"{n:03d}.png"
        draw(seen).save(folder / "pictures" / name)
        said.append({"image": name, "captions": [web_caption(seen, take) for take in range(3)]})
        truth.append({"image": name, "objects": list(seen.names())})
    for name, told in (("captions", said), ("truth", truth)):
        (folder / f"{name}.json").write_text(json.dumps(told))
    rows = ("--captions", folder / "captions.json", "--objects", f"truth:{folder / 'truth.json'}")
    return ["--images", folder / "pictures", *rows]


def _json(path: Path) -> dict:
    return json.loads(path.read_text())


def talk(world: Path) -> Path:
    """A file of conversations to align on, about the pictures of this world."""
    rows = []
    for line in (world / "web" / "captions.json").read_text().splitlines():
        one = json.loads(line)
        asked = {"from": "human", "value": "<image>\nDescribe this image."}
        said = [asked, {"from": "gpt", "value": one["caption"]}]
        rows.append({"image": f"web/images/{one['image']}", "conversations": said})
    (world / "talk.json").write_text(json.dumps(rows))
    return world / "talk.json"


def made_of(aligned: dict) -> list[tuple]:
    """What every stage of an alignment came to: losses, rows, digests of its parts."""
    return [(one["loss"], one["data"], one["projector"], one["tower"]) for one in aligned["stages"]]


def test_a_study_and_a_build_are_made_in_a_cluster_and_folders_that_a_machine_does_not_see_are_named(
    cli, tmp_path, two_raylets
):
    two_raylets.require_hiding()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "study.toml").write_text(STUDY)
    world = tmp_path / "data"
    micro.write(world, 0, Sizes(amber=2, caps=4, dev=4, train=16, web=6, pope=2, zero_shot=1))
    rows = talk(world)
    with two_raylets(2, tmp_path / "hidden") as cluster:
        ray = ("--ray", cluster.stdout.readline().strip(), "--workers", "1")
        study = ("study", tmp_path / "study.toml", "--data", world)
        unseen = cli(*study, "--out", tmp_path / "hidden" / "out", *ray)
        assert unseen.code == 3
        assert f"does not see {tmp_path / 'hidden' / 'out'}: --out is to be on storage that all share" in unseen.err
        assert not list((tmp_path / "hidden" / "out").glob(".seen-*"))
        made = cli(*study, "--out", tmp_path / "out", *ray, "--json")
        assert (made.code, made.json()["left"]) == (0, 0), made.err
        [trained] = tmp_path.glob("out/trainings/*")
        grown = {told["encoder"]: told for told in map(_json, tmp_path.glob("out/alignments/*/align.json"))}
        assert set(grown) == {"micro", f"clip:{trained}"}
        build = ("data", "build-ohd", *drawn_pictures(tmp_path), "--name", "drawn", "--block", "4")
        there = cli(*build, "--out", tmp_path / "hidden" / "built", *ray)
        assert there.code == 0, there.err
    settings = [word for one in ("updates=2", "batch=4", "micro_batch=4", "validation=0.0") for word in ("--set", one)]
    words = ("--stage", "pretrain", "--data", rows, "--seed", 0, *settings, "--out", tmp_path / "grown")
    here = cli("align", f"clip:{trained}", "--lvlm", "micro-llava", *words)
    assert here.code == 0, here.err
    assert made_of(_json(tmp_path / "grown" / "align.json")) == made_of(grown[f"clip:{trained}"]), "to the bit"
    assert cli(*build, "--out", tmp_path / "here").code == 0
    assert (tmp_path / "hidden" / "built" / DRAWN).read_bytes() == (tmp_path / "here" / DRAWN).read_bytes()
