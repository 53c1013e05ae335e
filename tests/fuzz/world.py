"""A small sound world to break: data of every benchmark, files of answers, kept runs, and tiny models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

THINGS = ("dog", "cat", "bus", "cup")
KINDS = ("random", "popular", "adversarial")


def write(root: Path) -> None:
    """DATA of every benchmark with four pictures each, and ANSWERS to it in several tools' formats."""
    data, answers = root / "data", root / "answers"
    names = [f"{n:012d}.jpg" for n in range(1, 5)]
    for folder in ("pope/images", "ohd_caps/images", "amber/image", "chair/images"):
        for n, name in enumerate(names):
            _picture(data / folder / name, n)
    for n, thing in enumerate(THINGS[:3]):
        for m in range(2):
            _picture(data / "zero_shot" / thing / f"{m}.png", 10 * n + m)
    (data / "zero_shot" / "template.txt").write_text("a photo of a {}.\n")
    _pope(data, answers, names)
    _ohd_caps(data, names)
    _amber(data, answers, names)
    _chair(data, answers)
    _breadth(data)


def _picture(path: Path, n: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (16, 12), (20 * n % 256, 90, 200 - n))
    image.putpixel((3, 4), (255, n, 0))
    image.save(path)


def _lines(path: Path, every: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in every))


def _json(path: Path, thing: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(thing, indent=1))


def _pope(data: Path, answers: Path, names: list[str]) -> None:
    rng, said = Random(1), []
    for kind in KINDS:
        every = [
            {
                "question_id": 4 * n + m + 1,
                "image": name,
                "text": f"Is there a {thing} in the image?",
                "label": ("yes", "no")[(n + m) % 2],
            }
            for n, name in enumerate(names)
            for m, thing in enumerate(THINGS)
        ]
        _lines(data / "pope" / f"coco_pope_{kind}.json", every)
        words = ("Yes", "No", "Yes, there is.", "No, there is not.", "It is not.")
        said += [
            {
                **{k: row[k] for k in ("question_id", "image")},
                "question": row["text"],
                "answer": rng.choice(words),
                "category": kind,
            }
            for row in every
        ]
    _lines(answers / "pope.jsonl", said)
    _json(answers / "pope_list.json", said)
    llava = [
        {"question_id": n + 1, "prompt": row["question"], "text": row["answer"], "category": row["category"]}
        for n, row in enumerate(said)
    ]
    _lines(answers / "pope_llava.jsonl", [row | {"question_id": n % 16 + 1} for n, row in enumerate(llava)])
    head = ["index", "image_path", "question", "category", "prediction"]
    table = [[str(n), row["image"], row["question"], row["category"], row["answer"]] for n, row in enumerate(said)]
    for name, mark in (("pope.tsv", "\t"), ("pope.csv", ",")):
        cells = [[f'"{cell}"' if mark in cell else cell for cell in row] for row in [head, *table]]
        (answers / name).write_text("".join(mark.join(row) + "\n" for row in cells))


def _ohd_caps(data: Path, names: list[str]) -> None:
    folder, rows, notes = data / "ohd_caps" / "test", [], []
    for n, name in enumerate(names):
        true = f"a {THINGS[n]} on grass"
        false = {thing: f"a {THINGS[n]} and a {thing} on grass" for thing in THINGS if thing != THINGS[n]}
        first, *rest = false.values()
        captions = [first, rest[0], true, *rest[1:]]
        rows.append({"image": name, "caption": captions, "label": 2, "valid_caption": [1, 1, 1, n % 2]})
        notes.append(
            {"file_path": name, "positive_sample": true, **{f"{kind}_samples": false for kind in (*KINDS, "delete")}}
        )
    _lines(folder / "coco_out_label.json", rows)
    _lines(folder / "coco_annotations.json", notes)


def _amber(data: Path, answers: Path, names: list[str]) -> None:
    notes, queries = [], []
    for n, name in enumerate(names, 1):
        notes.append({"id": n, "type": "generative", "truth": list(THINGS[:n]), "hallu": [*THINGS[n:]]})
        queries.append({"id": n, "image": name, "query": "Describe this image."})
    kinds = ("discriminative-hallucination", "discriminative-attribute-state", "discriminative-relation", "relation")
    for n in range(8):
        notes.append({"id": 5 + n, "type": kinds[n % 4], "truth": ("no", "yes")[n // 4]})
        queries.append({"id": 5 + n, "image": names[n % 4], "query": f"Is the {THINGS[n % 4]} sunny in this image?"})
    root = data / "amber"
    _json(root / "annotations.json", notes)
    _json(root / "query" / "query_all.json", queries)
    _json(root / "relation.json", {thing: [] for thing in THINGS} | {"grass": ["ground"]})
    _json(root / "reading.json", {"nouns": "vocabulary", "synonyms": "none"})
    (root / "safe_words.txt").write_text("image\nphoto\n")
    said = [{"id": n, "response": "A dog and a cat on grass." if n < 5 else ("Yes", "No")[n % 2]} for n in range(1, 13)]
    _json(answers / "amber.json", said)


def _chair(data: Path, answers: Path) -> None:
    root = data / "chair"
    _json(
        root / "chair_vocab.json",
        {"inverse_synonym_dict": {t: t for t in THINGS} | {"puppy": "dog"}, "double_word_dict": {"baby dog": "dog"}},
    )
    _json(root / "coco_imid_to_objects_nltk.json", {str(n): list(THINGS[:n]) for n in range(1, 5)})
    _json(root / "images.json", [1, 2, 3, 4])
    _lines(
        answers / "chair.jsonl", [{"image_id": n, "caption": "A dog and a puppy beside a bus."} for n in range(1, 5)]
    )


def _breadth(data: Path) -> None:
    """DASH-B, MME, HallusionBench, SugarCrepe and Winoground."""
    for label, folder in (("no", "neg"), ("yes", "pos")):
        _json(data / "dash_b" / f"dash_benchmark_{folder}.json", {"coco": {"dog": ["1.jpg"], "cat": ["2.jpg"]}})
        for n, thing in enumerate(("dog", "cat"), 1):
            _picture(data / "dash_b" / "images" / folder / "coco" / thing / f"{n}.jpg", n + len(label))
    for category in ("existence", "count"):
        for n in range(2):
            _picture(data / "mme" / category / f"{n}.png", n)
            (data / "mme" / category / f"{n}.txt").write_text("Is it red?\tYes\nIs it blue?\tNo\n")
    hallusion = []
    for n in range(4):
        row = {"category": "VD", "subcategory": "chart", "visual_input": "1", "set_id": "0", "figure_id": str(n % 2)}
        hallusion.append(row | {"question_id": str(n // 2), "question": f"Is {n} more?", "gt_answer": str(n % 2)})
        _picture(data / "hallusion" / "VD" / "chart" / f"0_{n % 2}.png", n % 2)
    _json(data / "hallusion" / "HallusionBench.json", hallusion)
    pair = {"caption": "a red dog", "negative_caption": "a blue dog"}
    _json(data / "sugar_crepe" / "add_att.json", {str(n): {"filename": f"{n}.jpg", **pair} for n in range(2)})
    two = {"caption_0": "a dog on a cat", "caption_1": "a cat on a dog"}
    _lines(
        data / "winoground" / "examples.jsonl",
        [{"id": n, "image_0": "a.png", "image_1": "b.png", **two} for n in range(2)],
    )
    for n, name in enumerate(
        ("sugar_crepe/images/0.jpg", "sugar_crepe/images/1.jpg", "winoground/images/a.png", "winoground/images/b.png")
    ):
        _picture(data / name, n)


def models(root: Path) -> None:
    """A tiny CLIP and a tiny LLaVA in the hub's layout."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("ohd_bench_tiny", Path(__file__).parents[1] / "tiny.py")
    assert spec and spec.loader
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    tiny.save_clip(tiny.clip_model(), root / "clip")
    tiny.save_llava(tiny.llava_model(), root / "llava")


def copied(sound: Path, to: Path, *parts: str) -> Path:
    """These parts of the sound world in a folder of their own, to be broken."""
    for part in parts:
        shutil.copytree(sound / part, to / part)
    return to
