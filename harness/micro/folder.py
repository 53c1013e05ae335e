"""Write the micro world as a data folder: every file and picture, in the official layouts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from harness.micro import amber, pairs, pope, questions
from harness.micro.captions import row, shuffled, web_caption
from harness.micro.classes import CLASSES, COLOURS, HOME_COLOUR, POSES, RELATION, SAFE_WORDS, THEMES
from harness.micro.draw import draw, picture_of
from harness.micro.scene import Mix, Scene, Thing, scene


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many images each part of the world has."""

    amber: int = 200
    caps: int = 150
    dev: int = 300
    train: int = 3000
    web: int = 1500
    pope: int = 80
    zero_shot: int = 8
    retrieval: int = 200
    dash_b: int = 2
    mme: int = 15
    hallusion: int = 15
    sugar_crepe: int = 60
    aro: int = 40
    winoground: int = 40
    mmhal: int = 16


SOURCES: dict[str, Mix] = {
    "coco": Mix(least=3, most=4),
    "flickr": Mix(least=4, most=5, doubled=0.5),
    "nocaps": Mix(least=3, most=4, at_home=0.3, even_themes=True),
}
"""The three sources of OHD-Caps here: common scenes, crowded ones, and unusual company."""


def write_folder(folder: Path, seed: int, sizes: Sizes) -> None:
    """Everything ``--data`` may be asked for."""
    _amber(folder / "amber", seed, sizes.amber)
    _ohd_caps(folder / "ohd_caps", seed, sizes)
    _pope(folder / "pope", seed, sizes.pope)
    _web(folder / "web", seed, sizes.web)
    _zero_shot(folder / "zero_shot", seed, sizes.zero_shot)
    _retrieval(folder / "retrieval", seed, sizes.retrieval)
    _dash_b(folder / "dash_b", seed, sizes.dash_b)
    _mme(folder / "mme", seed, sizes.mme)
    _hallusion(folder / "hallusion", seed, sizes.hallusion)
    _sugar_crepe(folder / "sugar_crepe", seed, sizes.sugar_crepe)
    _aro(folder / "aro", seed, sizes.aro)
    _winoground(folder / "winoground", seed, sizes.winoground)
    _mmhal(folder / "mmhal", seed, sizes.mmhal)


def _amber(folder: Path, seed: int, number: int) -> None:
    scenes = [scene(f"{seed}/amber/{n}", Mix(least=2)) for n in range(number)]
    annotations, queries = amber.files(scenes)
    _json(folder / "annotations.json", annotations)
    _json(folder / "relation.json", RELATION)
    _json(folder / "reading.json", {"nouns": "vocabulary", "synonyms": "none"})
    _text(folder / "safe_words.txt", "".join(f"{word}\n" for word in SAFE_WORDS))
    for name, items in queries.items():
        _json(folder / "query" / f"{name}.json", items)
    for n, drawn in enumerate(scenes, 1):
        _picture(folder / "image" / f"AMBER_{n}.jpg", drawn)


def rows_of(part: str, mix: Mix, number: int) -> Iterator[tuple[Scene, dict[str, Any]]]:
    """Scenes with their OHD-Caps annotation; no true caption occurs twice within a part."""
    seen: set[str] = set()
    kept = 0
    for n in count():
        if kept == number:
            return
        candidate = scene(f"{part}/{n}", mix)
        annotation = row(candidate)
        if annotation["positive_sample"] not in seen:
            seen.add(annotation["positive_sample"])
            kept += 1
            yield candidate, annotation


def _ohd_caps(folder: Path, seed: int, sizes: Sizes) -> None:
    _json(folder / "reading.json", {"nouns": list(CLASSES)})
    for source, mix in SOURCES.items():
        labels = _caps_part(folder, "test", source, list(rows_of(f"{seed}/test/{source}", mix, sizes.caps)))
        _lines(folder / "test" / f"{source}_out_label.json", labels)
    for split, number in (("dev", sizes.dev), ("train", sizes.train)):
        labels = _caps_part(folder, split, "coco", list(rows_of(f"{seed}/{split}", SOURCES["coco"], number)))
        masked = ({**item, "valid_caption": [1] * len(item["caption"])} for item in labels)
        _lines(folder / split / f"{split}_data.json", masked)


def _caps_part(
    folder: Path, split: str, source: str, found: list[tuple[Scene, dict[str, Any]]]
) -> list[dict[str, Any]]:
    names = [f"MICRO_{split}_{source}_{n:06d}.jpg" for n in range(1, len(found) + 1)]
    annotations = [{"file_path": name, **item} for name, (_, item) in zip(names, found, strict=True)]
    _lines(folder / split / f"{source}_annotations.json", annotations)
    for name, (drawn, _) in zip(names, found, strict=True):
        _picture(folder / "images" / name, drawn)
    return [shuffled(item, item["file_path"]) for item in annotations]


def _pope(folder: Path, seed: int, number: int) -> None:
    scenes = [scene(f"{seed}/pope/{n}", Mix(least=3)) for n in range(number)]
    for sampling in pope.SAMPLINGS:
        rows = pope.rows(scenes, sampling)
        _lines(folder / f"coco_pope_{sampling}.json", rows)
        # The labels of a drawn world are right: what RePOPE's readers would do here is to leave out what is unclear.
        clear = (row for row in rows if questions.clear(scenes[int(row["image"][-10:-4]) - 1], row))
        _lines(folder / "repope" / f"coco_repope_{sampling}.json", clear)
    for n, drawn in enumerate(scenes, 1):
        _picture(folder / "images" / pope.image_name(n), drawn)


def _web(folder: Path, seed: int, number: int) -> None:
    scenes = [scene(f"{seed}/web/{n}", Mix()) for n in range(number)]
    names = [f"MICRO_web_{n:06d}.jpg" for n in range(1, number + 1)]
    rows = zip(names, scenes, strict=True)
    _lines(folder / "captions.json", ({"image": name, "caption": web_caption(drawn)} for name, drawn in rows))
    for name, drawn in zip(names, scenes, strict=True):
        _picture(folder / "images" / name, drawn)


def _retrieval(folder: Path, seed: int, number: int) -> None:
    """Pictures with what two passers-by would say of each."""
    drawn = list(islice(rows_of(f"{seed}/retrieval", Mix(least=3), number), number))
    names = [f"MICRO_retrieval_{n:06d}.jpg" for n in range(1, number + 1)]
    said = [[row["positive_sample"], web_caption(shown)] for shown, row in drawn]
    _lines(folder / "captions.json", ({"image": name, "caption": two} for name, two in zip(names, said, strict=True)))
    for name, (shown, _) in zip(names, drawn, strict=True):
        _picture(folder / "images" / name, shown)


def _dash_b(folder: Path, seed: int, number: int) -> None:
    pool = [scene(f"{seed}/dash_b/{n}", Mix(least=2)) for n in range(questions.DASH_POOL)]
    for part, chosen in (("neg", questions.misleading), ("pos", questions.showing)):
        listed = {}
        for name in CLASSES:
            drawn = {f"{n:04d}.jpg": one for n, one in enumerate(chosen(name, pool, number), 1)}
            listed[name] = list(drawn)
            for file, one in drawn.items():
                _picture(folder / "images" / part / "micro" / name / file, one)
        _json(folder / f"dash_benchmark_{part}.json", {"micro": listed})


def _mme(folder: Path, seed: int, number: int) -> None:
    for category in questions.MME:
        for n in range(1, number + 1):
            key = f"{seed}/mme/{category}/{n}"
            drawn = scene(key, Mix(least=2, doubled=0.7)) if category == "count" else pairs.duo(key)
            lines = [f"{asked}\t{answer}\n" for asked, answer in questions.mme(category, drawn)]
            _text(folder / category / f"{n:06d}.txt", "".join(lines))
            _picture(folder / category / f"{n:06d}.jpg", drawn)


def _hallusion(folder: Path, seed: int, number: int) -> None:
    rows = []
    for n in range(number):
        asked, figures = questions.hallusion(n, f"{seed}/hallusion/{n}")
        rows += asked
        for name, drawn in figures.items():
            _picture(folder / name, drawn)
    _json(folder / "HallusionBench.json", rows)


def _sugar_crepe(folder: Path, seed: int, number: int) -> None:
    scenes = {f"MICRO_duo_{n:06d}.jpg": pairs.duo(f"{seed}/sugar_crepe/{n}") for n in range(1, number + 1)}
    for category in pairs.SUGAR_CREPE:
        _json(folder / f"{category}.json", pairs.sugar_crepe(scenes, category))
    _pictures(folder / "images", scenes)


def _aro(folder: Path, seed: int, number: int) -> None:
    places = {f"MICRO_relation_{n:06d}.jpg": pairs.duo(f"{seed}/aro/{n}") for n in range(1, number + 1)}
    colours = [two for two in pairs.ATTRIBUTES for _ in range(pairs.OFTEN)]
    painted = {f"MICRO_attribute_{n:06d}.jpg": pairs.duo(f"{seed}/vga/{n}", two) for n, two in enumerate(colours, 1)}
    _json(folder / "visual_genome_relation.json", list(pairs.aro_relation(places)))
    _json(folder / "visual_genome_attribution.json", list(pairs.aro_attribution(painted)))
    _json(folder / "reading.json", {"nouns": list(CLASSES), "adjectives": list(COLOURS)})
    _pictures(folder / "images", places | painted)


def _winoground(folder: Path, seed: int, number: int) -> None:
    rows = []
    for n in range(number):
        first = pairs.duo(f"{seed}/winoground/{n}")
        row, second = pairs.winoground(n, first)
        rows.append(row)
        _pictures(folder / "images", {f"{row['image_0']}.png": first, f"{row['image_1']}.png": second})
    _lines(folder / "examples.jsonl", rows)


def _mmhal(folder: Path, seed: int, number: int) -> None:
    scenes = [scene(f"{seed}/mmhal/{n}", Mix(least=2)) for n in range(number)]
    names = [f"MICRO_mmhal_{n:06d}.jpg" for n in range(1, number + 1)]
    _json(folder / "response_template.json", [questions.open_ended(*one) for one in zip(names, scenes, strict=True)])
    _pictures(folder / "images", dict(zip(names, scenes, strict=True)))


def _zero_shot(folder: Path, seed: int, number: int) -> None:
    _text(folder / "template.txt", "a picture of a {}\n")
    for name in CLASSES:
        for n, (thing, theme) in enumerate(islice(_alone(name), number), 1):
            path = folder / name / f"{n:03d}.jpg"
            _save(path, picture_of(thing, theme, f"{seed}/zero_shot/{name}/{n}"))


def _alone(name: str) -> Iterator[tuple[Thing, str]]:
    """A class in every second colour besides its own, in every theme in turn, walking over the grid."""
    poses, themes, colours = POSES.get(name, ("",)), tuple(THEMES), tuple(COLOURS)
    for n in count():
        colour = HOME_COLOUR[name] if n % 2 else colours[n // 2 % len(colours)]
        yield Thing(name, colour, poses[n % len(poses)], 5 * n % 16), themes[n % len(themes)]


def _pictures(folder: Path, scenes: Mapping[str, Scene]) -> None:
    for name, drawn in scenes.items():
        _picture(folder / name, drawn)


def _picture(path: Path, drawn: Scene) -> None:
    _save(path, draw(drawn))


def _save(path: Path, image: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        image.save(path, "PNG")
    else:
        image.save(path, "JPEG", quality=95, subsampling=0)


def _json(path: Path, thing: Any) -> None:
    _text(path, json.dumps(thing, indent=1) + "\n")


def _lines(path: Path, items: Iterable[Any]) -> None:
    _text(path, "".join(f"{json.dumps(item)}\n" for item in items))


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
