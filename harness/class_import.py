"""Write a classification data set as class folders, from torchvision, a saved Hugging Face data set, tars or a CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BrokenDataError, DataError, UsageError
from harness.images import PICTURES, find
from harness.rows import text_of

Picture = tuple[bytes, str]
"""The bytes of an image file and how its name ends."""


@dataclass(frozen=True)
class Classes:
    """A data set: its classes' names where it says them, and each picture with its class."""

    names: list[str]
    pictures: Iterable[tuple[Picture, int]]


def write(source: str, out: Path, split: str, prompts: str = "") -> dict[str, Any]:
    """Writes ``OUT/0007/000123.jpg``, ``classnames.txt`` and ``templates.txt``; what was written, in numbers.

    ``source`` is ``torchvision:NAME:ROOT``, ``hf:DIR``, ``wds:DIR`` or ``csv:FILE``; ``prompts`` the name under which
    open_clip (imagenet1k) or clip-benchmark keeps classes and templates. DataError where the source cannot be read.
    """
    kind, _, place = source.partition(":")
    if kind not in SOURCES or not place:
        raise UsageError(f"'{source}' is no source; there is torchvision:NAME:ROOT, hf:DIR, wds:DIR and csv:FILE")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is there already and nothing is overwritten; name another folder")
    found = SOURCES[kind](place, split)
    names, templates = published(prompts) if prompts else ([], [])
    names = names or found.names
    count = _write_pictures(found.pictures, out, len(names))
    _write_lines(out / "classnames.txt", names)
    if templates:
        _write_lines(out / "templates.txt", templates)
    return {"folder": str(out), "pictures": count, "classes": len(names), "templates": len(templates)}


def published(name: str) -> tuple[list[str], list[str]]:
    """Class names and templates as open_clip (imagenet1k) or clip-benchmark keep them; names only where they do."""
    if name == "imagenet1k":
        import open_clip

        return list(open_clip.IMAGENET_CLASSNAMES), [made("{}") for made in open_clip.OPENAI_IMAGENET_TEMPLATES]
    try:
        from clip_benchmark import datasets
    except ImportError as error:
        raise UsageError(
            f"--prompts {name}: its metadata comes with the package: pip install clip-benchmark"
        ) from error
    folder = Path(datasets.__path__[0])
    classes, templates = (
        json.loads((folder / f"en_{kind}.json").read_text(encoding="utf-8"))
        for kind in ("classnames", "zeroshot_classification_templates")
    )
    if name not in templates:
        raise UsageError(f"clip-benchmark has no templates for '{name}'; there is {', '.join(sorted(templates))}")
    return list(classes.get(name, [])), [one.replace("{c}", "{}") for one in templates[name]]


def _write_pictures(pictures: Iterable[tuple[Picture, int]], out: Path, classes: int) -> int:
    count = 0
    for number in range(classes):
        (out / f"{number:04d}").mkdir(parents=True, exist_ok=True)
    for (data, suffix), number in pictures:
        if not 0 <= number < classes:
            raise BrokenDataError(f"picture {count} is of class {number}; there are {classes} classes")
        (out / f"{number:04d}" / f"{count:06d}{suffix}").write_bytes(data)
        count += 1
    if not count:
        raise DataError(f"{out}: the source holds no pictures")
    return count


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _torchvision(place: str, split: str) -> Classes:
    """``NAME:ROOT``: one of torchvision's own data sets, downloaded before or now where there is a network."""
    import torchvision

    name, _, root = place.partition(":")
    kind = getattr(torchvision.datasets, name, None)
    if not isinstance(kind, type) or not root:
        raise UsageError(f"torchvision:{place}: torchvision.datasets has no '{name}', or no ROOT is named after it")
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    found, errors = None, []
    for how in ({"split": split}, {"train": split == "train"}, {}):
        try:
            found = kind(root=root, **how) if offline else _downloaded(kind, root, how)
            break
        except TypeError as error:  # this data set has no such argument
            errors.append(str(error))
        except (RuntimeError, OSError, ValueError) as error:
            raise DataError(f"torchvision:{name}: {str(error).splitlines()[0]}") from error
    if found is None:
        raise DataError(f"torchvision:{name} cannot be opened: {errors[-1]}")
    names = [str(one).replace("_", " ") for one in getattr(found, "classes", [])]
    return Classes(names, ((_png(image), int(label)) for image, label in found))


def _downloaded(kind: Callable[..., Any], root: str, how: Mapping[str, Any]) -> Any:
    try:
        return kind(root=root, download=True, **how)
    except TypeError:  # one that cannot be downloaded
        return kind(root=root, **how)


def _hugging_face(place: str, split: str) -> Classes:
    """A folder that ``datasets`` saved: a data set, or one of its splits."""
    try:
        import datasets
    except ImportError as error:
        raise UsageError("reading a saved Hugging Face data set needs datasets: pip install datasets") from error
    try:
        found: Any = datasets.load_from_disk(place)
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"hf:{place}: {str(error).splitlines()[0]}") from error
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise DataError(f"hf:{place} has no split '{split}'; there is {', '.join(found)}")
        found = found[split]
    image = next((n for n, kind in found.features.items() if isinstance(kind, datasets.Image)), None)
    label = next((n for n, kind in found.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    if image is None or label is None:
        raise DataError(
            f"hf:{place} has no column of images with one of class labels; it has {', '.join(found.features)}"
        )
    names = [one.replace("_", " ") for one in found.features[label].names]
    return Classes(names, ((_png(row[image]), int(row[label])) for row in found))


def _tars(place: str, split: str) -> Classes:
    """CLIP_benchmark's webdataset layout: ``SPLIT/*.tar`` with ``KEY.jpg`` and ``KEY.cls``, and ``classnames.txt``."""
    root = Path(place)
    tars = sorted((root / split).glob("*.tar"), key=lambda path: (len(path.name), path.name))
    if not tars:
        raise DataError(f"{root / split} holds no *.tar")
    path = root / "classnames.txt"
    names = text_of(path).splitlines() if path.is_file() else []
    return Classes([name.strip() for name in names if name.strip()], _in_tars(tars))


def _in_tars(tars: Iterable[Path]) -> Iterator[tuple[Picture, int]]:
    for path in tars:
        pending: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                key, _, suffix = member.name.partition(".")
                parts = pending.setdefault(key, {})
                parts[f".{suffix.lower()}"] = file.read()
                picture = next((end for end in parts if end in PICTURES), None)
                if picture and ".cls" in parts:
                    yield (parts[picture], picture), int(parts[".cls"].decode())
                    del pending[key]


def _table(place: str, split: str) -> Classes:
    """A CSV with a picture and a class a row, in the columns image (filepath, path) and label (class)."""
    path = Path(place)
    if not path.is_file():
        raise DataError(f"no file at {path}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    image, label = (
        next((name for name in names if rows and name in rows[0]), "")
        for names in (("image", "filepath", "path", "filename"), ("label", "class", "classname", "target"))
    )
    if not image or not label:
        have = ", ".join(rows[0]) if rows else "none"
        raise BrokenDataError(f"{path}: right would be the columns image and label; it has {have}")
    names = sorted({row[label] for row in rows})
    number = {name: n for n, name in enumerate(names)}
    places = [(find(row[image], path.parent, path.parent / "images"), number[row[label]]) for row in rows]
    missing = [place for place, _ in places if not place.is_file()]
    if missing:
        raise DataError(f"{path}: {len(missing)} of {len(places)} pictures are missing, {missing[0]} the first")
    pictures = (((place.read_bytes(), place.suffix.lower()), n) for place, n in places)
    return Classes([name.replace("_", " ") for name in names], pictures)


def _png(image: Any) -> Picture:
    """A decoded picture without loss."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue(), ".png"


SOURCES: Mapping[str, Callable[[str, str], Classes]] = {
    "torchvision": _torchvision,
    "hf": _hugging_face,
    "wds": _tars,
    "csv": _table,
}
