"""``ohd-bench new``: begin a task, an encoder or an LVLM with one file that works and one that tests it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add ``new``."""
    app.command()(new)


def new(
    kind: Annotated[str, typer.Argument(help="task, encoder or lvlm.")],
    name: Annotated[str, typer.Argument(help="What it is called in specs: small letters, digits, hyphens.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write into; give it to --include.")] = Path("."),
) -> None:
    """Write NAME.py and test_NAME.py, which work as they stand; docs/add_a_task.md and add_an_encoder.md go on."""
    from harness import registry
    from harness.console import say, tell
    from harness.scaffold.write import new as write

    registry.load()
    paths = write(kind, name, to)
    for path in paths:
        tell(path)
    say(f"now: pytest {shlex.quote(str(paths[1]))}")
