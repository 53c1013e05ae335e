"""Pictures with all their captions, from Karpathy's splits or a file of rows: what retrieval and ARO's orders ask."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BrokenDataError, DataError
from harness.images import find
from harness.rows import Row, rows

SOURCES = {
    # Karpathy's splits, as he published them and as BLIP's repository hands them on
    "coco": ("coco", ("dataset_coco.json", "coco_karpathy_{split}.json"), ("val2014", "train2014", "images", "")),
    "flickr30k": (
        "flickr30k",
        ("dataset_flickr30k.json", "flickr30k_{split}.json"),
        ("flickr30k-images", "images", ""),
    ),
    "micro": ("retrieval", ("captions.json",), ("images", "")),
}
PICTURES = ("images", "val2017", "train2017", "val2014", "train2014", "")
"""Where in a data folder the pictures of a user's own file may lie, besides beside the file."""


@dataclass(frozen=True)
class Captioned:
    """A picture and its captions as they stand; ``name`` is the file of captions and the picture's own name."""

    name: str
    image: Path
    captions: tuple[str, ...]


def captioned(data: Path, source: str, split: str) -> Iterator[Captioned]:
    """Every picture of this split: of a known source, of the first that is there ("" for the source), or of a file.

    Rows of one caption each may name a picture several times. Raises DataError where there is no such file, a picture
    with a list of captions stands twice, or one has no caption.
    """
    path, folders = _place(data, source, split)
    seen: dict[Path, Row] = {}
    said: dict[Path, list[str]] = {}
    for row in _rows(path):
        if row.has("split") and row.text("split") != split:
            continue
        image = find(row.file_name("filename" if row.has("filename") else "image"), *folders)
        first = seen.setdefault(image, row)
        if first is not row and not (_is_one(row) and _is_one(first)):
            raise row.wrong(
                f"{image.name} stands on line {first.line} already; right would be all captions in one list"
            )
        said.setdefault(image, []).extend(_captions(row))
    for image, captions in said.items():
        yield Captioned(f"{path.stem}/{image.name}", image, tuple(captions))


def _is_one(row: Row) -> bool:
    """Whether it is a row of one caption, of which a picture may have several."""
    return isinstance(row.fields.get("caption"), str)


def _place(data: Path, source: str, split: str) -> tuple[Path, list[Path]]:
    """The file of captions, and the folders its pictures may lie in."""
    if source and source not in SOURCES:
        path = Path(os.path.expanduser(source))
        return path, [*(path.parent / name for name in ("images", "")), *(data / name for name in PICTURES)]
    for one in [source] if source else SOURCES:
        root, files, images = SOURCES[one]
        for name in files:
            path = data / root / name.format(split=split)
            if path.is_file():
                folders = [at / image for at in (data / root, data) for image in images]
                return path, [*folders, data / "images"]
    first = SOURCES[source or "coco"]
    raise DataError(f"{data / first[0]} holds no captions of pictures ({', '.join(first[1])})")


def _rows(path: Path) -> list[Row]:
    """The rows of a file of captions: a list, lines, Karpathy's object with ``images``, or COCO's captions."""
    found = rows(path)
    if len(found) == 1 and isinstance(listed := found[0].fields.get("images"), list):
        if isinstance(notes := found[0].fields.get("annotations"), list):
            listed = _coco(path, listed, notes)
        return [Row(path, n, row if isinstance(row, dict) else {}) for n, row in enumerate(listed, 1)]
    return found


def _coco(path: Path, images: Sequence[Any], notes: Sequence[Any]) -> list[dict[str, Any]]:
    """A row a picture of COCO's ``captions_*.json``."""
    said: dict[Any, list[Any]] = {}
    try:
        for one in notes:
            said.setdefault(one["image_id"], []).append(one["caption"])
        return [{"image": one["file_name"], "caption": said.get(one["id"], [])} for one in images]
    except (KeyError, TypeError) as error:
        raise BrokenDataError(f"{path} is not COCO's captions file: {type(error).__name__} {error}") from error


def _captions(row: Row) -> tuple[str, ...]:
    if row.has("sentences"):
        said = [one.get("raw") if isinstance(one, dict) else None for one in row.given("sentences")]
        found = Row(row.path, row.line, {"sentences": said}).texts("sentences")
    else:
        key = "captions" if row.has("captions") else "caption"
        found = row.texts(key) if isinstance(row.given(key), list) else [row.text(key)]
    if not any(text.strip() for text in found):
        raise row.wrong("has no caption; right would be a text or a list of texts")
    return tuple(found)
