"""Pictures in class folders, and a caption for each class: what zero-shot classification asks."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BrokenDataError, DataError
from harness.images import PICTURES
from harness.rows import text_of

TEMPLATE = "a photo of a {}."


@dataclass(frozen=True)
class ClassFolders:
    """One set of classes: its name ("" where the folder itself holds them), its classes, pictures with their class.

    ``captions`` are the classes in the one template; with several templates they are the classes' names alone, and
    ``templates`` holds what they are put into.
    """

    name: str
    captions: tuple[str, ...]
    pictures: tuple[tuple[Path, int], ...]
    templates: tuple[str, ...] = ()


def read(root: Path, template: str = "") -> list[ClassFolders]:
    """The sets of ``ROOT/CLASS/*.jpg`` or ``ROOT/SET/CLASS/*.jpg``.

    The caption is the template given, SET/templates.txt (one a line; several are an ensemble), ROOT/template.txt, or
    "a photo of a {}."; an underscore in a folder's name reads as a space, and SET/classnames.txt says the names
    instead, one a line in the order of the folders. DataError where a class has no pictures, a stray folder lies among
    them, or two classes read the same.
    """
    if not root.is_dir():
        raise DataError(f"{root} is missing; it holds a folder of images for each class")
    folders = _folders(root)
    nested = [folder for folder in folders if _folders(folder)]
    if nested and len(nested) < len(folders):
        plain = next(folder for folder in folders if folder not in nested)
        stray = _folders(nested[0])[0]
        raise BrokenDataError(
            f"{stray} is a folder inside a class, as {plain} has none; remove the one or nest the other"
        )
    words = template or template_of(root)
    places = [(path.name, path) for path in nested] if nested else [("", root)]
    return [_set(name, path, (template,) if template else _templates(path, words)) for name, path in places]


def _templates(folder: Path, words: str) -> tuple[str, ...]:
    """The templates of a set: a line each of its templates.txt, or the one of the root."""
    path = folder / "templates.txt"
    if not path.is_file():
        return (words,)
    found = tuple(line.strip() for line in text_of(path).splitlines() if line.strip())
    if not found or not all("{}" in line for line in found):
        raise BrokenDataError(f"{path}: right would be captions, one a line, with {{}} where the class stands")
    return found


def _names(folder: Path, classes: list[Path]) -> list[str]:
    """What the classes are called: a line each of classnames.txt, or the folders' names."""
    path = folder / "classnames.txt"
    if not path.is_file():
        # some file systems take a letter and its accent apart: to a tokenizer those are other words
        return [unicodedata.normalize("NFC", one.name).replace("_", " ") for one in classes]
    found = [line.strip() for line in text_of(path).splitlines() if line.strip()]
    if len(found) != len(classes):
        raise BrokenDataError(f"{path} names {len(found)} classes, {folder} holds {len(classes)} class folders")
    return found


def template_of(root: Path) -> str:
    """The caption of a class as this folder words it: its template.txt, or "a photo of a {}."."""
    path = root / "template.txt"
    words = text_of(path).strip() if path.is_file() else TEMPLATE
    if "{}" not in words or "\n" in words:
        raise BrokenDataError(f"{path}: right would be one line with {{}} where the class stands")
    return words


def _set(name: str, folder: Path, templates: tuple[str, ...]) -> ClassFolders:
    classes = _folders(folder)
    if len(classes) < 2:
        raise BrokenDataError(f"{folder} holds {len(classes)} class folders; classes are told apart from two on")
    pictures = []
    for number, one in enumerate(classes):
        if inside := _folders(one):
            raise BrokenDataError(f"{inside[0]} is a folder inside a class; a class folder holds pictures alone")
        own = sorted(path for path in one.iterdir() if path.suffix.lower() in PICTURES and path.name[0] != ".")
        if not own:
            raise BrokenDataError(f"{one} holds no pictures ({', '.join(sorted(PICTURES))}); fill or remove the folder")
        pictures += [(path, number) for path in own]
    names = _names(folder, classes)
    ensemble = templates if len(templates) > 1 else ()
    captions = tuple(names if ensemble else [templates[0].replace("{}", one) for one in names])
    twice = [captions.index(caption) for caption in captions if captions.count(caption) > 1]
    if twice:
        raise BrokenDataError(f"{classes[twice[0]]} and another class both read '{captions[twice[0]]}'; rename one")
    return ClassFolders(name, captions, tuple(pictures), ensemble)


def _folders(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    hidden = [path for path in found if path.name.startswith((".", "__MACOSX"))]
    if hidden:
        raise BrokenDataError(f"{hidden[0]} would be read as a class; remove it")
    return found
