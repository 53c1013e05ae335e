"""``ohd-bench train`` and ``ohd-bench sweep``: make new encoders, and see what each choice is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.run import AllowOutside, DataDir, Include

Out = Annotated[Path, typer.Option("--out", help="The folder to write; an interrupted training goes on in it.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="FIELD=VALUE of the recipe (docs/train.md); repeat for more.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def register(app: typer.Typer) -> None:
    """Add ``train`` and ``sweep``."""
    app.command()(train)
    app.command()(sweep)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe, e.g. micro-ohd; a wrong name lists those there are.")],
    out: Out,
    data: DataDir = "micro",
    fraction: Annotated[float | None, typer.Option(help="Part of the training rows, drawn by the seed.")] = None,
    max_samples: Annotated[int | None, typer.Option(min=0, help="At most this many training rows.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    change: Changes = None,
    include: Include = None,
    allow_outside: AllowOutside = False,
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks and library logs.")] = False,
) -> None:
    """Train an encoder by a recipe; the same command goes on where it stopped.

    Exit codes: 0 trained, 2 usage, 3 data missing, 4 base not loadable, 6 loss not finite, 130/143 interrupted.
    """
    import json
    import os

    from harness import data as places
    from harness import registry, sweep
    from harness.cli.console import out as result
    from harness.cli.console import print_json
    from harness.cli.showing import quiet

    if not verbose:
        quiet()
    registry.load(include or ())
    told: dict[str, Any] = {"fraction": fraction, "max_samples": max_samples, "seed": seed}
    told |= {"allow_outside": True} if allow_outside else {}
    words = sweep.assignments(change or []) | {name: str(value) for name, value in told.items() if value is not None}
    asked = sweep.with_settings(registry.find(registry.recipes, recipe, "recipe")(), words)
    folder = asked.train(places.resolve(data).root, out)
    if os.environ.get("RANK", "0") != "0":  # one of torchrun's processes tells the result
        return
    measured = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["measured"]
    if as_json:
        print_json({"folder": str(folder), **measured})
        return
    result().print(_before_after(measured))
    result().print(f"now: ohd-bench run --encoder {asked.base} --encoder clip:{folder} --data {data}", markup=False)  # type: ignore[attr-defined]


def sweep(
    recipes: Annotated[list[str], typer.Argument(help="One recipe or more.")],
    out: Out,
    vary: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE,VALUE,… ; repeat for a grid. interpolate trains only once.")
    ] = None,
    data: DataDir = "micro",
    change: Changes = None,
    include: Include = None,
    as_json: Json = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks and library logs.")] = False,
) -> None:
    """Train recipes at every combination of settings; a table and a plot with intervals over seeds.

    Resumable: points that are done are read. Writes sweep.csv, sweep.json, seeds.csv and sweep.png under --out.
    """
    from harness import data as places
    from harness import registry
    from harness import sweep as sweeping
    from harness.cli.console import out as result
    from harness.cli.console import print_json, say
    from harness.cli.showing import quiet

    if not verbose:
        quiet()
    registry.load(include or ())
    chosen = {name: registry.find(registry.recipes, name, "recipe") for name in recipes}
    todo = sweeping.points(chosen, sweeping.assignments(vary or []), sweeping.assignments(change or []))
    rows: list[dict[str, Any]] = []
    for number, found in enumerate(sweeping.run(todo, places.resolve(data).root, out), 1):
        rows += found
        folded = sweeping.write(out, rows)
        say(f"{number} of {len(todo)} points: {todo[number - 1].folder}")
    if as_json:
        print_json(rows)
    else:
        result().print(_over_seeds(folded))
        result().print(f"kept in {out}: sweep.csv, seeds.csv, sweep.json, sweep.png", markup=False)


def _before_after(measured: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("dev rows, classes, drift", "base", "trained")
    for name, value in measured["after"].items():
        table.add_row(name, f"{measured['before'][name]:.3g}", f"{value:.3g}")
    return table


def _over_seeds(folded: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    from harness.sweep import METRICS, settings_of

    names = settings_of(folded)
    metrics = [name for name in METRICS if name in folded[0]]
    table = Table(*names, "seeds", *metrics)
    before = [f"{folded[0][f'{name}_before']:.1f}" for name in metrics]
    table.add_row("base", *[""] * len(names), *before)
    for row in folded:
        table.add_row(
            *(str(row[name]) for name in names), str(row["seeds"]), *(_interval(row, name) for name in metrics)
        )
    return table


def _interval(row: dict[str, Any], name: str) -> str:
    spread = row[f"{name}_high"] - row[name]
    return f"{row[name]:.1f}" + ("" if spread != spread else f" ± {spread:.1f}")
