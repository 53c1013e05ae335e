"""The micro LVLM learns to read an eye from the micro world's rows, and from pictures of other rows it does not."""

from __future__ import annotations

import json

import pytest

from harness import data, registry
from harness.types import Place


@pytest.fixture(scope="module")
def rows():
    folder = data.micro_alignment()
    found = json.loads((folder / "conversations.json").read_text())[:800]
    return folder, found


def test_held_out_loss_falls_with_the_pictures_and_not_with_those_of_other_rows(cli, rows, tmp_path):
    folder, found = rows
    shuffled = [{**row, "image": found[(n + 5 * 67) % len(found)]["image"]} for n, row in enumerate(found)]
    last = {}
    for name, kept in (("own", found), ("shuffled", shuffled)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(kept))
        said = cli("align", "micro-ohd", "--lvlm", "micro-llava", "--stage", "pretrain", "--data", path,
                   "--images", folder, "--out", tmp_path / name, "--set", "updates=50", "--set", "validation=0.08",
                   "--set", "evaluate_every=50", "--seed", 1, "--device", "cpu", "--json")  # fmt: skip
        assert said.code == 0, said.err
        (_, first), (_, last[name]) = json.loads((tmp_path / name / "align.json").read_text())["stages"][0][
            "held_out_loss"
        ]
        if name == "own":
            assert last[name] < 0.7 * first
    assert last["shuffled"] > 1.25 * last["own"]


def test_the_micro_worlds_own_rows_are_all_usable(rows):
    folder, _ = rows
    talk = json.loads((folder / "conversations.json").read_text())
    assert len(talk) == 15000
    assert all(row["conversations"][0]["value"].startswith("<image>\n") for row in talk)
    assert all(len(row["conversations"]) == 2 and row["conversations"][1]["value"] for row in talk)


def test_a_folder_written_here_is_asked_as_it_was_trained_without_saying_so(cli, tmp_path):
    folder = tmp_path / "grown"
    assert cli("align", "micro", "--lvlm", "micro-llava", "--stage", "pretrain", "--data", "micro", "--out", folder,
               "--set", "updates=2", "--set", "validation=0", "--device", "cpu").code == 0  # fmt: skip
    merged = tmp_path / "merged"
    assert cli("encoder", "merge", "micro-ohd", "--into", f"llava:{folder}", "--out", merged).code == 0
    for place in (folder, merged):
        told = registry.make_lvlm(f"llava:{place}", Place(device="cpu"))(None).describe()
        assert (told["template"], told["pad"]) == ("chat", "pad")
        other = registry.make_lvlm(f"llava:{place}?template=vicuna-v1&pad=crop", Place(device="cpu"))(None).describe()
        assert (other["template"], other["pad"]) == ("vicuna-v1", "crop")


def test_a_stage_trained_in_other_words_is_asked_in_them(cli, tmp_path):
    folder = tmp_path / "grown"
    assert cli("align", "micro", "--lvlm", "micro-llava", "--stage", "lora", "--data", "micro", "--out", folder,
               "--set", "updates=2", "--set", "validation=0", "--set", "template=vicuna-v1",
               "--device", "cpu").code == 0  # fmt: skip
    assert registry.make_lvlm(f"llava:{folder}", Place(device="cpu"))(None).describe()["template"] == "vicuna-v1"
    assert "template=vicuna-v1" in json.loads((folder / "align.json").read_text())["spec"]
