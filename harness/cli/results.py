"""``ohd-bench results``: put runs of several people together, compress them, hand them on by the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.completion import kept_run
from harness.cli.options import Include, Json, Results


def register(app: typer.Typer) -> None:
    """Add ``results``."""
    results = typer.Typer(help="Put runs of several people together, compress them, push them.", no_args_is_help=True)
    results.command("merge")(merge)
    results.command("compress")(compress)
    results.command("push")(push)
    results.command("pull")(pull)
    app.add_typer(results, name="results")


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of runs, such as results.")],
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Bring the runs of other folders into --results: whole where they are new, else record by record.

    Exit codes: 0 all agree, 1 a sample was answered in two ways (named; what was here first is kept).
    """
    from harness import console
    from harness.asking.united import unite

    united = unite(folders, results)
    console.print_json(united.json()) if as_json else console.show(united)
    raise typer.Exit(0 if united.agree else 1)


def compress(
    runs: Annotated[
        list[str] | None,
        typer.Argument(autocompletion=kept_run, help="Runs by id or encoder; none is all that have ended."),
    ] = None,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Keep the records of runs compressed (records.jsonl.zst): every command reads them as before.

    A run that is asked more goes on: what comes then stands beside, until it is compressed as well.
    """
    from harness import console
    from harness.verbs import compress as verb

    done = verb.compress(results, runs or ())
    console.print_json(done.json()) if as_json else console.show(done)


def push(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="A data set on the Hub, OWNER/NAME; made where absent.")],
    runs: Annotated[
        list[str] | None, typer.Argument(autocompletion=kept_run, help="Runs by id or encoder; none is all.")
    ] = None,
    results: Results = Path("results"),
    private: Annotated[bool, typer.Option("--private", help="Make the repository a private one.")] = False,
    dry_run: Annotated[Path | None, typer.Option(help="Write what would be pushed to this folder; push none.")] = None,
    include: Include = None,
) -> None:
    """Push kept runs and a card with the leaderboard to a data set on the Hugging Face Hub."""
    from harness import registry
    from harness.console import say, tell
    from harness.export import hub

    registry.load(include or ())
    parcel = hub.of_runs(repo, results, runs or ())
    say(f"{len(parcel.files)} files")
    tell(parcel.write(dry_run) if dry_run else parcel.push(private))


def pull(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="A data set on the Hub that 'results push' made.")],
    results: Results = Path("results"),
    revision: Annotated[str, typer.Option(help="A branch, tag or commit of it.")] = "main",
    as_json: Json = False,
) -> None:
    """Fetch the runs of a data set on the Hub, and bring them into --results as 'results merge' does."""
    from harness import console
    from harness.asking.united import unite
    from harness.export import hub

    united = unite([hub.pulled(repo, revision) / hub.RUNS], results)
    console.print_json(united.json()) if as_json else console.show(united)
    raise typer.Exit(0 if united.agree else 1)
