"""Zero-shot sets from anywhere: template ensembles as clip-benchmark makes them, classes by convention, importers."""

from __future__ import annotations

import csv
import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from harness import class_import, registry
from harness.asking.ask import ranker
from harness.asking.classifiers import Classifiers
from harness.comparison import metric_table
from harness.errors import BrokenDataError, DataError, UsageError
from harness.images import open_image
from harness.records import Record
from harness.scoring import published
from harness.types import Answer, Asked, Place
from tasks.zero_shot import FORGETTING, ZeroShot

registry.load()
PLACE = Place(device="cpu")
TEMPLATES = ["a picture of a {}", "a small {}", "the {} again"]


def picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((32, 32))


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def ensemble(tmp_path):
    folder = tmp_path / "zero_shot" / "mine"
    for n, name in enumerate(("0000", "0001", "0002")):
        (folder / name).mkdir(parents=True)
        for k in range(4 + n):
            picture(10 * n + k).save(folder / name / f"{k}.png")
    (folder / "classnames.txt").write_text("tree\nred cup\ncar\n")
    (folder / "templates.txt").write_text("\n".join(TEMPLATES) + "\n")
    return tmp_path


def test_an_ensembles_scores_are_those_of_clip_benchmarks_own_classifier(ensemble):
    theirs = pytest.importorskip("clip_benchmark.metrics.zeroshot_classification", reason="clip-benchmark is not there")
    encoder, task = registry.make_encoder("micro", PLACE), ZeroShot(ensemble)

    class Model:
        def encode_text(self, texts):
            return encoder.encode_texts(texts)

    templates = [template.replace("{}", "{c}") for template in TEMPLATES]
    weights = theirs.zero_shot_classifier(
        Model(), lambda texts: Texts(texts), ["tree", "red cup", "car"], templates, "cpu", False
    )
    samples = list(task.samples())
    answers = dict(ranker(encoder, PLACE)([Asked(open_image(s.image), (s,)) for s in samples]))
    rows = encoder.encode_images([open_image(s.image) for s in samples])
    for sample, row in zip(samples, rows, strict=True):
        assert answers[sample].scores == pytest.approx((row @ weights).tolist(), abs=2e-6)
    logits, target = rows @ weights, torch.tensor([int(s.target) for s in samples])
    counts = [task.count(s, answers[s]) for s in samples]
    right = float((logits.argmax(1) == target).float().mean())
    assert sum(c["right"] for c in counts) / len(counts) == pytest.approx(right)
    per_class = np.mean([(logits[target == c].argmax(1) == c).float().mean() for c in range(3)])
    shares = [sum(c[key] for c in counts) for key in ("class_right", "class_n")]
    assert shares[0] / shares[1] == pytest.approx(per_class)


class Texts(list):
    """Captions that go to a device by staying where they are."""

    def to(self, device):
        return self


def test_a_classifier_is_made_once_and_read_by_the_next_run(tmp_path):
    calls = []

    class Encoder:
        def digest(self):
            return "d"

        def describe(self):
            return {"activation": "gelu"}

        def encode_texts(self, texts):
            calls.append(len(texts))
            return torch.nn.functional.normalize(torch.randn(len(texts), 6, generator=torch.manual_seed(1)), dim=-1)

    first = Classifiers(Encoder(), tmp_path).of(("a", "b"), tuple(TEMPLATES))
    again = Classifiers(Encoder(), tmp_path).of(("a", "b"), tuple(TEMPLATES))
    assert torch.equal(first, again)
    assert calls == [6]
    Classifiers(Encoder(), tmp_path).of(("b", "a"), tuple(TEMPLATES))
    assert calls == [6, 6]


def test_sets_are_averaged_each_by_its_convention(tmp_path):
    for name in ("pets", "cifar10"):
        for label, many in (("cat", 4), ("dog", 1)):
            (tmp_path / "zero_shot" / name / label).mkdir(parents=True)
            for n in range(many):
                picture(n).save(tmp_path / "zero_shot" / name / label / f"{n}.png")
    task = ZeroShot(tmp_path)
    samples = list(task.samples())
    always_cat = Answer(scores=(1.0, 0.0))
    records = [Record(s.id, s.id, s.group, "", "", always_cat, task.count(s, always_cat)) for s in samples]
    found = {
        group: {name: one.value for name, one in scores.items()}
        for group, scores in metric_table.scores(task, records).items()
    }
    assert (found["pets"]["top1"], found["pets"]["mean_per_class"]) == (80, 50)
    assert found[""]["average"] == pytest.approx((50 + 80) / 2)
    assert {s.group for s in ZeroShot(tmp_path, sets="pets").samples()} == {"pets"}
    with pytest.raises(DataError, match="holds no set called food; there is cifar10, pets"):
        list(ZeroShot(tmp_path, sets="food").samples())


def test_tars_in_clip_benchmarks_layout_become_class_folders(cli, tmp_path):
    (tmp_path / "wds" / "test").mkdir(parents=True)
    with tarfile.open(tmp_path / "wds" / "test" / "0.tar", "w") as archive:
        for n in range(6):
            for suffix, data in (("cls", str(n % 2).encode()), ("jpg", jpeg(n))):
                info = tarfile.TarInfo(f"{n:04d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    (tmp_path / "wds" / "classnames.txt").write_text("cat\ndog\n")
    out = tmp_path / "data" / "zero_shot" / "pets"
    said = cli("data", "classes", f"wds:{tmp_path / 'wds'}", "--out", out)
    assert said.code == 0, said.err
    assert "6 pictures in 2 classes, 0 templates" in said.out
    assert [path.read_bytes() for path in sorted((out / "0001").iterdir())] == [jpeg(1), jpeg(3), jpeg(5)]
    first = next(iter(ZeroShot(tmp_path / "data").samples()))
    assert first.texts == ("a photo of a cat.", "a photo of a dog.")


def test_a_csv_becomes_class_folders_and_a_missing_picture_is_named(tmp_path):
    for n in range(4):
        picture(n).save(tmp_path / f"{n}.png")
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["filepath", "label"], *([f"{n}.png", ("red_cup", "tree")[n % 2]] for n in range(4))]
        )
    told = class_import.write(f"csv:{tmp_path / 'list.csv'}", tmp_path / "out", "test")
    assert (told["pictures"], told["classes"]) == (4, 2)
    assert (tmp_path / "out" / "classnames.txt").read_text() == "red cup\ntree\n"
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 pictures are missing, .*2\.png"):
        class_import.write(f"csv:{tmp_path / 'list.csv'}", tmp_path / "again", "test")


def test_torchvisions_own_sets_are_taken_by_name(ensemble, tmp_path):
    told = class_import.write(f"torchvision:ImageFolder:{ensemble / 'zero_shot' / 'mine'}", tmp_path / "out", "test")
    assert (told["pictures"], told["classes"]) == (15, 3)
    with Image.open(tmp_path / "out" / "0001" / "000004.png") as image:
        assert image.tobytes() == picture(10).tobytes()
    with pytest.raises(DataError, match="torchvision:CIFAR10: "):
        class_import.write(f"torchvision:CIFAR10:{tmp_path / 'none'}", tmp_path / "again", "test")
    with pytest.raises(UsageError, match="has no 'CIFAR11'"):
        class_import.write(f"torchvision:CIFAR11:{tmp_path}", tmp_path / "again", "test")


def test_prompts_come_from_the_packages_that_publish_them():
    import open_clip

    pytest.importorskip("clip_benchmark")
    names, templates = class_import.published("imagenet1k")
    assert (len(names), len(templates)) == (1000, 80)
    assert templates[0] == open_clip.OPENAI_IMAGENET_TEMPLATES[0]("{}")
    assert class_import.published("cifar10")[1][0] == "a photo of a {}."
    with pytest.raises(UsageError, match="has no templates for 'cifar11'"):
        class_import.published("cifar11")


def test_what_does_not_fit_a_set_is_named(ensemble):
    folder = ensemble / "zero_shot" / "mine"
    (folder / "classnames.txt").write_text("tree\ncar\n")
    with pytest.raises(BrokenDataError, match=r"names 2 classes, .* holds 3 class folders"):
        list(ZeroShot(ensemble).samples())
    (folder / "classnames.txt").unlink()
    (folder / "templates.txt").write_text("a picture\n")
    with pytest.raises(BrokenDataError, match=r"with \{\} where the class stands"):
        list(ZeroShot(ensemble).samples())
    with pytest.raises(UsageError, match="is no source; there is torchvision:NAME:ROOT"):
        class_import.write("imagenet", ensemble / "x", "test")


def test_another_ensemble_is_another_question(cli, ensemble, tmp_path):
    def keys():
        said = cli("run", "-e", "micro", "-t", "zero-shot", "--data", ensemble, "--results", tmp_path / "r")
        assert said.code == 0, said.err
        return {
            row["key"] for path in (tmp_path / "r").glob("*/*/records.jsonl") for row in map(json.loads, path.open())
        }

    before = keys()
    (ensemble / "zero_shot" / "mine" / "templates.txt").write_text("one {}\nanother {}\n")
    assert len(keys() - before) == len(before)


def test_the_papers_table_3_is_one_group_with_its_average_and_its_rows_beside(cli, tmp_path):
    for name in FORGETTING:
        for label in ("cat", "dog"):
            (tmp_path / "zero_shot" / name / label).mkdir(parents=True)
            for n in range(3):
                picture(n).save(tmp_path / "zero_shot" / name / label / f"{label}{n}.png")
    words = ("run", "-e", "micro", "-e", "hashing", "-t", "zero-shot?sets=forgetting", "--data", tmp_path)
    said = cli(*words, "--results", tmp_path / "r", "--json")
    assert said.code == 0, said.err
    rows = {(row["group"], row["metric"]): row for row in said.json()["rows"]}
    means = [[rows[name, "top1"]["values"][n]["value"] for name in FORGETTING] for n in (0, 1)]
    average = rows["all", "average"]
    assert [one["value"] for one in average["values"]] == pytest.approx([sum(one) / 6 for one in means])
    assert average["differences"][1]["low"] <= average["differences"][1]["value"] <= average["differences"][1]["high"]
    table = cli(*words, "--results", tmp_path / "r").out
    assert "arXiv 2410.03176 (EMNLP 2024), table 3" in table and "average 65.6" in " ".join(table.split())
    assert "cifar10 top1 89.8" in " ".join(table.split())
    (tmp_path / "zero_shot" / "stl10").rename(tmp_path / "zero_shot" / "STL10")
    said = cli(*words, "--results", tmp_path / "r")
    assert said.code == 3 and "stl10" in said.err and "ohd-bench data classes" in said.err


def test_published_rows_are_quoted_where_data_is_real_alone(cli, tmp_path):
    said = cli("run", "-e", "hashing", "-t", "ohd-caps", "--limit", 2, "--data", "micro", "--results", tmp_path)
    assert said.code == 0 and "published" not in said.out
    table3 = [one for one in published.of("zero-shot") if one.source.endswith("table 3")]
    for one in table3:
        sets = [one.values[name]["top1"] for name in FORGETTING]
        assert one.values["all"]["average"] == pytest.approx(sum(sets) / 6, abs=0.051), one.model
    assert {one.model for one in published.about("retrieval?source=coco")} == {
        "CLIP ViT-B/32", "CLIP ViT-L/14", "CLIP ViT-L/14-336"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "groups"),
    [
        ("pope", {"random", "popular", "adversarial", "pooled"}),
        ("pope?source=coco", {"random", "popular", "adversarial", "pooled"}),
        ("pope?source=flickr", {"pooled"}),
        ("pope?source=mine", set()),
        ("pope?labels=repope", set()),
        ("pope?questions=other.jsonl", set()),
        ("ohd-caps?source=coco", {"coco"}),
        ("ohd-caps?source=mine", set()),
        ("ohd-caps?scorer=f-clipscore", set()),
        ("zero-shot?sets=cifar10", {"cifar10"}),
        ("chair?images=mine.json", set()),
        ("pairs?source=mine.json", set()),
        ("pairs?source=aro-coco-order", {"all"}),
    ],
)
def test_numbers_on_other_data_labels_or_scorers_are_not_quoted(spec, groups):
    assert {group for one in published.about(spec) for group in one.values} == groups


def test_sugar_crepes_published_means_are_those_of_its_columns():
    rows = [one for one in published.about("pairs?source=sugar-crepe") if len(one.values) > 1]
    assert "CLIP ViT-B/32" in {one.model for one in rows if one.usual}
    for one in rows:
        own = {group: values["accuracy"] for group, values in one.values.items() if group != "all"}
        for name in ("add", "replace", "swap"):
            kind = [value for group, value in own.items() if f"/{name}/" in group]
            assert one.values["all"][name] == pytest.approx(sum(kind) / len(kind), abs=0.006)
        assert one.values["all"]["macro"] == pytest.approx(sum(own.values()) / 7, abs=0.006)
