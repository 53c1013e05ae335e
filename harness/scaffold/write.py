"""Write the two files that a new task, encoder or LVLM begins with."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

from harness import durable, registry
from harness.errors import UsageError

KINDS = ("task", "encoder", "lvlm")
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new(kind: str, name: str, folder: Path) -> tuple[Path, Path]:
    """The module and its test, written into this folder; UsageError where a name is taken or a file is there."""
    if kind not in KINDS:
        raise UsageError(f"there is no template for '{kind}'; there is {', '.join(KINDS)}")
    if not NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be a name: small letters, digits and single hyphens, a letter first")
    if name in getattr(registry, f"{kind}s"):
        raise UsageError(f"there is a {kind} called '{name}' already")
    stem = name.replace("-", "_")
    paths = folder / f"{stem}.py", folder / f"test_{stem}.py"
    words = {"name": name, "stem": stem, "cls": "".join(part.capitalize() for part in name.split("-"))}
    files = resources.files("harness.scaffold")
    sources = [files.joinpath(f"{kind}{end}.txt").read_text(encoding="utf-8") for end in ("", "_test")]
    texts = [Template(source).substitute(words) for source in sources]
    begun = [path.is_file() and path.read_bytes() == text.encode() for path, text in zip(paths, texts, strict=True)]
    for path, ours in zip(paths, begun, strict=True):
        if path.exists() and (all(begun) or not ours):  # one of the two alone is what a kill left
            raise UsageError(f"{path} is there already; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, texts, strict=True):
        durable.output(path, text)
    return paths
