"""Pictures with all their captions, from Karpathy's splits or a file of rows: what retrieval and ARO's orders ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError
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


@dataclass(frozen=True)
class Captioned:
    """A picture and its captions as they stand; ``name`` is the file of captions and the picture's own name."""

    name: str
    image: Path
    captions: tuple[str, ...]


def captioned(data: Path, source: str, split: str) -> Iterator[Captioned]:
    """Every picture of this split: of a known source, of the first that is there ("" for the source), or of a file.

    Raises DataError where there is no such file, a picture stands twice, or one has no caption.
    """
    path, folders = _place(data, source, split)
    seen: dict[Path, Row] = {}
    for row in _rows(path):
        if row.has("split") and row.text("split") != split:
            continue
        image = find(row.file_name("filename" if row.has("filename") else "image"), *folders)
        if image in seen:
            raise row.wrong(f"{image.name} stands on line {seen[image].line} already")
        seen[image] = row
        yield Captioned(f"{path.stem}/{image.name}", image, _captions(row))


def _place(data: Path, source: str, split: str) -> tuple[Path, list[Path]]:
    """The file of captions, and the folders its pictures may lie in."""
    if source and source not in SOURCES:
        path = Path(os.path.expanduser(source))
        return path, [path.parent / name for name in ("images", "")]
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
    """The rows of a file of captions: a list, lines, or Karpathy's object with ``images``."""
    found = rows(path)
    if len(found) == 1 and isinstance(listed := found[0].fields.get("images"), list):
        return [Row(path, n, row if isinstance(row, dict) else {}) for n, row in enumerate(listed, 1)]
    return found


def _captions(row: Row) -> tuple[str, ...]:
    if row.has("sentences"):
        said = [one.get("raw") if isinstance(one, dict) else None for one in row.given("sentences")]
        found = Row(row.path, row.line, {"sentences": said}).texts("sentences")
    else:
        given = row.given("caption")
        found = row.texts("caption") if isinstance(given, list) else [row.text("caption")]
    if not any(text.strip() for text in found):
        raise row.wrong("has no caption; right would be a text or a list of texts")
    return tuple(found)
