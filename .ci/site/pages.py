"""The site's pages that lie outside docs/: README.md is its first, the leaderboard and what changed stand beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
BESIDE = ("README.zh-CN.md", "leaderboard.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")
OUTSIDE = {"index.md": "README.md", **{name: name for name in BESIDE}}
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\((?!https?:|#)([^)#]+)((?:#[^)]*)?)\)")
PICTURE = re.compile(r"(!\[[^\]]*\])\(docs/")
OFF_SITE = (".ipynb", ".py", ".toml", "LICENSE")


def on_files(files: Files, config: Any) -> Files:
    """Add them, their links turned from the repository's root to the site's."""
    for page, name in OUTSIDE.items():
        if (ROOT / name).is_file():
            text = PICTURE.sub(r"\1(", (ROOT / name).read_text(encoding="utf-8"))
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links as they lead on the site; what is no page of it, as code or a run, is named and not linked."""
    return LINK.sub(_turned, markdown)


def _turned(link: re.Match[str]) -> str:
    path = link[2].removeprefix("../").removeprefix("docs/")
    if path.endswith(OFF_SITE) or path.startswith("results/"):
        return link[1]
    return f"[{link[1]}]({'index.md' if path == 'README.md' else path}{link[3]})"
