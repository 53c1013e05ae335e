"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.shown import one_line


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells in Markdown; pipes, line breaks and tags in them are made harmless."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_safe(cell) for cell in line) + " |\n" for line in lines)


def _safe(cell: str) -> str:
    return one_line(cell).replace("|", "\\|").replace("<", "&lt;")
