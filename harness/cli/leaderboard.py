"""``ohd-bench leaderboard``: write the page from the kept results, or check that it is what they give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Include, Results


def register(app: typer.Typer) -> None:
    """Add ``leaderboard``."""
    app.command()(leaderboard)


def leaderboard(
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(help="The page to write, in Markdown.")] = Path("leaderboard.md"),
    html: Annotated[bool, typer.Option("--html", help="Also a page beside it that sorts and filters itself.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Also a CSV file beside it, unrounded.")] = False,
    name: Annotated[
        list[str] | None, typer.Option(help="SPEC=NAME or RUN=NAME: what a model is called here; repeat for more.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 5 where the page is stale.")] = False,
    include: Include = None,
) -> None:
    """Write the leaderboard from the kept results.

    A run that cannot be read is named and left out: exit code 1.
    """
    from harness import durable, registry
    from harness.console import say, tell
    from harness.errors import GateError, UsageError
    from harness.verbs.leaderboard import leaderboard as verb

    if out.suffix in (".html", ".csv"):
        raise UsageError(
            f"--out names the page in Markdown, {out.with_suffix('.md')}; --html and --csv write beside it"
        )
    registry.load(include or ())
    page = verb(results, _names(name or ()), out.parent)
    text, left_out = page.markdown, page.left_out
    for run, why in left_out.items():
        say(f"left out: {run}: {why}")
    if check:
        if not out.is_file() or out.read_text(encoding="utf-8") != text:
            raise GateError(f"{out} is not what {results} gives; write it anew with 'ohd-bench leaderboard'")
        tell(f"{out} is what {results} gives")
        raise typer.Exit(1 if left_out else 0)
    written = {out: text}
    written |= {out.with_suffix(".html"): page.html()} if html else {}
    written |= {out.with_suffix(".csv"): page.csv()} if csv else {}
    for path, content in written.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.output(path, content)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
        tell(f"written: {path}")
    raise typer.Exit(1 if left_out else 0)


def _names(words: Sequence[str]) -> dict[str, str]:
    """What is shown instead of a spec or a run's name: after the last ``=``, as specs may hold some."""
    from harness.errors import UsageError

    for word in words:
        if not all(word.rpartition("=")[::2]):
            raise UsageError(f"--name {word}: say SPEC=NAME or RUN=NAME")
    return {word.rpartition("=")[0]: word.rpartition("=")[2] for word in words}
