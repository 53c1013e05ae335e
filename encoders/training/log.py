"""``log.jsonl``: a line for every step and every look. Lines are added; none is changed or taken away."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from harness.journal import cut_torn_line
from harness.rows import rows

NAME = "log.jsonl"


class Log:
    """The log of one training. A step that is computed again to the bit is not written again."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.file = file
        self.there: set[tuple[int, str]] = set()
        for row in rows(path) if path.stat().st_size else ():
            self._remember(row.fields)

    def __call__(self, step: int, told: dict[str, Any]) -> bool:
        """Whether this was news: False where the step's line is there from before an interruption."""
        row = {"step": step, **told}
        if (step, _kind(row)) in self.there:
            return False
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        self._remember(row)
        return True

    def _remember(self, row: Mapping[str, Any]) -> None:
        if "resumed" in row:  # not to the bit: what follows is written though it was written before
            self.there.clear()
        else:
            self.there.add((row["step"], _kind(row)))


def _kind(row: Mapping[str, Any]) -> str:
    return next((kind for kind in ("resumed", "loss") if kind in row), "look")


@contextlib.contextmanager
def opened(out: Path) -> Iterator[Log]:
    """The log in this folder, to add to; a last line that was torn by a kill is finished anew."""
    path = out / NAME
    cut_torn_line(path)
    with path.open("a", encoding="utf-8") as file:
        yield Log(path, file)
