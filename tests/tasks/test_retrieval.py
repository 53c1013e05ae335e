"""Retrieval: places in one gallery, as clip-benchmark counts them, in bounded memory."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from harness import registry
from harness.asking import retrieve
from harness.asking.evaluate import open_task
from harness.errors import BrokenDataError, DataError, UsageError
from harness.images import open_image
from harness.types import Answer, Asked, Failure, Place
from tasks.retrieval import Retrieval

registry.load()
PLACE = Place(device="cpu")
WORDS = ["red", "blue", "green", "car", "cup", "tree", "star", "house", "moon", "boat", "cat", "dog"]


@pytest.fixture
def folder(tmp_path):
    """Thirty pictures with two to four captions each."""
    rng = np.random.default_rng(3)
    (tmp_path / "images").mkdir()
    rows = []
    for n in range(30):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((40, 40)).save(
            tmp_path / f"images/{n}.png"
        )
        captions = [f"a {' '.join(rng.choice(WORDS, 4))} {n} {k}" for k in range(2 + n % 3)]
        rows.append({"image": f"{n}.png", "caption": captions})
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    return tmp_path


def replies(task, encoder):
    samples = list(task.samples())
    found = dict(retrieve.retriever(encoder, PLACE, samples)([Asked(None, (sample,)) for sample in samples]))
    return samples, [found[sample] for sample in samples]


def recalls(task, samples, answers):
    """R@k of each group, in fractions."""
    found = {}
    for group in ("image-to-text", "text-to-image"):
        counts = [task.count(s, a) for s, a in zip(samples, answers, strict=True) if s.group == group]
        found[group] = {k: sum(c[f"found{k}"] for c in counts) / len(counts) for k in (1, 5, 10)}
    return found


def test_recalls_are_those_of_clip_benchmark_itself(folder):
    theirs = pytest.importorskip("clip_benchmark.metrics.zeroshot_retrieval", reason="clip-benchmark is not installed")
    task, encoder = Retrieval(folder, source=str(folder / "mine.json")), registry.make_encoder("micro", PLACE)
    samples, answers = replies(task, encoder)
    ours = recalls(task, samples, answers)

    class Model:
        def encode_image(self, batch):
            return batch

        def encode_text(self, batch):
            return batch

    pictures = [s for s in samples if s.group == "image-to-text"]
    loader = [
        (
            encoder.encode_images([open_image(s.image) for s in pictures[n : n + 8]]),
            [list(s.texts) for s in pictures[n : n + 8]],
        )
        for n in range(0, len(pictures), 8)
    ]
    told = theirs.evaluate(Model(), loader, encoder.encode_texts, "cpu", amp=False, recall_k_list=[1, 5, 10])
    for k in (1, 5, 10):
        assert ours["text-to-image"][k] == pytest.approx(told[f"image_retrieval_recall@{k}"], abs=1e-6)
        assert ours["image-to-text"][k] == pytest.approx(told[f"text_retrieval_recall@{k}"], abs=1e-6)


def test_a_place_is_one_more_than_all_that_score_as_much(folder):
    task, encoder = Retrieval(folder, source=str(folder / "mine.json")), registry.make_encoder("micro", PLACE)
    samples, answers = replies(task, encoder)
    pictures = [s for s in samples if s.group == "image-to-text"]
    captions = [s for s in samples if s.group == "text-to-image"]
    image_ND = encoder.encode_images([open_image(s.image) for s in pictures])
    text_MD = encoder.encode_texts([s.texts[0] for s in captions])
    score_NM = (image_ND @ text_MD.T).numpy()
    owner = [[p.image for p in pictures].index(c.image) for c in captions]
    found = dict(zip(samples, answers, strict=True))
    for m, sample in enumerate(captions):
        assert found[sample].scores == (float((score_NM[:, m] >= score_NM[owner[m], m] - 1e-7).sum()),)
    for n, sample in enumerate(pictures):
        own = [m for m in range(len(captions)) if owner[m] == n]
        assert list(found[sample].scores) == [float((score_NM[n] >= score_NM[n, m] - 1e-7).sum()) for m in own]


def test_the_answer_is_the_same_however_few_similarities_are_held(folder, monkeypatch):
    task, encoder = Retrieval(folder, source=str(folder / "mine.json")), registry.make_encoder("micro", PLACE)
    whole = replies(task, encoder)[1]
    monkeypatch.setattr(retrieve, "SCORES_AT_ONCE", 90)
    assert replies(task, encoder)[1] == whole


class Same:
    spec = "same"

    def encode_images(self, images):
        return torch.nn.functional.normalize(torch.ones(len(images), 4), dim=-1)

    def encode_texts(self, texts):
        return torch.nn.functional.normalize(torch.ones(len(texts), 4), dim=-1)


def test_what_scores_the_same_counts_as_before(folder):
    task = Retrieval(folder, source=str(folder / "mine.json"))
    samples, answers = replies(task, Same())
    assert recalls(task, samples, answers)["text-to-image"][10] == 0


def test_a_damaged_picture_fails_alone_and_is_no_part_of_the_gallery(folder):
    (folder / "images" / "7.png").write_bytes(b"\x89PNG no")
    samples, answers = replies(Retrieval(folder, source=str(folder / "mine.json")), Same())
    failed = [s for s, a in zip(samples, answers, strict=True) if isinstance(a, Failure)]
    assert {s.image.name for s in failed} == {"7.png"}
    assert len(failed) == 4
    kept = [(s, a) for s, a in zip(samples, answers, strict=True) if s not in failed]
    places = {a.scores for s, a in kept if s.group == "text-to-image"}
    assert places == {(29.0,)}


def test_asked_through_the_front_door_resumed_and_asked_anew_in_another_gallery(cli, folder, tmp_path):
    def run(*more):
        asked = ("-e", "micro", "-t", f"retrieval?source={folder / 'mine.json'}", "--data", folder)
        said = cli("run", *asked, "--results", tmp_path / "r", "--json", *more)
        assert said.code == 0, said.err
        return {(row["group"], row["metric"]): row["values"][0]["value"] for row in said.json()["rows"]}

    first = run()
    (path,) = (tmp_path / "r").glob("*/*/records.jsonl")
    before = path.read_text()
    assert run() == first
    assert path.read_text() == before
    path.write_text("".join(before.splitlines(keepends=True)[::2]))
    assert run() == first
    smaller = run("--limit", "10")
    assert smaller["text-to-image", "R@10"] == 100


def test_karpathys_and_blips_files_are_read(tmp_path):
    (tmp_path / "coco").mkdir()
    images = [{"filename": f"{n}.jpg", "split": split, "sentences": [{"raw": "A cat. "}, {"raw": "Two cats."}]}
              for n, split in enumerate(("train", "test", "val", "test"))]  # fmt: skip
    (tmp_path / "coco" / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    every = list(Retrieval(tmp_path).samples())
    assert [s.image.name for s in every if s.group == "image-to-text"] == ["1.jpg", "3.jpg"]
    assert every[0].texts == ("A cat.", "Two cats.")
    (tmp_path / "coco" / "dataset_coco.json").unlink()
    rows = [{"image": "val2014/COCO_val2014_000000000042.jpg", "caption": ["one", "two"]}]
    (tmp_path / "coco" / "coco_karpathy_test.json").write_text(json.dumps(rows))
    assert [len(s.texts) for s in Retrieval(tmp_path).samples()] == [2, 1, 1]


@pytest.mark.parametrize("shape", ["a list", "a row a caption", "captions", "coco", "lines"])
def test_captions_are_read_in_every_shape_that_users_have_them_in(tmp_path, shape):
    said = {"0.jpg": ["a cat", "one cat"], "1.jpg": ["a dog"], "2.jpg": ["trees", "a wood", "green"]}
    singly = [{"image": name, "caption": text} for name, texts in said.items() for text in texts]
    told = {
        "a list": [{"image": name, "caption": texts} for name, texts in said.items()],
        "captions": [{"image": name, "captions": texts} for name, texts in said.items()],
        "a row a caption": [*singly[1:], singly[0]],
        "lines": singly,
        "coco": {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(said)],
            "annotations": [
                {"image_id": n, "id": n, "caption": text} for n, one in enumerate(said.values()) for text in one
            ],
        },
    }[shape]
    text = "".join(f"{json.dumps(row)}\n" for row in told) if shape == "lines" else json.dumps(told)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "own.json").write_text(text)
    (tmp_path / "val2017").mkdir()
    for n, name in enumerate(said):
        Image.new("RGB", (8, 8), (n * 60, 90, 40)).save(tmp_path / "val2017" / name)
    task = Retrieval(tmp_path, source=str(tmp_path / "annotations" / "own.json"))
    found = {s.image: set(s.texts) for s in task.samples() if s.group == "image-to-text"}
    assert found == {tmp_path / "val2017" / name: set(texts) for name, texts in said.items()}


def test_a_coco_file_with_a_picture_without_captions_or_with_odd_notes_is_named(tmp_path):
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(2)]
    for notes, why in (
        ([{"image_id": 0, "caption": "a cat"}], "line 2: has no caption"),
        ([{"image": 0, "caption": "a cat"}], "is not COCO's captions file: KeyError 'image_id'"),
        ([{"image_id": 0, "caption": 7}], "line 1: 'caption' is"),
    ):
        (tmp_path / "own.json").write_text(json.dumps({"images": images, "annotations": notes}))
        with pytest.raises(BrokenDataError, match=re.escape(why)):
            list(Retrieval(tmp_path, source=str(tmp_path / "own.json")).samples())


def test_what_cannot_be_read_is_named(tmp_path, folder):
    with pytest.raises(UsageError, match="retrieval has no source 'vg'"):
        Retrieval(tmp_path, source="vg")
    with pytest.raises(DataError, match="holds no captions of pictures"):
        list(Retrieval(tmp_path / "none").samples())
    rows = json.loads((folder / "mine.json").read_text())
    (folder / "mine.json").write_text(json.dumps([*rows, rows[0]]))
    with pytest.raises(BrokenDataError, match=r"0\.png stands on line 1 already"):
        list(Retrieval(folder, source=str(folder / "mine.json")).samples())
    (folder / "mine.json").write_text(json.dumps([rows[0] | {"caption": []}]))
    with pytest.raises(BrokenDataError, match="has no caption"):
        list(Retrieval(folder, source=str(folder / "mine.json")).samples())


def test_a_perfect_and_a_worst_model_have_all_and_nothing(folder):
    task = open_task(f"retrieval?source={folder / 'mine.json'}", folder)
    sample = next(iter(task.samples()))
    assert task.count(sample, Answer(scores=(1.0, 30.0)))["found1"] == 1
    assert task.count(sample, Answer(scores=(11.0, 30.0)))["found10"] == 0
