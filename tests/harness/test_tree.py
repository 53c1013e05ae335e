"""docs/tree.md says of every file what its first line says; ``python tests/harness/test_tree.py`` writes it anew."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("ohd_bench", "tasks", "harness", "encoders", "benchmarks")
READING = {
    "tasks": "pope ohd_caps amber chair zero_shot",
    "tasks/amber": "rules measures vocabulary",
    "harness": "types metrics registry rows images yes_no errors data store stats",
    "harness/asking": "engine ask evaluate controls estimate verify features workers",
    "harness/scoring": "score answers formats fields matching evidence spelling reply scoreboard published",
    "harness/comparison": "answer_sets compare bias probabilities significance metric_table existence attribution",
    "harness/report": "page plots gallery leaderboard standings board published_tables markdown",
    "harness/vision_language": "host speaker template preprocess yes_no_tokens fits swap align",
    "harness/vision_language/packed": "requests prefix_tree decode forward kv_cache",
    "harness/vision_language/layouts": "checkpoint original weight_names folder overlay lora merge",
    "harness/cli": "options run list show score compare",
    "encoders": "clip openclip hashing recipes",
    "encoders/training": "settings loop step loss dataset negatives hard_negatives feed towers evaluation checkpoint",
}
"""What to read first in a folder; what is not named here follows by its name."""
ROOMS = (
    *("", "asking", "scoring", "comparison", "report", "export", "lvlms", "vision_language"),
    *("vision_language/packed", "vision_language/layouts", "compute", "words", "datasets", "building", "micro", "cli"),
)
"""The folders of the harness as one reads them: from a question asked to a table printed, then what that stands on."""


def page() -> str:
    """The tree of the packages in reading order, one line a file."""
    parts = [
        "# The tree\n\nOne line a file: the first of its own docstring. In reading order: what is asked, how it is\n"
        "asked, counted and compared, what that stands on, and what is under test.\n"
    ]
    for package in PACKAGES:
        for folder in sorted({path.parent for path in ROOT.glob(f"{package}/**/*.py")}, key=_place):
            rows = [
                f"| `{path.relative_to(ROOT).as_posix()}` | {first_line(path)} |"
                for path in sorted(folder.glob("*.py"), key=_order)
                if path.name != "__init__.py"
            ]
            table = ["| file | job |", "|---|---|", *rows, ""] if rows else []
            name = folder.relative_to(ROOT).as_posix()
            heading = f"{'##' if name == package else '###'} {name}"
            parts.append("\n".join([f"{heading}\n", first_line(folder / "__init__.py"), "", *table]))
    return "\n".join(parts)


def _place(folder: Path) -> tuple[int, str]:
    name = folder.relative_to(ROOT).as_posix()
    room = "" if name == "harness" else name.removeprefix("harness/")
    return (ROOMS.index(room) if name.startswith("harness") and room in ROOMS else len(ROOMS), name)


def _order(path: Path) -> tuple[int, str]:
    first = READING.get(path.parent.relative_to(ROOT).as_posix(), "").split()
    return (first.index(path.stem) if path.stem in first else len(first), path.name)


def first_line(path: Path) -> str:
    """What the file says it does."""
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return told.partition("\n")[0].replace("|", "\\|")


def test_every_file_says_its_job_and_the_tree_page_is_up_to_date():
    told = page()
    assert "|  |" not in told
    assert "\n\n\n" not in told
    assert (ROOT / "docs" / "tree.md").read_text(encoding="utf-8") == told


if __name__ == "__main__":
    (ROOT / "docs" / "tree.md").write_text(page(), encoding="utf-8")
