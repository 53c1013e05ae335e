"""``ohd-bench leaderboard``: write the page from the kept results, or check that it is what they give."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Include, Results


def register(app: typer.Typer) -> None:
    """Add ``leaderboard``."""
    app.command()(leaderboard)


def leaderboard(
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("leaderboard.md"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 5 where the page is stale.")] = False,
    include: Include = None,
) -> None:
    """Write the leaderboard from the kept results.

    A run that cannot be read is named and left out: exit code 1.
    """
    from harness import registry
    from harness.console import say, tell
    from harness.errors import GateError, UsageError
    from harness.verbs.leaderboard import leaderboard as verb

    registry.load(include or ())
    page = verb(results)
    text, left_out = page.markdown, page.left_out
    for name, why in left_out.items():
        say(f"left out: {name}: {why}")
    if check:
        if not out.is_file() or out.read_text(encoding="utf-8") != text:
            raise GateError(f"{out} is not what {results} gives; write it anew with 'ohd-bench leaderboard'")
        tell(f"{out} is what {results} gives")
        raise typer.Exit(1 if left_out else 0)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
    tell(f"written: {out}")
    raise typer.Exit(1 if left_out else 0)
