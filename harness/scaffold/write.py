"""Write the two files that a new task, encoder or LVLM begins with."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

from harness import registry
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
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} is there already; nothing was written")
    words = {"name": name, "stem": stem, "cls": "".join(part.capitalize() for part in name.split("-"))}
    folder.mkdir(parents=True, exist_ok=True)
    for path, source in zip(paths, (f"{kind}.txt", f"{kind}_test.txt"), strict=True):
        text = resources.files("harness.scaffold").joinpath(source).read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(words), encoding="utf-8")
    return paths
