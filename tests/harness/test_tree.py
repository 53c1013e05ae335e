"""docs/tree.md says of every file what its first line says; ``python tests/harness/test_tree.py`` writes it anew."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("harness", "tasks", "encoders", "benchmarks")


def page() -> str:
    """The tree of the packages, one line a file."""
    parts = ["# The tree\n\nOne line a file: the first of its own docstring.\n"]
    for package in PACKAGES:
        paths = sorted(ROOT.glob(f"{package}/**/*.py"), key=lambda path: (path.parent.as_posix(), path.name))
        lines = [f"| `{path.relative_to(ROOT).as_posix()}` | {first_line(path)} |" for path in paths]
        parts.append("\n".join([f"## {package}\n", "| file | job |", "|---|---|", *lines, ""]))
    return "\n".join(parts)


def first_line(path: Path) -> str:
    """What the file says it does."""
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return told.partition("\n")[0].replace("|", "\\|")


def test_every_file_says_its_job_and_the_tree_page_is_up_to_date():
    told = page()
    assert "|  |" not in told
    assert (ROOT / "docs" / "tree.md").read_text(encoding="utf-8") == told


if __name__ == "__main__":
    (ROOT / "docs" / "tree.md").write_text(page(), encoding="utf-8")
