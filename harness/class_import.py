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

from harness import durable
from harness.errors import BrokenDataError, DataError, UsageError
from harness.images import PICTURES, find
from harness.rows import shown, text_of

Picture = tuple[bytes, str]
"""The bytes of an image file and how its name ends."""


@dataclass(frozen=True)
class Classes:
    """A data set: its classes' names where it says them, and each picture with its class."""

    names: list[str]
    pictures: Iterable[tuple[Picture, int]]


def write(source: str, out: Path, split: str, prompts: str = "") -> dict[str, Any]:
    """Writes ``OUT/0007/000123.jpg``, ``classnames.txt`` and ``templates.txt``; what was written, in numbers.

    ``source`` is ``torchvision:NAME:ROOT``, ``hf:DIR[?label=COLUMN]``, ``wds:DIR`` or ``csv:FILE``; ``prompts`` the
    name under which open_clip (imagenet1k) or clip-benchmark keeps classes and templates. DataError where the source
    cannot be read; OUT is then as it was.
    """
    kind, _, place = source.partition(":")
    if kind not in SOURCES or not place:
        raise UsageError(f"'{source}' is no source; there is torchvision:NAME:ROOT, hf:DIR, wds:DIR and csv:FILE")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is there already and nothing is overwritten; name another folder")
    found = SOURCES[kind](place, split)
    names, templates = published(prompts) if prompts else ([], [])
    names = names or found.names
    told: dict[str, Any] = {"folder": str(out)}

    def write(draft: Path) -> None:
        told["pictures"] = _write_pictures(found.pictures, draft, len(names))
        _write_lines(draft / "classnames.txt", names)
        if templates:
            _write_lines(draft / "templates.txt", templates)

    durable.new_folder(out, write)
    return {**told, "classes": len(names), "templates": len(templates)}


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
            said = f"there are {classes} classes" if classes else "no classnames.txt and no --prompts names the classes"
            raise BrokenDataError(f"picture {count} is of class {number}; {said}")
        (out / f"{number:04d}" / f"{count:06d}{suffix}").write_bytes(data)
        count += 1
    if not count:
        raise DataError("the source holds no pictures")
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
    folder, _, asked = place.partition("?label=")
    try:
        found: Any = datasets.load_from_disk(folder)
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"hf:{folder}: {str(error).splitlines()[0]}") from error
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise DataError(f"hf:{folder} has no split '{split}'; there is {', '.join(found)}")
        found = found[split]
    images = [name for name, kind in found.features.items() if isinstance(kind, datasets.Image)]
    if not images:
        raise DataError(f"hf:{folder} has no column of images; it has {', '.join(found.features)}")
    label = _label_column(folder, found, asked, datasets.ClassLabel)
    kind = found.features[label]
    names = kind.names if isinstance(kind, datasets.ClassLabel) else sorted({str(one) for one in found[label]})
    number = {name: n for n, name in enumerate(names)}
    pictures = (
        (_picture(folder, n, row[images[0]]), _number(folder, n, row[label], number)) for n, row in enumerate(found)
    )
    return Classes([name.replace("_", " ") for name in names], pictures)


def _label_column(folder: str, found: Any, asked: str, labels: type) -> str:
    """The column of classes: the one asked for, the only one of class labels, or the one that is called label."""
    columns = list(found.features)
    if asked and asked not in columns:
        raise DataError(f"hf:{folder} has no column '{asked}'; it has {', '.join(columns)}")
    typed = [name for name, kind in found.features.items() if isinstance(kind, labels)]
    named = [name for name in (typed or columns) if name in ("label", "labels", "class", "classname", "target")]
    fit = [asked] if asked else typed if len(typed) == 1 else named
    if len(fit) != 1:
        raise DataError(
            f"hf:{folder} has {'no' if not fit and not typed else 'more than one'} column of class labels; it has "
            f"{', '.join(columns)}: say which, hf:{folder}?label=COLUMN"
        )
    return fit[0]


def _picture(folder: str, row: int, image: Any) -> Picture:
    if image is None:
        raise BrokenDataError(f"hf:{folder}, row {row}: there is no picture")
    return _png(image)


def _number(folder: str, row: int, label: Any, names: Mapping[str, int]) -> int:
    found = label if isinstance(label, int) and str(label) not in names else names.get(str(label))
    if found is None:
        raise BrokenDataError(f"hf:{folder}, row {row}: its class is {shown(label)}")
    return int(found)


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
        try:
            yield from _in_tar(path)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise BrokenDataError(f"{path} cannot be read as a tar: {error}") from error


def _in_tar(path: Path) -> Iterator[tuple[Picture, int]]:
    """Each picture with its class: the members of one key, in whatever order, as webdataset groups them."""
    pending: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            key, suffix = _key_of(member.name)
            if not member.isfile() or suffix not in (".cls", *PICTURES):
                continue
            parts = pending.setdefault(key, {})
            parts[suffix] = archive.extractfile(member).read()  # type: ignore[union-attr]
            picture = next((end for end in parts if end in PICTURES), None)
            if picture and ".cls" in parts:
                yield (parts[picture], picture), _class_of(path, key, parts[".cls"])
                del pending[key]
    for key, parts in pending.items():
        has, lacks = ("a class", "picture") if ".cls" in parts else ("a picture", "class (.cls)")
        raise BrokenDataError(f"{path}: '{key}' has {has} and no {lacks}; {len(pending)} such in this tar")


def _key_of(name: str) -> tuple[str, str]:
    """A member's key and how it ends: the folders, and the file's name up to its first full stop; hidden ones none."""
    folder, _, file = name.rpartition("/")
    key, dot, suffix = file.partition(".")
    return f"{folder}/{key}", f"{dot}{suffix.lower()}" if key else ""


def _class_of(path: Path, key: str, text: bytes) -> int:
    try:
        return int(text.decode("ascii"))
    except ValueError as error:
        raise BrokenDataError(f"{path}: the class of '{key}' is {shown(text[:40])}; right would be a number") from error


def _table(place: str, split: str) -> Classes:
    """A CSV with a picture and a class a row, in the columns image (filepath, path) and label (class)."""
    path = Path(place)
    if not path.is_file():
        raise DataError(f"no file at {path}")
    rows = list(csv.DictReader(io.StringIO(text_of(path).removeprefix("\ufeff"))))
    image, label = (
        next((name for name in names if rows and name in rows[0]), "")
        for names in (("image", "filepath", "path", "filename"), ("label", "class", "classname", "target"))
    )
    if not image or not label:
        have = ", ".join(rows[0]) if rows else "none"
        raise BrokenDataError(f"{path}: right would be the columns image and label; it has {have}")
    if "split" in rows[0]:
        rows = [row for row in rows if row["split"] == split]
    for number, row in enumerate(rows, 2):
        if not row[image] or not row[label]:
            raise BrokenDataError(f"{path}, line {number}: right would be a picture and its class in every row")
    if not rows:
        raise DataError(f"{path} has no row of the split '{split}'")
    names = sorted({row[label] for row in rows})
    place_of = {name: n for n, name in enumerate(names)}
    places = [(find(row[image], path.parent, path.parent / "images"), place_of[row[label]]) for row in rows]
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
