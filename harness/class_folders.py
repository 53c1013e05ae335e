"""Pictures in class folders, and a caption for each class: what zero-shot classification asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import BrokenDataError, DataError
from harness.images import PICTURES
from harness.rows import text_of

TEMPLATE = "a photo of a {}."


@dataclass(frozen=True)
class ClassFolders:
    """One set of classes: its name ("" where the folder itself holds them), captions, pictures with their class."""

    name: str
    captions: tuple[str, ...]
    pictures: tuple[tuple[Path, int], ...]


def read(root: Path, template: str = "") -> list[ClassFolders]:
    """The sets of ``ROOT/CLASS/*.jpg`` or ``ROOT/SET/CLASS/*.jpg``.

    The caption is the template given, ROOT/template.txt, or "a photo of a {}."; an underscore in a folder's name reads
    as a space. DataError where a class has no pictures, a stray folder lies among them, or two classes read the same.
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
    return [_set(path.name, path, words) for path in nested] if nested else [_set("", root, words)]


def template_of(root: Path) -> str:
    """The caption of a class as this folder words it: its template.txt, or "a photo of a {}."."""
    path = root / "template.txt"
    words = text_of(path).strip() if path.is_file() else TEMPLATE
    if "{}" not in words or "\n" in words:
        raise BrokenDataError(f"{path}: right would be one line with {{}} where the class stands")
    return words


def _set(name: str, folder: Path, template: str) -> ClassFolders:
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
    captions = tuple(template.replace("{}", one.name.replace("_", " ")) for one in classes)
    twice = [captions.index(caption) for caption in captions if captions.count(caption) > 1]
    if twice:
        raise BrokenDataError(f"{classes[twice[0]]} and another class both read '{captions[twice[0]]}'; rename one")
    return ClassFolders(name, captions, tuple(pictures))


def _folders(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    hidden = [path for path in found if path.name.startswith((".", "__MACOSX"))]
    if hidden:
        raise BrokenDataError(f"{hidden[0]} would be read as a class; remove it")
    return found
