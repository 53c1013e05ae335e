"""Rows of a picture with a true caption and false ones, from the files in which they are published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.captioned import captioned
from harness.errors import DataError
from harness.images import LARGEST, find
from harness.rows import Row, object_of, rows, settings_of, shown
from harness.words.order import Shuffler, cleaned, of_lists, shuffler

SUGAR_CREPE = ("add_obj", "add_att", "replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att")
SYMMETRIC = frozenset((Path(__file__).parent / "aro_symmetric.txt").read_text(encoding="utf-8").splitlines())
"""Relations that say the same turned round: left out of the average (ARO's notebook "Replicate ARO")."""
ORDERS = {"coco": "coco", "flickr30k": "flickr", "micro": "micro"}
"""The sources of captions that are asked in other orders, and what each is called."""
RARE = 25
"""Attribute pairs with fewer rows are left out (mertyg/vision-language-models-are-bows @ 09e1fcf, VG_Attribution)."""


@dataclass(frozen=True)
class Pair:
    """One picture with a true caption and false ones; ``category`` is what the averages are taken over."""

    id: str
    image: Path
    true: str
    false: tuple[str, ...]
    group: str
    category: str
    box: tuple[int, int, int, int] | None = None
    """The part of the picture that it is about: left, top, right, bottom in pixels; None is all of it."""


def _told_apart(row: Row, true: str, false: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The captions as they are; DataError where a false one is the true one, which no picture tells from itself."""
    if true.strip() in [text.strip() for text in false]:
        raise row.wrong(f"{shown(true)} is the true caption and a false one; right would be another false one")
    return true, false


def sugar_crepe(data: Path) -> Iterator[Pair]:
    """SugarCrepe's seven files (RAIVNLab/sugar-crepe @ 0047054), on COCO's val2017."""
    root = data / "sugar_crepe"
    there = [name for name in SUGAR_CREPE if (root / f"{name}.json").is_file()]
    if not there:
        raise DataError(f"{root} holds none of {', '.join(f'{name}.json' for name in SUGAR_CREPE)}")
    folders = (root / "images", data / "coco" / "val2017", data / "val2017", data / "images")
    for name in there:
        path = root / f"{name}.json"
        for number, fields in object_of(path).items():
            row = Row(path, int(number) if number.isdigit() else 0, fields if isinstance(fields, dict) else {})
            image = find(row.file_name("filename"), *folders)
            true, false = _told_apart(row, row.text("caption"), (row.text("negative_caption"),))
            group = f"sugar-crepe/{name.replace('_', '/')}"
            yield Pair(f"sugar-crepe/{name}/{number}", image, true, false, group, name)


def aro_relation(data: Path) -> Iterator[Pair]:
    """ARO's relations that mean something else turned round, each averaged alone."""
    for number, row in enumerate(rows(data / "aro" / "visual_genome_relation.json")):
        name = row.text("relation_name")
        if name not in SYMMETRIC:
            yield _aro(data, row, f"aro-relation/{number}", name)


def aro_attribution(data: Path) -> Iterator[Pair]:
    """ARO's pairs of attributes that occur often enough, each averaged alone."""
    every = rows(data / "aro" / "visual_genome_attribution.json")
    names = ["_".join(row.texts("attributes")) for row in every]
    often = Counter(names)
    for number, (row, name) in enumerate(zip(every, names, strict=True)):
        if often[name] >= RARE:
            yield _aro(data, row, f"aro-attribution/{number}", name)


def _aro(data: Path, row: Row, id: str, category: str) -> Pair:
    """A row of ARO, on the part of the picture that it is about, as the authors cut it out."""
    path = find(row.file_name("image_path"), data / "aro" / "images", data / "images")
    left, top = (row.index(f"bbox_{side}", 100_000) for side in "xy")
    width, height = (int(row.positive(f"bbox_{side}")) for side in "wh")
    if not 0 < width * height <= LARGEST:
        raise row.wrong(f"its box is {width} x {height} pixels, which is no part of a picture")
    false, box = (row.text("false_caption"),), (left, top, left + width, top + height)
    return Pair(id, path, row.text("true_caption"), false, id.partition("/")[0], category, box)


def order(data: Path, source: str) -> Iterator[Pair]:
    """ARO's order sets: every caption of a picture against four of its words in another order, drawn as its authors do.

    A caption that another order leaves as it was is no false one; a row to which none is left is left out.
    """
    shuffled = _shuffler(data)
    for picture in captioned(data, source, "test"):
        for n, caption in enumerate(picture.captions):
            true = cleaned(caption)
            false = tuple(text for text in shuffled(caption) if text != true)
            if false:
                group = f"aro-{ORDERS[source]}-order"
                yield Pair(f"{group}/{picture.name}/{n}", picture.image, true, false, group, group)


def _shuffler(data: Path) -> Shuffler:
    """By the words that ``aro/reading.json`` lists or the tagger that it names; NLTK's where there is none."""
    told = settings_of(data / "aro" / "reading.json", ("tagger", "nouns", "adjectives"))
    if not told.fields:
        return shuffler("nltk")
    return (
        shuffler(told.text("tagger")) if told.has("tagger") else of_lists(told.texts("nouns"), told.texts("adjectives"))
    )


def listed(path: Path) -> Iterator[Pair]:
    """Any file of rows with ``image``, ``caption`` and ``negative`` (a text or a list); ``category`` where given."""
    for number, row in enumerate(rows(path)):
        given = row.given("negative")
        false = tuple(row.texts("negative")) if isinstance(given, list) else (row.text("negative"),)
        if not false or not all(text.strip() for text in false):
            raise row.wrong("'negative' holds no caption; right would be a caption or a list of captions")
        category = row.text("category") if row.has("category") else ""
        image = find(row.file_name("image"), path.parent, path.parent / "images")
        true, false = _told_apart(row, row.text("caption"), false)
        yield Pair(f"{path.stem}/{number}", image, true, false, category, category or path.stem)


SOURCES: Mapping[str, Callable[[Path], Iterator[Pair]]] = {
    "sugar-crepe": sugar_crepe,
    "aro-relation": aro_relation,
    "aro-attribution": aro_attribution,
    **{f"aro-{name}-order": partial(order, source=source) for source, name in ORDERS.items()},
}
