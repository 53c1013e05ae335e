"""``ohd-bench sweep``: train recipes at many settings, and see what each choice is worth."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from harness.cli.options import Changes, DataDir, Include, Json, TrainedOut, Verbose
from harness.cli.train import SAID


def register(app: typer.Typer) -> None:
    """Add ``sweep``."""
    app.command()(sweep)


def sweep(
    recipes: Annotated[list[str], typer.Argument(help="One recipe or more.")],
    out: TrainedOut,
    vary: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE,VALUE,… ; repeat for a grid. interpolate trains only once.")
    ] = None,
    data: DataDir = "micro",
    change: Changes = None,
    include: Include = None,
    keep: Annotated[
        Literal["all", "best", "none"],
        typer.Option(help="Whose weights stay: of all points, of the one best on dev rows, or of none."),
    ] = "all",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train recipes at every combination of settings; a table and a plot with intervals over seeds.

    Resumable: points that are done are read. Writes sweep.csv, sweep.json, seeds.csv, sweep.png and
    sweep.pdf under --out.
    """
    from harness.stopping import at_once

    with at_once(SAID):
        from harness import data as places
        from harness import registry
        from harness import sweep as sweeping
        from harness.console import out as result
        from harness.console import print_json, quiet, say
        from harness.report import sweep as plotting

        if not verbose:
            quiet()
        registry.load(include or ())
        todo = sweeping.points(
            sweeping.chosen(recipes), sweeping.assignments(vary or []), sweeping.assignments(change or [])
        )
        rows: list[dict[str, Any]] = []
        for number, found in enumerate(sweeping.run(todo, places.resolve(data).root, out, keep), 1):
            rows += found
            folded = sweeping.write(out, rows)
            plotting.write(out, folded)
            say(f"{number} of {len(todo)} points: {todo[number - 1].folder}")
        if as_json:
            print_json(rows)
        else:
            result().print(plotting.over_seeds(folded))
            result().print(f"kept in {out}: sweep.csv, seeds.csv, sweep.json, sweep.png, sweep.pdf", soft_wrap=True)
